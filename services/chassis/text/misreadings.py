"""Find what the parser takes for markup that the writer of a comment cannot have meant, so that it stays text.

`--` under a line, as before a signature, is a table of one column to it, and `[edit]: typo` a definition, which is
shown nowhere. Each gets a backslash, and the text is parsed again.
"""

import re
from collections import Counter

TABLE = re.compile(r'<table data-sourcepos="([0-9]+):')
DELIMITERS = re.compile(r":?-+:?[ 	]*$")
TEXT = re.compile(r">\s*+[^<\s]")
CODE = re.compile(r'<pre data-sourcepos="([0-9]+):[0-9]+-([0-9]+):')
LABEL = re.compile(r"\[([^\[\]\n]{1,999}+)\]")
DEFINITION = re.compile(r"([ \t>]*+(?:(?:[-*+]|[0-9]{1,9}[.)])[ \t]+[ \t>]*+)*+)(?=\[([^\[\]\n]{1,999}+)\]:)")
ESCAPED = "\\["


def without_bare_tables(source: str, html: str) -> str:
    """Return the source in which no line of hyphens without a `|` makes a table.

    Args:
        html: of the source, with positions.
    """
    if "<table" not in html:
        return source
    lines = source.split("\n")
    for table in TABLE.finditer(html):
        number = int(table[1])  # of the line below the first: lines are counted from one
        if number < len(lines) and "|" not in lines[number]:
            lines[number] = DELIMITERS.sub(r"\\\g<0>", lines[number])
    return "\n".join(lines)


def with_definitions_shown(source: str, html: str) -> str:
    """Return the source in which definitions that nothing refers to are text, if it shows something without them.

    Args:
        html: of the source, with positions.
    """
    if "]:" not in source or TEXT.search(html) is None:
        return source
    mentions = Counter(label.casefold() for label in LABEL.findall(source))
    code = {line for block in CODE.finditer(html) for line in range(int(block[1]) - 1, int(block[2]))}
    lines = source.split("\n")
    for number, line in enumerate(lines):
        found = DEFINITION.match(line)
        if found is not None and mentions[found[2].casefold()] == 1 and number not in code:
            lines[number] = f"{found[1]}\\{line[found.end() :]}"
    return "\n".join(lines)
