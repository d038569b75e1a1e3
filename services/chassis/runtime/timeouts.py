"""Timeouts for calls of libraries, even of those that suppress their cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def wait_at_most(seconds: float, work: Coroutine[Any, Any, T], *, unless: asyncio.Event | None = None) -> T:
    """Return the result of `work`, or raise TimeoutError after `seconds`, or as soon as the event `unless` is set.

    `asyncio.timeout` cancels the work and waits for its end, for ever if a library suppresses the cancellation. Here
    the work is cancelled and abandoned. The object it belongs to must not be reused.

    A library that cancels its own tasks may also let a CancelledError escape (aiokafka's consumer does, when it is
    stopped while its broker is unreachable). It would end the caller silently, so it becomes an error here.

    Raises:
        TimeoutError: the work took longer, or the event was set before its end.
        ConnectionAbortedError: the work has cancelled itself.
    """
    task = asyncio.ensure_future(work)
    unless_set = () if unless is None else (asyncio.ensure_future(unless.wait()),)
    try:
        await asyncio.wait({task, *unless_set}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    finally:
        for wait in unless_set:
            wait.cancel()
    if not task.done():
        _abandon(task)
        raise TimeoutError("nobody waits any longer" if unless and unless.is_set() else f"no answer within {seconds} s")
    if task.cancelled():
        raise ConnectionAbortedError("a CancelledError escaped from the work")
    return task.result()


def _abandon(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # mark the exception as retrieved
