"""Lay out a table in plain text: in columns if they fit, else row by row with the name of each column."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from services.chassis.text.columns import width, wrapped

Alignment = Literal["left", "center", "right"]


class Cell(NamedTuple):
    """The text of a cell, one line."""

    text: str
    is_head: bool
    align: Alignment = "left"


def laid_out(rows: Sequence[Sequence[Cell]], room: int | None) -> list[str]:
    """Return the lines of a table, at most `room` columns wide; only a word that is longer makes a line longer."""
    if not rows:
        return []
    count = max(map(len, rows))
    widths = [max((width(row[at].text) for row in rows if at < len(row)), default=0) for at in range(count)]
    widths = [max(each, 1) for each in widths]
    if room is not None and sum(widths) + 3 * count + 1 > room:
        return _records(rows, room)
    lines = []
    for number, row in enumerate(rows):
        cells = [_padded(row[at] if at < len(row) else Cell("", False), widths[at]) for at in range(count)]
        lines.append(f"| {' | '.join(cells)} |")
        if number == 0 and all(cell.is_head for cell in row):
            lines.append(f"|{'|'.join('-' * (each + 2) for each in widths)}|")
    return lines


def _padded(cell: Cell, columns: int) -> str:
    missing = columns - width(cell.text)
    before = {"left": 0, "center": missing // 2, "right": missing}[cell.align]
    return " " * before + cell.text + " " * (missing - before)


def _records(rows: Sequence[Sequence[Cell]], room: int) -> list[str]:
    """Return each row below the last, with a blank line between them and a line for each cell that has text."""
    names: list[str] = []
    if all(cell.is_head for cell in rows[0]):
        names, rows = [cell.text for cell in rows[0]], rows[1:] or rows
    lines: list[str] = []
    for row in rows:
        lines += [""] if lines else []
        for at, cell in enumerate(row):
            name = f"{names[at]}: " if at < len(names) and names[at] and not cell.is_head else ""
            if cell.text:
                lines += wrapped(name + cell.text, room)
    return lines
