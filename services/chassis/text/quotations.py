"""End a quotation in a comment where its `>` end, as people mean it.

In Markdown a line without `>` goes on with the paragraph above, so an answer right under a quotation is quoted too. The
parser says where that happened, so code, fences and lists need no second understanding here: a blank line before such
a line ends the quotation, and the text is parsed again.
"""

import re

MAY_QUOTE = re.compile(r"^[ \t0-9.)*+-]*+>", re.MULTILINE)
MARKS = re.compile(r"(?:[ \t]*>)*")
POSITION = re.compile(
    r'<(?:(blockquote) data-sourcepos="[0-9]+:([0-9]+)-[^"]*"|(/blockquote)|(br) data-sourcepos="([0-9]+):'
    r"|(?:p|li|h[1-6]|dd|td|th)[ >])"
)


def may_quote(source: str) -> bool:
    """Return whether a line begins with a quotation mark, perhaps in a list."""
    return MAY_QUOTE.search(source) is not None


def close_quotations(source: str, html: str) -> str:
    """Return the source with a blank line wherever a paragraph goes on with fewer `>` than it has.

    Args:
        html: of the source, with positions; each line end in a paragraph is a `<br>`.
    """
    lines = source.split("\n")
    columns: list[int] = []  # where each open quotation begins
    depth = 0  # of the paragraph's line
    for tag in POSITION.finditer(html):
        if tag[1]:
            columns.append(int(tag[2]))
        elif tag[3]:
            columns.pop()
        if not tag[4]:
            depth = len(columns)
        elif columns and (number := int(tag[5])) < len(lines):
            line = lines[number]
            marks = MARKS.match(line)
            assert marks is not None
            count = marks[0].count(">")
            if count < depth:
                lines[number] = f"{marks[0]}\n{_moved_left(line, marks.end(), columns[count])}"
            depth = min(count, len(columns))  # once one is ended, a line with `>` begins the next
    return "\n".join(lines)


def _moved_left(line: str, end: int, column: int) -> str:
    """Return the line with its text no further right than the quotation was: further right it would become code."""
    text = line[end:].lstrip(" \t")
    indentation = len(line) - len(text)
    if indentation < column:
        return line
    return line[:end] + " " * max(column - 1 - end, 1 if end else 0) + text
