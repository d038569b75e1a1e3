"""How much of a crash test is run: a short version in every test run, the full counts by `make chaos`."""

import pytest

HOUR = 3600
PATIENT = 900  # the machine may have other things to do


def rounds(short: int, full: int) -> pytest.MarkDecorator:
    """Parametrize `rounds`; the full number carries the mark `chaos`."""
    return pytest.mark.parametrize(
        "rounds",
        [
            pytest.param(short, id="short", marks=pytest.mark.timeout(PATIENT)),
            pytest.param(full, id="full", marks=[pytest.mark.chaos, pytest.mark.timeout(HOUR)]),
        ],
    )


def seconds(short: list[int], full: list[int], rounds: int = 5) -> pytest.MarkDecorator:
    """Parametrize `away`, how long a server is gone, and `rounds`, how often: once in the short version."""
    return pytest.mark.parametrize(
        ("away", "rounds"),
        [pytest.param(value, 1, id=f"{value}s", marks=pytest.mark.timeout(PATIENT)) for value in short]
        + [
            pytest.param(value, rounds, id=f"{value}s-{rounds}", marks=[pytest.mark.chaos, pytest.mark.timeout(HOUR)])
            for value in full
        ],
    )
