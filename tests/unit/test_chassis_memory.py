"""Memory goes back to the system after a load, and not during it."""

import pytest

from services.chassis.runtime.memory import Trimmer, resident_kilobytes, trim


class Process:
    """A process as the trimmer sees it; trimming takes what is free."""

    def __init__(self) -> None:
        self.resident, self.free, self.seconds, self.used, self.trimmed = 1_000, 0, 0.0, 0.0, 0

    def trim(self) -> None:
        self.resident -= self.free
        self.free = 0
        self.trimmed += 1

    async def look(self, trimmer: Trimmer, *, share: float = 0.01) -> None:
        self.seconds += 20
        self.used += 20 * share
        await trimmer.look()


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def trimmer(process: Process) -> Trimmer:
    return Trimmer(lambda: process.resident, process.trim, lambda: process.used, lambda: process.seconds)


async def test_what_a_load_left_is_given_back_when_it_is_over(process: Process, trimmer: Trimmer) -> None:
    process.resident, process.free = 1_500, 480
    await process.look(trimmer, share=0.9)
    assert process.trimmed == 0
    await process.look(trimmer)
    assert (process.trimmed, process.resident) == (1, 1_020)
    await process.look(trimmer)
    assert process.trimmed == 1


async def test_what_cannot_be_given_back_is_tried_again(process: Process, trimmer: Trimmer) -> None:
    """A load may end long after the look at which nothing was free."""
    process.resident = 1_500
    await process.look(trimmer)
    process.free = 500
    await process.look(trimmer)
    assert process.resident == 1_000


async def test_a_process_that_shrank_is_held_to_that(process: Process, trimmer: Trimmer) -> None:
    process.resident = 800
    await process.look(trimmer)
    process.resident, process.free = 900, 100
    await process.look(trimmer)
    assert process.resident == 800


def test_the_system_is_asked() -> None:
    assert resident_kilobytes() > 1_000
    trim()
