"""Group commit: while a batch is in progress, arriving items are collected for the next one.

An item that arrives when no batch is in progress is a batch of its own at once, unless others are announced. So the
size of batches follows the load, and no item waits for what nobody has announced.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

from services.chassis.runtime.context import of_service_alone

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Batcher(Generic[Item, Outcome]):
    """Run batches in the order of arrival.

    Args:
        work: processes a batch and returns an outcome for each item, in order. An exception of it goes to every item.
        most: the maximal size of a batch.
        at_once: how many batches may be in progress.
        patience: seconds for which a batch waits for items that are announced.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | Exception]]],
        most: int = 64,
        at_once: int = 1,
        patience: float = 0.0,
    ) -> None:
        self._work = work
        self._most = most
        self._at_once = at_once
        self._patience = patience
        self._announced = 0
        self._all_here = asyncio.Event()
        self._waiting: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()  # the loop alone would let go of them

    async def submit(self, item: Item) -> Outcome:
        """Process one item and return its outcome. The work continues even if the caller is cancelled."""
        return await self.begin(item)

    async def submit_all(self, items: Sequence[Item]) -> list[Outcome | Exception]:
        """Process items that came together and return the outcome of each, in order."""
        outcomes = [self.begin(item) for item in items]
        await asyncio.wait(outcomes)
        return [outcome.exception() or outcome.result() for outcome in outcomes]  # type: ignore[misc]  # no BaseException

    def begin(self, item: Item) -> asyncio.Future[Outcome]:
        """Have one item processed while the caller does something else; its outcome is awaited later."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, outcome))
        if len(self._waiting) >= self._most:
            self._all_here.set()
        if self._running < self._at_once:
            self._running += 1
            task = asyncio.create_task(self._run(), context=of_service_alone())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return outcome

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Announce an item that is submitted, if at all, right after the block: for what comes later no batch waits."""
        self._announced += 1
        try:
            yield
        finally:
            self._announced -= 1
            if not self._announced:
                self._all_here.set()

    async def drain(self) -> None:
        """Wait until nothing is in progress, before what the work needs is closed."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._await_more()
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                await self._finish(batch)
        except BaseException:  # this task is cancelled: nobody would finish what waits
            self._cancel(self._waiting)
            self._waiting.clear()
            raise
        finally:
            self._running -= 1

    async def _await_more(self) -> None:
        """Wait for those who are announced, if there is room for them."""
        if self._announced and self._patience and len(self._waiting) < self._most:
            self._all_here.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await self._all_here.wait()

    async def _finish(self, batch: Sequence[tuple[Item, asyncio.Future[Outcome]]]) -> None:
        results: Sequence[Outcome | Exception]
        try:
            results = await self._work([item for item, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} outcomes of {len(batch)} items")
        except Exception as error:
            results = [error] * len(batch)
        except BaseException:
            self._cancel(batch)
            raise
        for (_, outcome), result in zip(batch, results, strict=True):
            if outcome.done():
                continue
            if isinstance(result, Exception):
                outcome.set_exception(result)
            else:
                outcome.set_result(result)

    @staticmethod
    def _cancel(items: Iterable[tuple[Item, asyncio.Future[Outcome]]]) -> None:
        for _, outcome in items:
            outcome.cancel()
