"""Where texts wait to be rendered: each person's in a line of their own, of which one at a time is rendered.

So whatever one person sends, it holds up a text of somebody else by one text at most. A text leaves its line when
nobody waits for the answer any more.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from services.chassis.errors import unavailable
from services.chassis.runtime import context

T = TypeVar("T")

THREADS = 2
MOST_OF_ONE = 150  # more than anybody may send in a minute
MOST_WAITING = 500


@dataclass
class _Line:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class RenderQueue:
    """The texts of one process that are rendered or wait for it."""

    def __init__(self, threads: int = THREADS) -> None:
        # a thread starts when it is first needed
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="render")
        self._lines: dict[object, _Line] = {}
        self._length = 0

    def is_busy(self, owner: UUID) -> bool:
        """Return whether a text of this person is being rendered or waits, so that another one would wait for it."""
        return owner in self._lines

    async def run(self, work: Callable[[], T], owner: UUID | None, *, in_thread: bool) -> T:
        """Do the work when its owner's turn has come, in the loop or in a thread; without an owner at once.

        Raises:
            Problem: `unavailable` when too many wait, or nobody waits for the answer any more.
        """
        key: object = owner or object()
        line = self._lines.get(key) or _Line()
        if line.length >= MOST_OF_ONE or self._length >= MOST_WAITING:
            raise unavailable("Too many texts wait to be rendered.")
        self._lines[key] = line
        is_first = not line.length
        line.length += 1
        self._length += 1
        try:
            await (line.turn.acquire() if is_first else _while_wanted(line.turn.acquire()))
        except BaseException:
            self._leave(key, line)
            raise
        loop = asyncio.get_running_loop()
        if not in_thread:
            loop.call_soon(self._pass_on, key, line)  # after what others have to do by now
            return work()
        future = self._threads.submit(work)

        def pass_on(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(self._pass_on, key, line)

        future.add_done_callback(pass_on)  # also when it is not awaited any more, for it goes on
        return await _while_wanted(asyncio.wrap_future(future))

    def _pass_on(self, key: object, line: _Line) -> None:
        line.turn.release()
        self._leave(key, line)

    def _leave(self, key: object, line: _Line) -> None:
        line.length -= 1
        self._length -= 1
        if not line.length:
            del self._lines[key]


async def _while_wanted(work: Awaitable[T]) -> T:
    deadline = context.current().deadline
    try:
        async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
            return await work
    except TimeoutError:
        raise unavailable("The text could not be rendered in time.") from None
