"""Break lines of text at a number of columns, as terminals and mail clients of plain text count them."""

import re
import unicodedata
from functools import lru_cache

IDEOGRAPHS = "\u2e80-\u2fff\u3001-\u312f\u31a0-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff60\U00020000-\U0003fffd"
# What may not begin a line: closing punctuation, and what belongs to the character before it.
NEVER_FIRST = "、。，．：；？！）］｝」』】》〉〕’”…ー々ゝゞ\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef"
# Between ideographs a line may be broken without a space.
PIECE = re.compile(
    rf"\s*(?:(?![{NEVER_FIRST}])[{IDEOGRAPHS}][{NEVER_FIRST}]*|(?:(?![{IDEOGRAPHS}])\S|[{NEVER_FIRST}])+)|\s+"
)
# At the beginning of a line it would look like the mark of an item, a quotation, a heading or a rule.
LOOKS_LIKE_A_MARK = re.compile(r"(?:[-+*>#=~|]+|\d+[.)])(?!\S)")


def width(text: str) -> int:
    """Return how many columns a text takes: two for each ideograph or emoji, none for a mark above a letter."""
    return len(text) if text.isascii() else sum(map(_width, text))


@lru_cache(4096)
def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrapped(line: str, room: int) -> list[str]:
    """Break a line at spaces or between ideographs into lines of at most `room` columns; longer words stay whole."""
    if 2 * len(line) <= room or (columns := width(line)) <= room:
        return [line]
    return _at_spaces(line, room) if columns == len(line) else _between_pieces(line, room)


def _at_spaces(line: str, room: int) -> list[str]:
    """Break a line in which each character takes one column."""
    lines, position = [], 0
    while len(line) - position > room:
        space = line.rfind(" ", position, position + room + 1)
        while space > position and LOOKS_LIKE_A_MARK.match(line, space + 1):
            space = line.rfind(" ", position, space)
        if space <= position:
            space = line.find(" ", position + room + 1)
        if space < 0:
            break
        lines.append(line[position:space].rstrip())
        position = space + 1
        while line.startswith(" ", position):
            position += 1
    return [*lines, line[position:]]


def _between_pieces(line: str, room: int) -> list[str]:
    lines, current, used = [], "", 0
    for piece in PIECE.findall(line):
        taken = width(piece)
        word = piece.lstrip()
        if current and used + taken > room and not LOOKS_LIKE_A_MARK.match(word):
            lines.append(current)
            current, used = word, width(word)
        else:
            current += piece
            used += taken
    return [*lines, current]
