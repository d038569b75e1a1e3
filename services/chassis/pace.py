"""Rounds of work at a bounded rate, so that under load each finds more to do at once."""

import asyncio
import time


class Pace:
    """At most one round every `seconds`. Whoever comes after a longer rest begins at once.

    A round that costs the same for one piece of work as for twenty must not run for each of them.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until another round may begin."""
        left = self._next - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)
        self._next = time.monotonic() + self._seconds
