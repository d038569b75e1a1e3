"""Group commit: while one batch is in progress, arriving items are collected for the next one.

An item that arrives when no batch is in progress is a batch of its own at once. So the size of batches follows the
load, and no item waits for others to arrive.
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
        work: processes a batch and returns an outcome for each item, in order. An exception of it goes to every item.
        most: the maximal size of a batch.
    """

    def __init__(
        self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | Exception]]], most: int = 64
    ) -> None:
        self._work = work
        self._most = most
        self._waiting: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Outcome:
        """Process one item and return its outcome. The work continues even if the caller is cancelled."""
        return await self.begin(item)

    def begin(self, item: Item) -> asyncio.Future[Outcome]:
        """Have one item processed while the caller does something else; its outcome is awaited later."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, outcome))
        if self._running is None:
            self._running = asyncio.create_task(self._run(), context=contextvars.Context())
        return outcome

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
