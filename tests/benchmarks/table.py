"""Print what was measured."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from tests.benchmarks.compare import Failure, Row
from tests.benchmarks.measurement import Measurement, Unit

Line = Row | Failure


def alone(lines: Iterable[Line], caption: str) -> Table:
    """Show one commit beside the bounds of the same run."""
    table = _table(caption)
    for heading in ("Rapport", "ratio to bound"):
        table.add_column(heading, justify="right")
    table.add_column("bound, same run")
    table.add_column("goal")
    for line in lines:
        match line:
            case Failure(part, reason):
                table.add_row(Text(part), Text("failed", "bold red"), "", Text(reason))
            case Row(last=last):
                to_bound = "" if line.to_bound is None else f"{line.to_bound:.2f}"
                table.add_row(
                    Text(work_of(last)), value_of(line.this, last.unit), to_bound, Text(last.bound), last.goal
                )
    return table


def comparison(lines: Iterable[Line], caption: str) -> Table:
    """Show this commit beside the base."""
    table = _table(caption)
    for heading in ("base", "this", "this/base", "spread"):
        table.add_column(heading, justify="right")
    table.add_column("goal; bound, same run", min_width=14, overflow="fold")
    for line in lines:
        match line:
            case Failure(part, reason):
                table.add_row(Text(part), "", Text("failed", "bold red"), "", "", Text(reason))
            case Row(last=last):
                bound = last.bound if line.to_bound is None else f"{line.to_bound:.2f} of {last.bound}"
                table.add_row(
                    Text(work_of(last)),
                    value_of(line.base, last.unit),
                    value_of(line.this, last.unit),
                    _ratio(line),
                    f"{min(line.ratios):.2f}–{max(line.ratios):.2f}" if line.ratios else "–",
                    Text("; ".join(filter(None, (last.goal, bound)))),
                )
    return table


def _table(caption: str) -> Table:
    """Make a table that fits into 80 columns."""
    table = Table(caption=caption, caption_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("work", min_width=18, overflow="fold")
    return table


def work_of(measurement: Measurement) -> str:
    """Return what a row is called; a part is indented and named without its whole."""
    return f"  {measurement.work.rpartition(': ')[2]}" if measurement.is_part else measurement.work


def value_of(value: float | None, unit: Unit) -> str:
    """Return a value with its unit."""
    if value is None:
        return "–"
    return f"{value:,.{1 if value < 100 and unit is not Unit.MEMORY else 0}f} {unit.value}"


def _ratio(row: Row) -> Text:
    if row.ratio is None:
        return Text("–")
    return Text(f"{row.ratio:.2f} dearer", "bold red") if row.is_dearer else Text(f"{row.ratio:.2f}")
