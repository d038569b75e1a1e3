"""Group work into batches: while one batch is under way, the items that come meanwhile gather for the next one.

An item that comes while nothing is under way is a batch of its own at once. So batches are as large as the load makes
them, and no item waits for others to come.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Batcher(Generic[Item, Outcome]):
    """Run one batch at a time, in the order of arrival.

    Args:
        work: does a batch; returns an outcome for each item, in order. An exception it raises goes to every item.
        most: items of one batch.
    """

    def __init__(
        self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | Exception]]], most: int = 64
    ) -> None:
        self._work = work
        self._most = most
        self._waiting: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Outcome:
        """Return the outcome of one item. The work goes on even if its caller is cancelled."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, outcome))
        if self._running is None:
            self._running = asyncio.create_task(self._run(), context=contextvars.Context())
        return await outcome

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                await self._finish(batch)
        finally:
            self._running = None

    async def _finish(self, batch: Sequence[tuple[Item, asyncio.Future[Outcome]]]) -> None:
        results: Sequence[Outcome | Exception]
        try:
            results = await self._work([item for item, _ in batch])
        except Exception as error:
            results = [error] * len(batch)
        for (_, outcome), result in zip(batch, results, strict=True):
            if outcome.done():
                continue
            if isinstance(result, Exception):
                outcome.set_exception(result)
            else:
                outcome.set_result(result)
