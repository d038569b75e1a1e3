"""Group commit: the size of batches follows the load, and each item has its own outcome."""

import asyncio
from collections.abc import Sequence

import pytest

from services.chassis.runtime import context
from services.chassis.runtime.batcher import Batcher
from services.chassis.runtime.context import Context


class RecordingWork:
    """Work that records its batches and waits until it is opened."""

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


async def submitted(batcher: Batcher[int, int], items: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(batcher.submit(item)) for item in items]
    await asyncio.sleep(0)
    assert len(batcher._waiting) == len(items)
    return tasks


async def test_first_item_is_processed_at_once_and_later_items_as_one_batch() -> None:
    recorder = RecordingWork()
    batcher = Batcher(recorder.work)
    first = asyncio.create_task(batcher.submit(1))
    await recorder.begun.wait()
    rest = await submitted(batcher, [2, 3, 4])
    assert recorder.batches == [[1]]
    recorder.open.set()
    assert await asyncio.gather(first, *rest) == [10, 20, 30, 40]
    assert recorder.batches == [[1], [2, 3, 4]]
    assert await batcher.submit(5) == 50, "the batcher continues afterwards"


async def test_a_batch_waits_for_items_that_are_announced() -> None:
    recorder = RecordingWork()
    recorder.open.set()
    batcher = Batcher(recorder.work, patience=3600)
    checked = asyncio.Event()

    async def announced(item: int) -> int:
        with batcher.announced():
            await checked.wait()
        return await batcher.submit(item)

    late = [asyncio.create_task(announced(item)) for item in (2, 3)]
    await asyncio.sleep(0)
    early = asyncio.create_task(batcher.submit(1))
    for _ in range(5):  # longer than a batch needs to begin
        await asyncio.sleep(0)
    assert recorder.batches == []
    checked.set()
    async with asyncio.timeout(30):
        assert await asyncio.gather(early, *late) == [10, 20, 30]
    assert recorder.batches == [[1, 2, 3]]


async def test_a_full_batch_waits_for_nobody() -> None:
    recorder = RecordingWork()
    recorder.open.set()
    batcher = Batcher(recorder.work, most=2, patience=3600)
    with batcher.announced():
        async with asyncio.timeout(30):
            assert await asyncio.gather(*(batcher.submit(item) for item in (1, 2, 3, 4))) == [10, 20, 30, 40]
    assert recorder.batches == [[1, 2], [3, 4]]


async def test_a_batch_does_not_wait_for_who_was_announced_and_refused() -> None:
    recorder = RecordingWork()
    recorder.open.set()
    batcher = Batcher(recorder.work, patience=3600)
    with pytest.raises(LookupError), batcher.announced():
        raise LookupError("refused")
    async with asyncio.timeout(30):
        assert await batcher.submit(1) == 10


async def test_patience_with_those_who_are_announced_ends() -> None:
    recorder = RecordingWork()
    recorder.open.set()
    batcher = Batcher(recorder.work, patience=0.01)
    with batcher.announced():
        async with asyncio.timeout(30):
            assert await batcher.submit(1) == 10


async def test_batches_are_bounded() -> None:
    recorder = RecordingWork()
    batcher = Batcher(recorder.work, most=3)
    first = asyncio.create_task(batcher.submit(0))
    await recorder.begun.wait()
    rest = await submitted(batcher, range(1, 8))
    recorder.open.set()
    await asyncio.gather(first, *rest)
    assert recorder.batches == [[0], [1, 2, 3], [4, 5, 6], [7]]


async def test_error_of_an_item_is_its_outcome_only() -> None:
    recorder = RecordingWork()
    recorder.open.set()
    batcher = Batcher(recorder.work)
    outcomes = await asyncio.gather(*(batcher.submit(item) for item in (1, -2, 3)), return_exceptions=True)
    assert outcomes[0::2] == [10, 30]
    assert isinstance(outcomes[1], ValueError)


async def test_exception_of_a_batch_is_the_outcome_of_each_item() -> None:
    recorder = RecordingWork()
    batcher = Batcher(recorder.work)
    first = asyncio.create_task(batcher.submit(1))
    await recorder.begun.wait()
    rest = await submitted(batcher, [12, 13])
    recorder.open.set()
    assert await first == 10
    for task in rest:
        with pytest.raises(LookupError):
            await task
    assert await batcher.submit(2) == 20


async def test_cancelled_caller_does_not_stop_its_batch() -> None:
    recorder = RecordingWork()
    batcher = Batcher(recorder.work)
    first = asyncio.create_task(batcher.submit(1))
    await recorder.begun.wait()
    second, third = await submitted(batcher, [2, 3])
    first.cancel()
    second.cancel()
    recorder.open.set()
    assert await third == 30
    assert recorder.batches == [[1], [2, 3]], "submitted items are processed"


async def test_items_that_came_together_have_outcomes_of_their_own() -> None:
    recorder = RecordingWork()
    recorder.open.set()
    outcomes = await Batcher(recorder.work).submit_all([1, -2, 3])
    assert outcomes[0::2] == [10, 30]
    assert isinstance(outcomes[1], ValueError)


async def test_so_many_batches_are_in_progress_at_once() -> None:
    recorder = RecordingWork()
    batcher = Batcher(recorder.work, at_once=2)
    first = asyncio.create_task(batcher.submit(1))
    await recorder.begun.wait()
    recorder.begun.clear()
    second = asyncio.create_task(batcher.submit(2))
    await recorder.begun.wait()
    rest = await submitted(batcher, [3, 4])
    assert recorder.batches == [[1], [2]]
    recorder.open.set()
    assert await asyncio.gather(first, second, *rest) == [10, 20, 30, 40]
    assert recorder.batches == [[1], [2], [3, 4]]


async def test_it_can_be_waited_for_though_nobody_waits_for_its_items() -> None:
    recorder = RecordingWork()
    batcher = Batcher(recorder.work)
    outcome = batcher.begin(1)
    draining = asyncio.create_task(batcher.drain())
    await recorder.begun.wait()
    assert not draining.done()
    recorder.open.set()
    await draining
    assert outcome.result() == 10


async def test_a_wrong_number_of_outcomes_is_an_error_of_each_item() -> None:
    async def work(_: Sequence[int]) -> list[int]:
        return [1]

    outcomes = await asyncio.wait_for(Batcher(work).submit_all([1, 2]), 5)
    assert [type(outcome) for outcome in outcomes] == [RuntimeError] * 2


async def test_a_cancelled_batch_leaves_nobody_waiting() -> None:
    recorder = RecordingWork()
    batcher = Batcher(recorder.work)
    begun = batcher.begin(1)
    await recorder.begun.wait()
    waiting = batcher.begin(2)
    for task in batcher._tasks:
        task.cancel()
    await asyncio.wait([begun, waiting], timeout=5)
    assert begun.cancelled()
    assert waiting.cancelled()
    recorder.open.set()
    assert await batcher.submit(3) == 30, "the batcher continues afterwards"


async def test_it_works_for_its_service_and_for_no_request() -> None:
    seen = []

    async def work(items: Sequence[int]) -> list[int]:
        seen.append((context.service(), context.current()))
        return list(items)

    with context.working_as("comments"), context.bound(Context("a request")):
        await Batcher(work).submit(1)
    assert seen == [("comments", Context())]
