"""Plain prose: texts without any Markdown, whose HTML is known without a parser.

Most short texts are plain prose, and a parser takes a hundred times longer. A text with a character that could belong
to markup, a link or an entity is not plain prose; so the HTML needs no sanitiser either.
"""

import re

LETTER = r"[^\W\d_]"
LINE = rf"""(?:{LETTER}|["'(“‘„«])(?:[^\W_]|[ ,;!?()'"“”‘’„«»…–—%-]|[.:](?=[\s.)"'”’»]|\Z))*"""
PROSE = re.compile(rf"{LINE}(?:\n+{LINE})*")
PARAGRAPHS = re.compile(r"\n\n+")


def is_prose(source: str) -> bool:
    """Return whether every line begins with a letter or a quotation mark and contains only words and punctuation."""
    return " \n" not in source and not source.endswith(" ") and PROSE.fullmatch(source) is not None


def prose_html(source: str) -> str:
    """Return the HTML of plain prose: its paragraphs."""
    return "".join(f"<p>{paragraph}</p>\n" for paragraph in PARAGRAPHS.split(source))
