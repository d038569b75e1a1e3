"""Limit how often a round of work begins, so that under load each round finds more to do at once."""

import asyncio
import time

from services.chassis.runtime.waiting import sleep_until


class Throttle:
    """Let at most one round begin every `seconds`. After a longer rest the next one begins at once.

    A round that costs the same for one piece of work as for twenty must not run for each of them.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    async def wait(self, stop: asyncio.Event | None = None) -> None:
        """Wait until another round may begin, or until `stop` is set."""
        left = self._next - time.monotonic()
        if left > 0:
            await (asyncio.sleep(left) if stop is None else sleep_until(stop, left))
        self._next = time.monotonic() + self._seconds
