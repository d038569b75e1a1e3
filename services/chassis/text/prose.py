"""Plain prose: texts in which nothing means anything to Markdown, so that their HTML is known without a parser.

Most short texts are like that, and a parser takes a hundred times longer over them. Whatever might be markup, a link or
an entity, by its characters alone, is not prose; so nothing here needs the sanitiser either.
"""

import re

LETTER = r"[^\W\d_]"
LINE = rf"""(?:{LETTER}|["'(“‘„«])(?:[^\W_]|[ ,;!?()'"“”‘’„«»…–—%-]|[.:](?=[\s.)"'”’»]|\Z))*"""
PROSE = re.compile(rf"{LINE}(?:\n+{LINE})*")
PARAGRAPHS = re.compile(r"\n\n+")


def is_prose(source: str) -> bool:
    """Whether every line begins with a letter or a quotation and holds words and punctuation only."""
    return " \n" not in source and not source.endswith(" ") and PROSE.fullmatch(source) is not None


def prose_html(source: str) -> str:
    """The HTML of plain prose: its paragraphs."""
    return "".join(f"<p>{paragraph}</p>\n" for paragraph in PARAGRAPHS.split(source))
