"""What a measurement returns: values with their units."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

SMALLEST_PART = 5.0  # µs; a part of a price that is cheaper is not listed


class MeasurementError(Exception):
    """A value could not be measured. The message is one sentence."""


class Unit(Enum):
    """What a value counts."""

    RATE = "/s"
    LATENCY = "ms"
    PRICE = "µs"  # of processor time for one piece of work
    MEMORY = "MB"
    SIZE = "kB"

    @property
    def lower_is_better(self) -> bool:
        return self is not Unit.RATE


@dataclass(frozen=True)
class Measurement:
    """One value.

    Attributes:
        work: what was done; the same in every turn and for every commit.
        is_part: whether the value is contained in the one before it.
        bound: what the value is held against, measured in the same run.
        to_bound: value / bound, or as the goal says.
        goal: what the product is held to.
    """

    work: str
    value: float
    unit: Unit
    is_part: bool = False
    bound: str = ""
    to_bound: float | None = None
    goal: str = ""

    @property
    def is_price(self) -> bool:
        """Whether this is the whole price of a piece of work in processor time."""
        return self.unit is Unit.PRICE and not self.is_part


def prices(work: str, seconds: Mapping[str, float], count: int, *, goal: str = "") -> list[Measurement]:
    """State the price of each of `count` pieces of work, and below it what each part of the system takes of it."""
    each = {part: 1e6 * spent / count for part, spent in seconds.items()}
    parts = sorted(((price, part) for part, price in each.items() if price >= SMALLEST_PART), reverse=True)
    return [
        Measurement(work, sum(each.values()), Unit.PRICE, goal=goal),
        *(Measurement(f"{work}: {part}", price, Unit.PRICE, is_part=True) for price, part in parts),
    ]


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value that this share of all stays below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def require(statuses: Mapping[int, int], expected: int) -> None:
    """Check that every answer had the expected status.

    Raises:
        MeasurementError: one had not; a 429 is a mistake of the measurement, not of the product.
    """
    other = {status: count for status, count in statuses.items() if status != expected}
    if 429 in other:
        raise MeasurementError(f"{other[429]} answers were 429: the measurement exceeded a rate limit.")
    if other:
        listed = ", ".join(f"{count} × {status}" for status, count in sorted(other.items()))
        raise MeasurementError(f"Answers other than {expected}: {listed}.")
