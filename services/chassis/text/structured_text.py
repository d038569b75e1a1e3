"""Read sanitised HTML with its structure, and write it with the marks that people use in plain text."""

import re
from urllib.parse import unquote, urljoin

from services.chassis.text.links import AN_IMAGE, said_of_picture
from services.chassis.text.text_table import Alignment, Cell, laid_out
from services.chassis.text.text_writer import TextWriter
from services.chassis.text.tokens import Tag
from services.chassis.text.words import Words
from services.contracts.characters import is_visible

ABSOLUTE = re.compile(r"(?:https?:)?//|ftp://|mailto:", re.IGNORECASE)
SAID_WITHOUT = re.compile(r"(?:https?:)?//|mailto:", re.IGNORECASE)  # what people leave out when they write an address
ALIGNMENT = re.compile(r'class="align-(left|center|right)"')
RULE = "---"


class StructuredText(Words):
    """The words with their structure: headings, lists, quotations, code, tables, footnotes, and where links lead.

    Args:
        base: the address at which the HTML stands; without one, relative addresses are not said.
    """

    def __init__(self, writer: TextWriter, top_heading: int, base: str = "") -> None:
        super().__init__()
        self._base = base
        self._writer = writer
        self._top_heading = top_heading
        self._heading = ""
        self._is_footnotes = False
        self._link: tuple[int, str] | None = None  # where its text begins, and its address
        self._tables = 0
        self._rows: list[list[Cell]] = []
        self._cell: list[str] | None = None  # the lines of the cell that is read

    def text(self) -> str:
        return self._writer.text()

    def _is_enough(self) -> bool:
        return self._writer.is_full

    def _start(self, tag: Tag) -> None:
        super()._start(tag)
        match tag.name:
            case "a":
                self._start_link(tag)
            case "input":
                self._put("[x]" if "checked" in tag.attributes() else "[ ]")
            case "blockquote" if not self._tables:
                self._writer.begin_quotation()
            case "section":
                self._is_footnotes = True
            case "h1" | "h2" | "h3" | "h4" | "h5" | "h6":
                self._heading = "#" * (int(tag.name[1]) - self._top_heading + 1) + " "
            case "hr" if not self._tables:
                self._writer.block([RULE])
            case "table":
                self._tables += 1
            case "tr" if self._tables == 1:
                self._rows.append([])
            case "td" | "th" if self._tables == 1 and self._rows:
                self._cell = []
                align = ALIGNMENT.search(tag.source)
                self._align: Alignment = align[1] if align else "left"  # type: ignore[assignment]  # by the pattern

    def _end(self, name: str) -> None:
        if name == "a" and self._link is not None:
            self._end_link(*self._link)
        super()._end(name)
        match name:
            case "td" | "th" if self._tables == 1 and self._cell is not None:
                cell = Cell(" ".join(" ".join(self._cell).split()), name == "th", self._align)
                self._rows[-1].append(cell)
                self._cell = None
            case "blockquote" if not self._tables:
                self._writer.end_quotation()
            case "ol" | "ul" if not self._lists:
                self._writer.separate()
            case "li" if not self._tables:
                self._writer.end_item()
            case "section":
                self._is_footnotes = False
            case "h1" | "h2" | "h3" | "h4" | "h5" | "h6":
                self._heading = ""
            case "table":
                self._end_table()

    def _item(self, number: int | None) -> None:
        if self._tables:
            super()._item(number)
        elif number is None:
            self._writer.begin_item("- ")
        else:
            is_footnote = self._is_footnotes and len(self._lists) == 1
            self._writer.begin_item(f"[{number}] " if is_footnote else f"{number}. ")

    def _picture(self, attributes: dict[str, str]) -> None:
        self._put(said_of_picture(attributes))

    def _start_link(self, tag: Tag) -> None:
        attributes = tag.attributes()
        if attributes.get("class") == "picture":
            self._put(AN_IMAGE)
        elif ABSOLUTE.match(address := _whole(attributes.get("href", ""), self._base)):
            self._link = len(self._text), address

    def _end_link(self, begin: int, address: str) -> None:
        """Say the address behind the text of a link that does not say it."""
        self._link = None
        label = "".join(self._text[begin:])
        if address[:7].lower() == "mailto:":
            address = address[7:].partition("?")[0]
        bare = _bare(address)
        if is_visible(label) and not any(_bare(word.strip("()<>.,")) == bare for word in label.split()):
            self._put(f" ({address})")

    def _end_table(self) -> None:
        self._tables = max(0, self._tables - 1)
        if not self._tables:
            room = self._writer.room()
            if lines := laid_out([row for row in self._rows if row], room):
                self._writer.block(lines)
            self._rows = []

    def _block(self, lines: list[str]) -> None:
        if self._cell is not None:  # a cell is one line, whatever stands in it
            self._cell += lines
        elif self._preformatted:
            self._writer.block("    " + line for line in lines)
        elif self._heading:
            self._writer.block([self._heading + " ".join(lines)])
        else:
            self._writer.block(lines, is_prose=True)


def _whole(address: str, base: str) -> str:
    """Return an address that means the same everywhere. One inside the page stays: its target is in the text."""
    if address.startswith("//"):
        return f"https:{address}"
    if not base or not address or address.startswith("#") or ABSOLUTE.match(address):
        return address
    try:
        return urljoin(base, address)
    except ValueError:  # brackets that are no host's
        return address


def _bare(address: str) -> str:
    """Return an address as people write it, so that two spellings can be compared."""
    return unquote(SAID_WITHOUT.sub("", address, count=1)).rstrip("/").casefold()
