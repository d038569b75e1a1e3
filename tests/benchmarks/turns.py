"""Measure systems by turns: base, this, base, this …"""

import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from tests.benchmarks.measurement import Measurement, MeasurementError
from tests.benchmarks.system import System

T = TypeVar("T")
Measure = Callable[[], Awaitable[list[Measurement]]]
Part = Callable[[System], Awaitable[Measure]]  # prepares a system once, and returns what measures it
Turn = dict[str, list[Measurement]]  # by the name of the system
TURNS = 2  # in each round; short turns are disturbed alike by what else the machine does


async def take_turns(systems: Mapping[str, System], part: Part, rounds: int, say: Callable[[str], None]) -> list[Turn]:
    """Prepare every system for a part, then measure each by turns while the others have nothing to do.

    In every round the systems are started anew, and each has `TURNS` turns.

    Returns:
        what was measured, a dictionary for each turn.

    Raises:
        MeasurementError: a system could not be prepared or measured; the message names it.
    """
    measures: dict[str, Measure] = {}
    found: list[Turn] = []
    for side, system in systems.items():
        say(f"  preparing {side} …")
        system.renew_tokens()
        measures[side] = await _named(side, part(system))
    for number in range(rounds):
        for side, system in systems.items():
            await _named(side, system.restart())
        for turn in range(TURNS):
            found.append({})
            for side, system in systems.items():
                say(f"  round {number + 1} of {rounds}, turn {turn + 1} of {TURNS}: {side} …")
                for each_side, each in systems.items():
                    await _named(each_side, each.settle())
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
