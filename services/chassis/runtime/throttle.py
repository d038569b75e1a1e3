"""Limit how often a round of work begins, so that under load each round has a larger batch."""

import asyncio
import time

from services.chassis.runtime.waiting import sleep_unless_set


class Throttle:
    """Lets at most one round begin every `seconds`. After a longer pause the next one begins at once.

    For rounds that cost the same for one item as for twenty.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    async def wait(self, stop: asyncio.Event | None = None) -> None:
        """Wait until another round may begin, or until `stop` is set."""
        left = self._next - time.monotonic()
        if left > 0:
            await (asyncio.sleep(left) if stop is None else sleep_unless_set(stop, left))
        self._next = time.monotonic() + self._seconds
