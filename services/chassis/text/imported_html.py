"""Give HTML as blog software stores it the paragraphs that blog software adds when it shows it."""

import re

from services.chassis.text.html_to_text import BLOCKS

BLOCK_TAG = re.compile(rf"</?(?:{'|'.join(sorted(BLOCKS))})(?=[\s/>])[^<>]*>", re.IGNORECASE)
PREFORMATTED = re.compile(r"(<pre(?=[\s>]))|(</pre\s*>)", re.IGNORECASE)
BLANK_LINE = re.compile(r"\n[ \t]*\n\s*")


def paragraphs(source: str) -> str:
    """Return HTML in which blank lines outside `<pre>` are paragraphs and single line breaks are `<br>`.

    Blog software stores posts without paragraphs and adds them when it shows them. HTML comments, which mark the blocks
    of its editor, are removed; a text with marked blocks has its paragraphs already.
    """
    marked = "<!-- wp:" in source
    source = without_comments(source.replace("\r\n", "\n").replace("\r", "\n"))
    if marked:
        return source
    parts: list[str] = []
    opened = position = 0
    for tag in PREFORMATTED.finditer(source):
        if tag[1] and not opened:
            parts.append(_paragraphs(source[position : tag.start()]))
            opened, position = 1, tag.start()
        elif tag[2] and opened:
            parts.append(source[position : tag.end()])
            opened, position = 0, tag.end()
    parts.append(source[position:] if opened else _paragraphs(source[position:]))
    return "\n".join(filter(None, parts))


def without_comments(source: str) -> str:
    """Return the source without `<!-- … -->`, in linear time even if no comment ends."""
    kept: list[str] = []
    position = 0
    while (start := source.find("<!--", position)) >= 0 and (end := source.find("-->", start + 4)) >= 0:
        kept.append(source[position:start])
        position = end + 3
    return "".join(kept) + source[position:]


def _paragraphs(source: str) -> str:
    """Wrap text between block tags, split at blank lines, in paragraphs."""
    parts: list[str] = []
    position, inside = 0, False
    for tag in BLOCK_TAG.finditer(source):
        parts += _wrapped(source[position : tag.start()], inside=inside)
        parts.append(tag[0])
        position = tag.end()
        inside = not tag[0].startswith(("</", "<hr"))
    return "".join(parts + _wrapped(source[position:], inside=False))


def _wrapped(text: str, *, inside: bool) -> list[str]:
    """Return the paragraphs of a text without block tags. A single one in a block, as in a list item, has no `<p>`."""
    pieces = [piece.replace("\n", "<br>\n") for piece in BLANK_LINE.split(text.strip()) if piece]
    if inside and len(pieces) == 1:
        return pieces
    return [f"<p>{piece}</p>\n" for piece in pieces]
