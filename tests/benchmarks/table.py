"""What a measurement says."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        bound: what the figure is held against, measured in the same run.
        ratio: figure / bound (or as `goal` says).
    """

    work: str
    figure: str
    bound: str = ""
    ratio: float | None = None
    goal: str = ""


def table(rows: Iterable[Row]) -> Table:
    made = Table(
        "work",
        "Rapport",
        "bound, same run",
        "ratio",
        "goal",
        title="product and database on one core; load, Kafka and Valkey on another",
    )
    for row in rows:
        made.add_row(row.work, row.figure, row.bound, "" if row.ratio is None else f"{row.ratio:.2f}", row.goal)
    return made


def quantiles(values: Iterable[float], *shares: float) -> str:
    """The values that these shares of all stay below, such as `1.2, 3.4`."""
    ordered = sorted(values)
    return ", ".join(f"{ordered[min(len(ordered) - 1, int(share * len(ordered)))]:.1f}" for share in shares)
