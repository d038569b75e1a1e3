"""Plain text of sanitised HTML, for mails and excerpts. The HTML is read once, from its beginning, in linear time."""

import re

from services.chassis.text.structured_text import StructuredText
from services.chassis.text.text_writer import TextWriter
from services.chassis.text.words import Words
from services.contracts.characters import without_unwanted
from services.contracts.shortening import beginning

HEADING = re.compile(r"<h([1-6])[\s>]")
EXCERPT_HTML = 20_000
# Where an excerpt may end earlier, between words; few words are longer, but in some scripts no space ends one.
NEAR = 30


def plain(html: str, *, columns: int | None = None, most: int | None = None, base: str = "") -> str:
    """Return the text of sanitised HTML: what can be seen of it, with the marks of structure.

    Args:
        columns: where long lines of prose are broken, and how wide a table may be.
        most: how many characters the text may have; what comes later is left out, and a line says so.
        base: the address at which the HTML stands, which relative addresses begin from.
    """
    top_heading = int(min(HEADING.findall(html), default=1))
    structured = StructuredText(TextWriter(columns, most), top_heading, base)
    structured.read(html)
    return structured.text()


def excerpt(html: str, length: int = 200) -> str:
    """Return the beginning of the words as one line of at most `length` code points, with `…` where it is cut.

    It is cut between words if there is a space near, else at the length. Only the first `EXCERPT_HTML` characters are
    read: an imported post may have millions.
    """
    if len(html) > EXCERPT_HTML:
        html = html[:EXCERPT_HTML].rpartition("<")[0]  # sanitised HTML has `<` in tags alone
    words = Words()
    words.read(html)
    text = " ".join(without_unwanted(words.text()).split())
    if len(text) <= length:
        return text
    cut = beginning(text, length - 1)
    if text[len(cut)] != " " and (space := cut.rfind(" ", max(0, len(cut) - NEAR))) > 0:
        cut = cut[:space]
    return cut.rstrip() + "…"
