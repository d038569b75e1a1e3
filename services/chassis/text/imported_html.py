"""Give HTML as blog software stores it the paragraphs that blog software adds when it shows it."""

import re

from services.chassis.text.rewriter import SHOWN_AS
from services.chassis.text.stored_code import with_code_escaped
from services.chassis.text.tokens import RAW, Tag, tokens
from services.chassis.text.words import BLOCKS

BLANK_LINE = re.compile(r"\n[ \t]*\n\s*")
DIVISION = re.compile(r"<!--\s*+(?:more|nextpage)(?=\s|-->)", re.IGNORECASE)  # between parts of a text
ALIKE = frozenset(name for name, shown in SHOWN_AS.items() if shown in BLOCKS)  # blocks under another name
AS_IT_IS = RAW | {"pre"}  # a paragraph in what is no markup would be shown as text


def paragraphs(source: str) -> str:
    """Return HTML in which blank lines outside `<pre>` are paragraphs and single line breaks are `<br>`.

    Blog software stores posts without paragraphs and adds them when it shows them. HTML comments, which mark the blocks
    of its editor, are removed; a text with marked blocks has its paragraphs already.

    Args:
        source: its line ends are line feeds.
    """
    source = with_code_escaped(source)
    marked = "<!-- wp:" in source
    source = without_comments(source)
    return source if marked else _Paragraphs().of(source)


def without_comments(source: str) -> str:
    """Return the source without `<!-- … -->`, in linear time even if no comment ends.

    Where one divides the text, a blank line does.
    """
    kept: list[str] = []
    position = 0
    while (start := source.find("<!--", position)) >= 0 and (end := source.find("-->", start + 4)) >= 0:
        kept.append(source[position:start])
        if DIVISION.match(source, start):
            kept.append("\n\n")
        position = end + 3
    return "".join(kept) + source[position:]


class _Paragraphs:
    """Wraps what stands between tags of blocks, split at blank lines, in paragraphs. Line ends inside tags are none."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._line: list[str] = []  # text and tags since the last block
        self._inside = ""  # the block that has just begun
        self._preformatted: str | None = None  # the element in which white space is kept

    def of(self, source: str) -> str:
        for token in tokens(source):
            if isinstance(token, str):
                (self._parts if self._preformatted else self._line).append(token)
            elif self._preformatted:
                self._parts.append(_written(token))
                if token.closes and token.name == self._preformatted:
                    self._preformatted = None
            elif token.name in BLOCKS or token.name in ALIKE:
                self._block(token)
            else:
                self._line.append("<br>" if token.name == "br" else _written(token))
        self._wrap("")
        return "".join(self._parts)

    def _block(self, tag: Tag) -> None:
        self._wrap(self._inside)
        self._parts.append(_written(tag))
        self._inside = "" if tag.closes or tag.name == "hr" else tag.name
        if tag.name in AS_IT_IS and not tag.closes:
            self._preformatted, self._inside = tag.name, ""

    def _wrap(self, inside: str) -> None:
        """Write the paragraphs of what came since the last block. One alone in a block, as in an item, has no `<p>`."""
        pieces = [_with_breaks(piece) for piece in BLANK_LINE.split("".join(self._line).strip()) if piece]
        self._line.clear()
        if inside == "p" or (inside and len(pieces) == 1):
            self._parts.append("</p>\n<p>".join(pieces))
        else:
            self._parts += [f"<p>{piece}</p>\n" for piece in pieces]


def _with_breaks(piece: str) -> str:
    """Return the lines of a paragraph with a `<br>` behind each but the last, unless there is one."""
    *lines, last = piece.split("\n")
    broken = [line if line.rstrip().endswith("<br>") else line + "<br>" for line in lines]
    return "\n".join([*broken, last])


def _written(tag: Tag) -> str:
    return f"<{'/' if tag.closes else ''}{tag.name}{tag.source}>".replace("\n", " ")
