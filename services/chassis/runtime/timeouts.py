"""Bound how long a library may take, even one that swallows its cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def wait_at_most(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, or raise TimeoutError after `seconds`.

    `asyncio.timeout` cancels and then waits for the end of what it has cancelled; a library that swallows the
    cancellation keeps it waiting for ever. Here the work is cancelled and left behind. Whatever object it belonged to
    must not be used again.

    The other way round, a library that cancels its own tasks may let a CancelledError escape (aiokafka's consumer does,
    when it is stopped while its broker is away). It would end the caller without a word, so it becomes an error here.

    Raises:
        TimeoutError: it took longer.
        ConnectionAbortedError: it was cancelled by itself.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _leave(task)
        raise
    if not done:
        _leave(task)
        raise TimeoutError(f"no answer within {seconds} s")
    if task.cancelled():
        raise ConnectionAbortedError("it was cancelled from within")
    return task.result()


def _leave(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody else will look at it
