"""Read the words of sanitised HTML, block after block."""

import re
from html import unescape

from services.chassis.text.tokens import Tag, tokens

BLOCKS = frozenset(
    (
        *("address", "blockquote", "center", "dd", "details", "div", "dl", "dt", "figcaption", "figure", "hr"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "li", "ol", "p", "pre", "summary", "ul"),
        *("table", "tbody", "td", "tfoot", "th", "thead", "tr"),
    )
)
NUMBER = re.compile(r"\d{1,9}")


class Words:
    """The words of sanitised HTML. Struck words stand between `~~`, numbers of footnotes in `[]`, items have theirs."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._text: list[str] = []  # of the block that is read
        self._preformatted = 0
        self._struck = 0
        self._is_struck = False  # whether `~~` stands in the text and waits for its partner
        self._references = 0
        self._lists: list[int | None] = []  # the number of the next item, None where they have none
        self._is_way_back = False  # inside the link from a footnote to where it is referred to

    def read(self, html: str) -> None:
        """Read the HTML to its end, or until there is enough of it."""
        for token in tokens(html):
            if isinstance(token, str):
                self._data(token)
            elif token.closes:
                self._end(token.name)
            else:
                self._start(token)
            if self._is_enough():
                break
        self._end_block()

    def text(self) -> str:
        """Return what was read."""
        return " ".join(self._blocks)

    def _is_enough(self) -> bool:
        return False

    def _start(self, tag: Tag) -> None:
        if tag.name in BLOCKS:
            self._end_block()
        match tag.name:
            case "br":
                self._text.append("\n")
            case "a":
                self._is_way_back = "footnote-backref" in tag.source
            case "del" | "s" | "strike":
                self._struck += 1
            case "sup" if "footnote-ref" in tag.source:
                self._references += 1
                self._put("[")
            case "pre":
                self._preformatted += 1
            case "ol":
                number = NUMBER.fullmatch(tag.attributes().get("start", ""))
                self._lists.append(int(number[0]) if number else 1)
            case "ul":
                self._lists.append(None)
            case "li":
                self._start_item()
            case "img":
                self._picture(tag.attributes())
            case "td" | "th" if self._text:
                self._text.append(" ")

    def _end(self, name: str) -> None:
        if name in BLOCKS:
            self._end_block()
        match name:
            case "a":
                self._is_way_back = False
            case "del" | "s" | "strike":
                self._struck = max(0, self._struck - 1)
                self._end_struck()
            case "sup" if self._references:
                self._references -= 1
                self._put("]")
            case "pre":
                self._preformatted = max(0, self._preformatted - 1)
            case "ol" | "ul" if self._lists:
                self._lists.pop()

    def _start_item(self) -> None:
        number = self._lists[-1] if self._lists else None
        if number is not None:
            self._lists[-1] = number + 1
        self._item(number)

    def _item(self, number: int | None) -> None:
        if number is not None:
            self._put(f"{number}. ")

    def _data(self, text: str) -> None:
        if "&" in text:
            text = unescape(text)
        if self._preformatted:
            self._put(text)
        elif text.strip():
            self._put(text.replace("\n", " "))
        elif self._text and not self._text[-1].endswith("\n"):
            self._text.append(" ")

    def _picture(self, attributes: dict[str, str]) -> None:
        self._put(attributes.get("alt", ""))

    def _put(self, text: str) -> None:
        if self._is_way_back or not text:
            return
        if self._struck and not self._is_struck:
            self._text.append("~~")
            self._is_struck = True
        self._text.append(text)

    def _end_struck(self) -> None:
        if self._is_struck:
            self._text.append("~~")
            self._is_struck = False

    def _end_block(self) -> None:
        if not self._text:
            return
        self._end_struck()
        text = "".join(self._text)
        self._text.clear()
        lines = [line.rstrip() if self._preformatted else line.strip() for line in text.split("\n")]
        first, last = 0, len(lines)
        while first < last and not lines[first]:
            first += 1
        while last > first and not lines[last - 1]:
            last -= 1
        if first < last:
            self._block(lines[first:last])

    def _block(self, lines: list[str]) -> None:
        self._blocks.append(" ".join(lines))
