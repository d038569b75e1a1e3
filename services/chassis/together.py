"""Work that is cheaper done together: while one batch is under way, what comes next gathers for the next one.

Nobody waits for others to come: whoever comes while nothing is under way goes at once, alone. So batches are as large
as the load makes them.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Together(Generic[Item, Outcome]):
    """One batch at a time, in the order of arrival.

    Args:
        work: does a batch; gives an outcome for each item, in order. An exception it raises goes to every item.
        most: items of one batch.
    """

    def __init__(
        self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | Exception]]], most: int = 64
    ) -> None:
        self._work = work
        self._most = most
        self._waiting: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def do(self, item: Item) -> Outcome:
        """The outcome of one item. The work goes on even if nobody waits for it any more."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, outcome))
        if self._running is None:
            self._running = asyncio.create_task(self._run(), context=contextvars.Context())
        return await outcome

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                await self._do(batch)
        finally:
            self._running = None

    async def _do(self, batch: Sequence[tuple[Item, asyncio.Future[Outcome]]]) -> None:
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
