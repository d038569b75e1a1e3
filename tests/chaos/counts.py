"""Sizes of the crash tests: a short version in every test run, the full counts by `make chaos`."""

import pytest
from _pytest.mark.structures import ParameterSet  # the return type of `pytest.param` has no public name

HOUR = 3600
PATIENT = 900  # the machine may be busy


def rounds(short: int, full: int) -> pytest.MarkDecorator:
    """Parametrize `rounds`; the full number has the mark `chaos`."""
    return pytest.mark.parametrize(
        "rounds",
        [
            pytest.param(short, id="short", marks=pytest.mark.timeout(PATIENT)),
            pytest.param(full, id="full", marks=[pytest.mark.chaos, pytest.mark.timeout(HOUR)]),
        ],
    )


def seconds(short: list[int], full: list[int]) -> pytest.MarkDecorator:
    """Parametrize `away`: the length of an outage."""
    return pytest.mark.parametrize("away", [*_brief(short), *_long(full)])


def seconds_and_rounds(short: list[int], full: list[int], rounds: int) -> pytest.MarkDecorator:
    """Parametrize `away` and `rounds`: one round in the short version."""
    briefly = [pytest.param(*each.values, 1, id=each.id, marks=each.marks) for each in _brief(short)]
    often = [pytest.param(*each.values, rounds, id=each.id, marks=each.marks) for each in _long(full)]
    return pytest.mark.parametrize(("away", "rounds"), briefly + often)


def _brief(values: list[int]) -> list[ParameterSet]:
    return [pytest.param(value, id=f"{value}s", marks=pytest.mark.timeout(PATIENT)) for value in values]


def _long(values: list[int]) -> list[ParameterSet]:
    marks = [pytest.mark.chaos, pytest.mark.timeout(HOUR)]
    return [pytest.param(value, id=f"{value}s-full", marks=marks) for value in values]
