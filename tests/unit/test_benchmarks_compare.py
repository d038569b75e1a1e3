"""Medians, ratios and marks of a comparison, and how they are shown."""

import re
from collections.abc import Sequence
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tests.benchmarks import table
from tests.benchmarks.compare import BASE, THIS, Failure, Row, summarize
from tests.benchmarks.measurement import Measurement, MeasurementError, Unit, prices, quantile, require
from tests.benchmarks.turns import TURNS, take_turns


def row(base: Sequence[float], this: Sequence[float], unit: Unit = Unit.PRICE, *, is_part: bool = False) -> Row:
    turns = [
        {BASE: [Measurement("work", before, unit, is_part)], THIS: [Measurement("work", now, unit, is_part)]}
        for before, now in zip(base, this, strict=True)
    ]
    (only,) = summarize(turns)
    return only


def shown(made: Table, width: int) -> str:
    output = StringIO()
    Console(file=output, width=width).print(made)
    return output.getvalue()


def test_the_ratio_is_the_median_of_the_turns_own_ratios() -> None:
    found = row(base=[100, 200, 400], this=[110, 200, 200])
    assert (found.base, found.this) == (200, 200)
    assert found.ratios == pytest.approx((1.1, 1.0, 0.5))
    assert found.ratio == 1.0


def test_a_price_more_than_five_percent_higher_is_dearer() -> None:
    assert row([100, 100, 100], [106, 106, 90]).is_dearer
    assert not row([100, 100, 100], [104, 104, 200]).is_dearer
    assert not row([100], [50]).is_dearer


@pytest.mark.parametrize("unit", [Unit.RATE, Unit.LATENCY, Unit.MEMORY])
def test_only_processor_time_is_marked(unit: Unit) -> None:
    assert not row([100], [200], unit).is_dearer


def test_a_part_of_a_price_is_not_marked() -> None:
    assert not row([100], [200], is_part=True).is_dearer


def test_work_that_one_side_does_not_have_has_no_ratio() -> None:
    turns = [{BASE: [Measurement("old", 1, Unit.PRICE)], THIS: [Measurement("new", 2, Unit.PRICE)]}]
    old, new = summarize(turns)
    assert (old.base, old.this, old.ratio) == (1, None, None)
    assert (new.base, new.this, new.ratio) == (None, 2, None)
    assert not new.is_dearer


def test_a_turn_in_which_one_side_is_missing_counts_for_the_median_alone() -> None:
    turns = [
        {BASE: [Measurement("work", 10, Unit.PRICE)], THIS: []},
        {BASE: [Measurement("work", 20, Unit.PRICE)], THIS: [Measurement("work", 30, Unit.PRICE)]},
    ]
    (found,) = summarize(turns)
    assert (found.base, found.this, found.ratios) == (15, 30, (1.5,))


def test_prices_are_of_one_piece_of_work_and_small_parts_go_without_a_line() -> None:
    whole, *parts = prices("read", {"gateway": 0.002, "notify": 0.0000001, "PostgreSQL": 0.003}, 10)
    assert (whole.work, whole.is_price) == ("read", True)
    assert whole.value == pytest.approx(500.01)
    assert [(part.work, part.value) for part in parts] == [("read: PostgreSQL", 300), ("read: gateway", 200)]


def test_a_quantile_is_a_value_that_was_measured() -> None:
    assert quantile([5, 1, 4, 2, 3], 0.5) == 3
    assert quantile([5, 1, 4, 2, 3], 0.99) == 5


def test_a_429_is_a_failure_of_the_measurement() -> None:
    require({201: 5}, 201)
    with pytest.raises(MeasurementError, match=r"^3 answers were 429: the measurement exceeded a rate limit\.$"):
        require({201: 5, 429: 3}, 201)
    with pytest.raises(MeasurementError, match=r"^Answers other than 201: 1 × 500, 2 × 503\.$"):
        require({201: 5, 503: 2, 500: 1}, 201)


@pytest.mark.parametrize("width", [80, 160])
def test_a_comparison_shows_the_ratio_its_spread_and_the_mark(width: int) -> None:
    lines: list[table.Line] = [
        row([100, 100], [110, 112]),
        row([50, 50], [55, 60], Unit.RATE),
        Failure("mail", "this: it broke."),
    ]
    output = shown(table.comparison(lines, "base = a, this = b"), width)
    assert re.search(r"work +100 µs +111 µs +1.11 dearer +1.10–1.12", output)
    assert re.search(r"work +50.0 /s +57.5 /s +1.15 +1.10–1.20", output)
    assert "failed" in output and "base = a, this = b" in output


def test_one_commit_is_shown_beside_its_bound() -> None:
    measured = Measurement("read", 900, Unit.RATE, bound="bare 1,000/s", to_bound=0.9, goal="≥ 0.6")
    output = shown(table.alone(summarize([{THIS: [measured]}]), "this = b"), 160)
    assert re.search(r"read +900 /s +0.90 +bare 1,000/s", output)


class FakeSystem(SimpleNamespace):
    """Notes what is asked of it."""

    async def restart(self) -> None:
        self.log.append(f"restart {self.name}")

    async def settle(self) -> None:
        self.log.append(f"settle {self.name}")

    def renew_tokens(self) -> None:
        self.log.append(f"tokens {self.name}")


async def test_systems_are_measured_by_turns_while_all_others_have_nothing_to_do() -> None:
    log: list[str] = []
    systems: Any = {side: FakeSystem(name=side, log=log) for side in (BASE, THIS)}

    async def part(system: Any) -> Any:
        async def measure() -> list[Measurement]:
            log.append(f"measure {system.name}")
            return [Measurement("work", 1, Unit.PRICE)]

        return measure

    turns = await take_turns(systems, part, 3, lambda _: None)
    assert [list(each) for each in turns] == [[BASE, THIS]] * 3 * TURNS
    in_turn = ["settle base", "settle this", "tokens base", "measure base"]
    in_turn += ["settle base", "settle this", "tokens this", "measure this"]
    assert log == ["tokens base", "tokens this", *["restart base", "restart this", *in_turn * TURNS] * 3]


async def test_a_failure_names_its_system() -> None:
    systems: Any = {THIS: FakeSystem(name=THIS, log=[])}

    async def part(_: Any) -> Any:
        raise MeasurementError("it broke.")

    with pytest.raises(MeasurementError, match=r"^this: it broke\.$"):
        await take_turns(systems, part, 1, lambda _: None)
