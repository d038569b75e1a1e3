"""The time in which nobody can know whether a mail has arrived."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

PATIENCE_SECONDS = 0.25


class Window:
    """The time between a final dot and the commit of its answer: one mail at a time, where that costs little.

    Whatever is in it when the process dies is sent again. So one kill repeats one mail, unless the relay is so slow
    that waiting for each other would cost too much: nobody waits longer than `PATIENCE_SECONDS`.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Gives what takes the place; leaving the block frees it."""
        held = False

        async def take() -> None:
            nonlocal held
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    held = await self._lock.acquire()

        try:
            yield take
        finally:
            if held:
                self._lock.release()
