"""Plain text of sanitised HTML, for mails and excerpts."""

from collections.abc import Iterator
from html.parser import HTMLParser

from services.contracts.characters import without_unwanted
from services.contracts.shortening import beginning

BLOCKS = frozenset(
    (
        *("address", "blockquote", "center", "dd", "details", "div", "dl", "dt", "figcaption", "figure", "hr"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "li", "ol", "p", "pre", "summary", "ul"),
        *("table", "tbody", "td", "tfoot", "th", "thead", "tr"),
    )
)

EXCERPT_HTML = 20_000
# Where an excerpt may end earlier, between words; few words are longer, but in some scripts no space ends one.
NEAR = 30


class _Plain(HTMLParser):
    """Collects the text of sanitised HTML by blocks: a list item gets `- `, a quotation `> `."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[tuple[str, str]] = []
        self._text: list[str] = []
        self._quotes = 0
        self._preformatted = 0
        self._mark = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self.end_block()
        if tag == "br":
            self._text.append("\n")
        elif tag == "img":
            self._text.append(dict(attrs).get("alt") or "")
        elif tag == "blockquote":
            self._quotes += 1
        elif tag == "pre":
            self._preformatted += 1
        elif tag == "li":
            self._mark = "- "
        elif tag in ("td", "th") and self._text:
            self._text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self.end_block()
        if tag == "blockquote":
            self._quotes = max(0, self._quotes - 1)
        elif tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)

    def handle_data(self, data: str) -> None:
        if self._preformatted:
            self._text.append(data)
        elif data.strip():
            self._text.append(data.replace("\n", " "))
        elif self._text and not self._text[-1].endswith("\n"):
            self._text.append(" ")

    def end_block(self) -> None:
        lines = [line.rstrip() if self._preformatted else line.strip() for line in "".join(self._text).split("\n")]
        self._text.clear()
        while lines and not lines[0]:
            del lines[0]
        while lines and not lines[-1]:
            del lines[-1]
        if lines:
            quote = "> " * self._quotes
            self.blocks.append((self._mark, "\n".join((quote + line).rstrip() for line in lines)))
            self._mark = ""


def _blocks(html: str) -> Iterator[tuple[str, str]]:
    parser = _Plain()
    parser.feed(html)
    parser.close()
    parser.end_block()
    return iter(parser.blocks)


def plain(html: str) -> str:
    """Return the text of sanitised HTML; blank lines separate paragraphs, `-` marks list items, `>` quotations."""
    text = ""
    previous = ""
    for mark, block in _blocks(html):
        text += ("\n" if mark and previous else "\n\n") + mark + block
        previous = mark
    return text.lstrip("\n")


def excerpt(html: str, length: int = 200) -> str:
    """Return the beginning of the text as one line of at most `length` code points, with `…` where it is cut.

    It is cut between words if there is a space near, else at the length. Only the first `EXCERPT_HTML` characters are
    read: an imported post may have millions.
    """
    if len(html) > EXCERPT_HTML:
        html = html[:EXCERPT_HTML].rpartition("<")[0]  # sanitised HTML has `<` in tags alone
    text = " ".join(without_unwanted(" ".join(text for _, text in _blocks(html))).split())
    if len(text) <= length:
        return text
    cut = beginning(text, length - 1)
    if text[len(cut)] != " " and (space := cut.rfind(" ", max(0, len(cut) - NEAR))) > 0:
        cut = cut[:space]
    return cut.rstrip() + "…"
