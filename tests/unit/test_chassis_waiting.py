"""Waiting for events, backing off after failures, and supervised periodic work."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from structlog.typing import EventDict

from services.chassis.errors import unavailable
from services.chassis.runtime import waiting
from services.chassis.runtime.waiting import Backoff, Periodic, backoff_seconds, first_set, sleep_unless_set
from tests.waiting import eventually

LONG = 60.0  # a pause that no test waits for


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[EventDict]]:
    with capture_logs() as entries:
        yield entries


async def test_sleep_unless_set_ends_at_the_event() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await asyncio.wait_for(sleep_unless_set(event, LONG), 5) is True
    assert await asyncio.wait_for(sleep_unless_set(event, LONG), 5) is True, "also if it was set before"


async def test_sleep_unless_set_ends_after_its_time() -> None:
    began = time.monotonic()
    assert await sleep_unless_set(asyncio.Event(), 0.05) is False
    assert time.monotonic() - began >= 0.045


async def test_sleep_unless_set_passes_a_cancellation_on() -> None:
    task = asyncio.create_task(sleep_unless_set(asyncio.Event(), LONG))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("which", [0, 1])
async def test_first_set_ends_at_any_event_and_leaves_no_task(which: int) -> None:
    before = asyncio.all_tasks()
    events = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, events[which].set)
    assert await asyncio.wait_for(first_set(*events), 5) is True
    assert await asyncio.wait_for(first_set(*events), 5) is True, "also if it was set before"
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_first_set_ends_after_its_time() -> None:
    before = asyncio.all_tasks()
    assert await asyncio.wait_for(first_set(asyncio.Event(), asyncio.Event(), within=0.01), 5) is False
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_cancelled_first_set_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    task = asyncio.create_task(first_set(asyncio.Event(), asyncio.Event()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


def test_backoff_seconds_double_up_to_the_longest() -> None:
    assert [backoff_seconds(failures, 0.5, 3) for failures in range(1, 6)] == [0.5, 1, 2, 3, 3]
    assert backoff_seconds(100_000, 0.5, 3) == 3, "without an overflow"


class Clock:
    """A fake of the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    return clock


def test_backoff_doubles_until_a_success(clock: Clock) -> None:
    backoff, pauses = Backoff(1, 5), []
    assert backoff.remaining == 0
    for _ in range(4):
        assert backoff.fail()
        pauses.append(backoff.remaining)
        clock.now += backoff.remaining
        assert backoff.remaining == 0
    assert pauses == [1, 2, 4, 5]
    backoff.succeed()
    assert backoff.remaining == 0
    assert backoff.fail()
    assert backoff.remaining == 1


def test_backoff_counts_no_failure_during_a_pause(clock: Clock) -> None:
    backoff = Backoff(1, 5)
    assert backoff.fail()
    clock.now += 0.25
    assert not backoff.fail()
    assert backoff.remaining == 0.75
    clock.now += 0.75
    assert backoff.fail()
    assert backoff.remaining == 2


def test_success_ends_the_pause(clock: Clock) -> None:
    backoff = Backoff(1, 5)
    backoff.fail()
    backoff.succeed()
    assert backoff.remaining == 0


class Runs:
    """Work that raises the given exceptions in its first runs, and sets an event at a given run."""

    def __init__(self, *errors: BaseException, until: int) -> None:
        self.errors = list(errors)
        self.until = until
        self.count = 0
        self.done = asyncio.Event()

    async def __call__(self) -> None:
        self.count += 1
        if self.count >= self.until:
            self.done.set()
        if self.errors:
            raise self.errors.pop(0)


def failures(name: str) -> float | None:
    return REGISTRY.get_sample_value("rapport_periodic_failures_total", {"work": name})


async def test_periodic_work_repeats_until_stop() -> None:
    work = Runs(until=3)
    await asyncio.wait_for(Periodic("repeating", 0.001, work).run(work.done), 5)
    assert work.count == 3
    assert failures("repeating") == 0, "the metric is there before the first failure"
    await asyncio.wait_for(Periodic("repeating", 0.001, work).run(work.done), 5)
    assert work.count == 3, "a stopped one runs nothing"


@pytest.mark.parametrize(
    "error", [KeyError("x"), TimeoutError(), unavailable("away"), asyncio.CancelledError("escaped from a library")]
)
async def test_periodic_work_continues_after_a_failure(error: BaseException) -> None:
    name = f"failing {type(error).__name__}"
    work = Runs(error, error, until=4)
    await asyncio.wait_for(Periodic(name, 0.001, work).run(work.done), 5)
    assert work.count == 4
    assert failures(name) == 2


async def test_escaped_cancellation_of_an_inner_task_is_a_failure() -> None:
    work = Runs(until=2)

    async def careless() -> None:
        await work()
        inner = asyncio.ensure_future(asyncio.sleep(LONG))
        inner.cancel()
        await inner

    await asyncio.wait_for(Periodic("careless", 0.001, careless).run(work.done), 5)
    assert work.count == 2
    assert failures("careless") == 2


async def test_failure_is_logged_once_while_it_lasts(logs: list[EventDict]) -> None:
    away = unavailable("the database is away")
    work = Runs(KeyError("x"), KeyError("x"), away, away, until=5)
    await asyncio.wait_for(Periodic("logged", 0.001, work).run(work.done), 5)
    assert [(log["log_level"], log["work"]) for log in logs] == [("error", "logged"), ("warning", "logged")]
    assert (logs[1]["kind"], logs[1]["reason"]) == ("unavailable", "the database is away")


async def test_stop_ends_the_pause() -> None:
    work = Runs(until=1)
    await asyncio.wait_for(Periodic("pausing", LONG, work).run(work.done), 5)
    assert work.count == 1


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses of periodic work, none of which is waited for."""
    recorded: list[float] = []

    async def record(event: asyncio.Event, seconds: float) -> bool:
        recorded.append(seconds)
        return event.is_set()

    monkeypatch.setattr(waiting, "sleep_unless_set", record)
    return recorded


async def test_pause_after_a_failure_is_the_retry_seconds(pauses: list[float]) -> None:
    work = Runs(KeyError("x"), KeyError("x"), until=4)
    await Periodic("retrying", LONG, work, retry_seconds=2.0).run(work.done)
    assert pauses == [2.0, 2.0, LONG, LONG]


async def test_retry_seconds_shorten_the_pause_only(pauses: list[float]) -> None:
    for retry_seconds in (None, 2 * LONG):
        work = Runs(KeyError("x"), until=2)
        await Periodic("retrying", LONG, work, retry_seconds=retry_seconds).run(work.done)
    assert pauses == [LONG] * 4


async def test_jitter_varies_the_pause(pauses: list[float]) -> None:
    work = Runs(until=200)
    await Periodic("jittering", 10.0, work, jitter=0.2).run(work.done)
    assert 8 <= min(pauses) < 9
    assert 11 < max(pauses) <= 12


async def test_block_ends_the_work() -> None:
    before = asyncio.all_tasks()
    work = Runs(until=3)
    async with Periodic("block", 0.001, work):
        await asyncio.wait_for(work.done.wait(), 5)
    count = work.count
    assert asyncio.all_tasks() == before
    await asyncio.sleep(0.01)
    assert work.count == count


async def test_block_cancels_work_in_progress() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with asyncio.timeout(5):
        async with Periodic("hanging", LONG, hang):
            await started.wait()
        assert cancelled.is_set()
    assert failures("hanging") == 0


async def test_exception_of_the_block_passes_through() -> None:
    with pytest.raises(ValueError, match="of the block"):
        async with Periodic("block", LONG, Runs(until=1)):
            raise ValueError("of the block")


@pytest.mark.parametrize("in_work", [True, False])
async def test_periodic_work_is_cancellable(in_work: bool) -> None:
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        if in_work:
            await asyncio.Event().wait()

    task = asyncio.create_task(Periodic("cancelled", LONG, work).run(asyncio.Event()))
    await asyncio.wait_for(started.wait(), 5)
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert failures("cancelled") == 0


@pytest.mark.parametrize("replacement", [None, ValueError("instead of the cancellation"), unavailable("away")])
async def test_periodic_work_is_cancellable_when_the_work_suppresses_it(replacement: Exception | None) -> None:
    started = asyncio.Event()

    async def stubborn() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if replacement is not None:
                raise replacement from None

    task = asyncio.create_task(Periodic("stubborn", LONG, stubborn).run(asyncio.Event()))
    await asyncio.wait_for(started.wait(), 5)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=1)
    task.cancel()
    assert done, "the cancellation was lost, and the pause of the work has begun"
    assert task.cancelled()


async def test_failures_in_a_row_are_told_until_a_success_or_the_end() -> None:
    def failing() -> float | None:
        return REGISTRY.get_sample_value("rapport_periodic_failing_runs", {"work": "in a row"})

    fails = True

    async def work() -> None:
        if fails:
            raise unavailable("The database does not answer.")

    periodic = Periodic("in a row", 0.02, work)
    assert failing() == 0
    async with periodic:
        await eventually(lambda: failing() == 3, pause=0.001)
        fails = False
        await eventually(lambda: failing() == 0, pause=0.001)
        fails = True
        await eventually(lambda: failing() == 1, pause=0.001)
    assert failing() == 0
