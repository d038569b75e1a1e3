"""Work on due rows of a table: claim some under a lease, work on them concurrently, and renew their leases."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import asyncpg
import structlog

from services.chassis.errors import Problem
from services.chassis.runtime.throttle import Throttle
from services.chassis.runtime.waiting import Periodic, first_set

log = structlog.get_logger(__name__)

Row = TypeVar("Row")


class WorkQueue(Generic[Row]):
    """Claims due rows under a lease and works on each in a task of its own.

    Args:
        name: what the rows are called in logs and metrics.
        claim: leases and returns up to that many due rows.
        work: does the work of one row and records its result.
        renew: prolongs the leases of the rows under way.
        room: returns how many rows may be claimed while that many are under way.
        poll_seconds: how often to look for due rows when nothing wakes the queue.
        pace_seconds: the least time between two claims.
        renew_seconds: how often leases are renewed.
        drain_seconds: how long rows under way may take after the stop before they are cancelled; None: without limit.
    """

    def __init__(
        self,
        name: str,
        claim: Callable[[int], Awaitable[Sequence[Row]]],
        work: Callable[[Row], Awaitable[None]],
        renew: Callable[[Sequence[Row]], Awaitable[None]],
        *,
        room: Callable[[int], int],
        poll_seconds: float,
        pace_seconds: float,
        renew_seconds: float,
        drain_seconds: float | None = None,
    ) -> None:
        self._name = name
        self._claim = claim
        self._work = work
        self._renew = renew
        self._room = room
        self._poll_seconds = poll_seconds
        self._throttle = Throttle(pace_seconds)
        self._renew_seconds = renew_seconds
        self._drain_seconds = drain_seconds
        self._woken = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], Row] = {}

    def wake(self) -> None:
        """Look for due rows now instead of at the next poll; harmless when there are none."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, through every outage of the database; then finish the rows under way."""
        async with Periodic(f"renew leases of {self._name}", self._renew_seconds, self._renew_leases):
            try:
                await self._throttle.wait(stop)
                while not stop.is_set():
                    self._woken.clear()
                    if not await self._begin_rows():
                        await first_set(self._woken, stop, within=self._poll_seconds)
                    await self._throttle.wait(stop)
                if self._under_way:
                    await asyncio.wait(self._under_way, timeout=self._drain_seconds)
            finally:
                left = list(self._under_way)
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)

    async def _begin_rows(self) -> bool:
        """Claim rows and begin the work on them; return False when there is nothing to do now."""
        room = self._room(len(self._under_way))
        if room <= 0:
            return False
        try:
            rows = await self._claim(room)
        except (Problem, asyncpg.PostgresError) as error:
            log.warning("due rows cannot be claimed", rows=self._name, error=repr(error))
            return False
        for row in rows:
            task = asyncio.create_task(self._attend(row))
            self._under_way[task] = row
            task.add_done_callback(self._ended)
        return bool(rows)

    async def _attend(self, row: Row) -> None:
        try:
            await self._work(row)
        except Exception:  # the lease expires, and the row is claimed again
            log.exception("work on a row failed unexpectedly", rows=self._name)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._woken.set()

    async def _renew_leases(self) -> None:
        if self._under_way:
            await self._renew(list(self._under_way.values()))
