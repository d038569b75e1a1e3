"""The loop of the mailers: it claims, works, renews leases, wakes, polls and drains."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from services.chassis.database.work_queue import WorkQueue
from services.chassis.errors import unavailable
from tests.waiting import eventually


class FakeTable:
    """Rows that are due, and what was done with them. Work on a row lasts until `go_on` is set."""

    def __init__(self, due: int = 0) -> None:
        self.due = list(range(due))
        self.claims: list[int] = []
        self.begun: list[int] = []
        self.done: list[int] = []
        self.cancelled: list[int] = []
        self.renewed: list[list[int]] = []
        self.go_on = asyncio.Event()

    async def claim(self, room: int) -> list[int]:
        self.claims.append(room)
        rows, self.due = self.due[:room], self.due[room:]
        return rows

    async def work(self, row: int) -> None:
        self.begun.append(row)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.append(row)
            raise
        self.done.append(row)

    async def renew(self, rows: Sequence[int]) -> None:
        self.renewed.append(list(rows))


@asynccontextmanager
async def running(
    table: FakeTable,
    *,
    claim: Callable[[int], Awaitable[list[int]]] | None = None,
    work: Callable[[int], Awaitable[None]] | None = None,
    renew: Callable[[Sequence[int]], Awaitable[None]] | None = None,
    **options: Any,
) -> AsyncIterator[WorkQueue[int]]:
    settings = {"poll_seconds": 60, "pace_seconds": 0, "renew_seconds": 60} | options
    queue = WorkQueue[int](
        "rows", claim or table.claim, work or table.work, renew or table.renew, room=lambda busy: 4 - busy, **settings
    )
    stop = asyncio.Event()
    task = asyncio.create_task(queue.run(stop))
    try:
        yield queue
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


async def test_it_claims_as_many_as_there_is_room_for() -> None:
    table = FakeTable(6)
    async with running(table):
        await eventually(lambda: len(table.begun) == 4)
        assert table.claims == [4]
        table.go_on.set()
        await eventually(lambda: len(table.done) == 6)
    assert sorted(table.done) == list(range(6))


async def test_it_wakes_at_once() -> None:
    table = FakeTable()
    table.go_on.set()
    async with running(table) as queue:
        await eventually(lambda: table.claims)
        table.due = [1]
        queue.wake()
        await eventually(lambda: table.done == [1])


async def test_it_polls_when_nothing_wakes_it() -> None:
    table = FakeTable()
    table.go_on.set()
    async with running(table, poll_seconds=0.01):
        await eventually(lambda: table.claims)
        table.due = [1]
        await eventually(lambda: table.done == [1])


async def test_claims_keep_their_distance_and_a_stop_ends_the_wait() -> None:
    table = FakeTable(1)
    table.go_on.set()
    async with running(table, pace_seconds=60) as queue:
        await eventually(lambda: table.done == [0])
        queue.wake()
        await asyncio.sleep(0.05)  # in this time nothing must happen
        assert table.claims == [4]


@pytest.mark.parametrize("error", [unavailable("away"), KeyError("unexpected")])
async def test_renewal_goes_on_after_any_error(error: Exception) -> None:
    table, errors = FakeTable(2), [error]

    async def renew(rows: Sequence[int]) -> None:
        if errors:
            raise errors.pop()
        await table.renew(rows)

    async with running(table, renew=renew, renew_seconds=0.01):
        await eventually(lambda: table.renewed)
        assert sorted(table.renewed[0]) == [0, 1]
        table.go_on.set()


async def test_a_database_that_is_away_is_asked_again() -> None:
    table, errors = FakeTable(1), [unavailable("away")]
    table.go_on.set()

    async def claim(room: int) -> list[int]:
        if errors:
            raise errors.pop()
        return await table.claim(room)

    async with running(table, claim=claim, poll_seconds=0.01):
        await eventually(lambda: table.done == [0])


async def test_work_that_breaks_is_logged_and_frees_its_place() -> None:
    table = FakeTable(5)
    table.go_on.set()

    async def work(row: int) -> None:
        if row < 4:
            raise RuntimeError("unforeseen")
        await table.work(row)

    with structlog.testing.capture_logs() as logs:
        async with running(table, work=work):
            await eventually(lambda: table.done == [4])
    assert [entry["event"] for entry in logs].count("work on a row failed unexpectedly") == 4


async def test_a_stop_waits_for_the_rows_under_way_and_their_leases_are_renewed() -> None:
    table = FakeTable(3)
    async with running(table, renew_seconds=0.01):
        await eventually(lambda: len(table.begun) == 3)
        table.due = [7]
        before = len(table.renewed)

        async def let_go() -> None:
            await eventually(lambda: len(table.renewed) > before + 1)
            table.go_on.set()

        letting = asyncio.create_task(let_go())
    await letting
    assert (sorted(table.done), table.cancelled, table.due) == ([0, 1, 2], [], [7])


async def test_rows_that_outlast_the_drain_are_cancelled() -> None:
    table = FakeTable(2)
    async with running(table, drain_seconds=0.01):
        await eventually(lambda: len(table.begun) == 2)
    assert (sorted(table.cancelled), table.done) == ([0, 1], [])
