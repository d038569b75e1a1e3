"""Compare what two commits measured in the same turns."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.measurement import Measurement

BASE, THIS = "base", "this"
DEARER = 1.05  # a price above this ratio to the base fails the comparison


@dataclass(frozen=True)
class Row:
    """One kind of work over all turns.

    Attributes:
        last: the newest measurement, for the work's name, unit, bound and goal.
        base: median of the base; None where it was not measured.
        this: median of this commit; None where it was not measured.
        ratios: this / base, of each turn in which both were measured.
        to_bound: median of this commit's ratios to the bound.
    """

    last: Measurement
    base: float | None
    this: float | None
    ratios: tuple[float, ...] = ()
    to_bound: float | None = None

    @property
    def ratio(self) -> float | None:
        """Median of the ratios, turn by turn."""
        return _median(self.ratios)

    @property
    def is_dearer(self) -> bool:
        """Whether a piece of work takes clearly more processor time than it did."""
        return self.last.is_price and self.ratio is not None and self.ratio > DEARER


@dataclass(frozen=True)
class Failure:
    """A part that could not be measured, and why."""

    part: str
    reason: str


def summarize(turns: Sequence[dict[str, list[Measurement]]]) -> list[Row]:
    """Take medians over the turns of one part, in the order in which the work was measured."""
    by_work: dict[str, dict[str, dict[int, Measurement]]] = {}
    for number, sides in enumerate(turns):
        for side, measurements in sides.items():
            for each in measurements:
                by_work.setdefault(each.work, {BASE: {}, THIS: {}})[side][number] = each
    return [_row(sides[BASE], sides[THIS]) for sides in by_work.values()]


def _row(base: dict[int, Measurement], this: dict[int, Measurement]) -> Row:
    return Row(
        last=list((this or base).values())[-1],
        base=_median([each.value for each in base.values()]),
        this=_median([each.value for each in this.values()]),
        ratios=tuple(each.value / base[at].value for at, each in this.items() if at in base and base[at].value),
        to_bound=_median([each.to_bound for each in this.values() if each.to_bound is not None]),
    )


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
