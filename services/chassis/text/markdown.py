"""Markdown to HTML, by comrak: GitHub's Markdown, with raw HTML shown as text."""

import re

import comrak

from services.chassis.text.misreadings import ESCAPED, with_definitions_shown, without_bare_tables
from services.chassis.text.quotations import close_quotations, may_quote
from services.chassis.text.refused import Refused

# comrak takes quadratic time for a wide row and fills up short rows, so a table is measured before it is parsed.
DELIMITERS = re.compile(r"^[ \t>]*+\|?+[ \t]*+:?+-[-:| \t\v\f]*+$", re.MULTILINE)
BLANK_LINE = re.compile(r"\n[ \t>]*\n")
MOST_COLUMNS = 100
# It also counts the brackets of an address anew for each closing one at its end.
WORD = re.compile(r"[^\s<]++")
MOST_CLOSING = 1000
# Ending one quotation can end code that hid the end of the next one.
MOST_REPAIRS = 5


def _options(*, autolink: bool) -> comrak.ExtensionOptions:
    options = comrak.ExtensionOptions()
    options.autolink = autolink
    options.footnotes = options.strikethrough = options.table = options.tasklist = True
    options.cjk_friendly_emphasis = True
    return options


def _parse_options(*, is_comment: bool) -> comrak.ParseOptions:
    options = comrak.ParseOptions()
    options.ignore_setext = is_comment
    return options


def _render_options(*, is_comment: bool) -> comrak.RenderOptions:
    options = comrak.RenderOptions()
    options.escape = options.sourcepos = options.tasklist_classes = True
    options.hardbreaks = is_comment
    return options


EXTENSIONS = {autolink: _options(autolink=autolink) for autolink in (False, True)}
PARSE = {is_comment: _parse_options(is_comment=is_comment) for is_comment in (False, True)}
RENDER = {is_comment: _render_options(is_comment=is_comment) for is_comment in (False, True)}


def parse(source: str, *, is_comment: bool) -> tuple[str, str]:
    """Return the parser's HTML with the positions in the source, and the source that they are in.

    In a comment a line end is a line end, a quotation ends with its marks, and no line underlines a heading.

    Raises:
        Refused: a table is too large.
    """
    _check_tables(source)
    extensions = EXTENSIONS[_may_autolink(source)]

    def to_html(source: str) -> str:
        return comrak.render_markdown(source + "\n", extensions, PARSE[is_comment], RENDER[is_comment])

    html = to_html(source)
    if not is_comment:
        return html, source
    quotes = may_quote(source)
    for _ in range(MOST_REPAIRS):
        mended = without_bare_tables(source, html)
        if quotes:
            mended = close_quotations(mended, html)
        if mended == source:
            break
        html, source = to_html(mended), mended
    if (plain := with_definitions_shown(source, html)) != source:
        shown = to_html(plain)
        if shown.count(ESCAPED) == html.count(ESCAPED):  # more of them stand in code, where they are text
            html, source = shown, plain
    return html, source


def _check_tables(source: str) -> None:
    """Refuse wide tables, and those with many more cells than characters, as short rows are filled up.

    Raises:
        Refused: a table is too large.
    """
    cells = 0
    for row in DELIMITERS.finditer(source):
        if not (columns := row[0].count("|")):
            continue
        blank = BLANK_LINE.search(source, row.end())
        cells += (columns + 1) * source.count("\n", row.end(), blank.start() if blank else len(source))
        if columns > MOST_COLUMNS or cells > 1000 + len(source):
            raise Refused("has a table that is too large")


def _may_autolink(source: str) -> bool:
    """Return whether no word has so many closing brackets that linking it would take long."""
    return source.count(")") <= MOST_CLOSING or all(
        word[0].count(")") <= MOST_CLOSING for word in WORD.finditer(source)
    )
