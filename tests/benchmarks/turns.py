"""Measure systems by turns: base, this, base, this …"""

import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from tests.benchmarks.measurement import Measurement, MeasurementError
from tests.benchmarks.system import System

T = TypeVar("T")
Measure = Callable[[], Awaitable[list[Measurement]]]
Part = Callable[[System], Awaitable[Measure]]  # prepares a system once, and returns what measures it
Round = dict[str, list[Measurement]]  # by the name of the system


async def take_turns(systems: Mapping[str, System], part: Part, rounds: int, say: Callable[[str], None]) -> list[Round]:
    """Prepare every system for a part, then measure each in every round while the others have nothing to do.

    A system is started anew before it is measured.

    Raises:
        MeasurementError: a system could not be prepared or measured; the message names it.
    """
    measures: dict[str, Measure] = {}
    found: list[Round] = []
    for side, system in systems.items():
        say(f"  preparing {side} …")
        system.renew_tokens()
        measures[side] = await _named(side, part(system))
    for number in range(rounds):
        found.append({})
        for side, system in systems.items():
            say(f"  round {number + 1} of {rounds}: {side} …")
            await _named(side, system.restart())
            for each in systems.values():
                await _named(side, each.settle())
            system.renew_tokens()
            found[-1][side] = await _named(side, measures[side]())
    return found


async def _named(side: str, work: Awaitable[T]) -> T:
    """Tell in an error whose it is."""
    try:
        return await work
    except MeasurementError as error:
        raise MeasurementError(f"{side}: {error}") from None
    except Exception as error:
        traceback.print_exc()
        raise MeasurementError(f"{side}: {type(error).__name__}: {str(error)[:200]}") from error
