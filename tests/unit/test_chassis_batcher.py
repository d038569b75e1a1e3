"""Batches are as large as the load makes them, and everybody gets their own outcome."""

import asyncio
from collections.abc import Sequence

import pytest

from services.chassis.runtime.batcher import Batcher


class Desk:
    """Work that can be held up, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.begun = asyncio.Event()

    async def work(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        self.begun.set()
        await self.open.wait()
        if 13 in items:
            raise LookupError("the whole batch")
        return [ValueError(f"{item}") if item < 0 else item * 10 for item in items]


async def arrived(together: Batcher[int, int], items: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(together.submit(item)) for item in items]
    await asyncio.sleep(0)
    assert len(together._waiting) == len(items)
    return tasks


async def test_the_first_goes_at_once_and_the_rest_together() -> None:
    desk = Desk()
    together = Batcher(desk.work)
    first = asyncio.create_task(together.submit(1))
    await desk.begun.wait()
    rest = await arrived(together, [2, 3, 4])
    assert desk.batches == [[1]]
    desk.open.set()
    assert await asyncio.gather(first, *rest) == [10, 20, 30, 40]
    assert desk.batches == [[1], [2, 3, 4]]
    assert await together.submit(5) == 50, "and it goes on afterwards"


async def test_no_batch_is_larger_than_allowed() -> None:
    desk = Desk()
    together = Batcher(desk.work, most=3)
    first = asyncio.create_task(together.submit(0))
    await desk.begun.wait()
    rest = await arrived(together, range(1, 8))
    desk.open.set()
    await asyncio.gather(first, *rest)
    assert desk.batches == [[0], [1, 2, 3], [4, 5, 6], [7]]


async def test_an_error_is_the_outcome_of_its_item_alone() -> None:
    desk = Desk()
    desk.open.set()
    together = Batcher(desk.work)
    outcomes = await asyncio.gather(*(together.submit(item) for item in (1, -2, 3)), return_exceptions=True)
    assert outcomes[0::2] == [10, 30]
    assert isinstance(outcomes[1], ValueError)


async def test_a_batch_that_fails_fails_for_each() -> None:
    desk = Desk()
    together = Batcher(desk.work)
    first = asyncio.create_task(together.submit(1))
    await desk.begun.wait()
    rest = await arrived(together, [12, 13])
    desk.open.set()
    assert await first == 10
    for task in rest:
        with pytest.raises(LookupError):
            await task
    assert await together.submit(2) == 20


async def test_who_leaves_holds_up_nobody() -> None:
    desk = Desk()
    together = Batcher(desk.work)
    first = asyncio.create_task(together.submit(1))
    await desk.begun.wait()
    second, third = await arrived(together, [2, 3])
    first.cancel()
    second.cancel()
    desk.open.set()
    assert await third == 30
    assert desk.batches == [[1], [2, 3]], "what was handed over is done"
