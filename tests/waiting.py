"""Waiting for conditions instead of durations."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def eventually(
    condition: Callable[[], object | Awaitable[object]], timeout: float = 10, pause: float = 0.02
) -> None:
    """Poll until `condition` (plain or async) returns a true value.

    Raises:
        AssertionError: it did not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(pause)
