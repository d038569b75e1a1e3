"""Wait for events, back off after failures, and repeat work until it is stopped."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import structlog

from services.chassis.errors import Problem
from services.chassis.runtime.repetition import Repetition
from services.chassis.runtime.telemetry import PERIODIC_FAILING, PERIODIC_FAILURES

log = structlog.get_logger(__name__)


async def sleep_unless_set(event: asyncio.Event, seconds: float) -> bool:
    """Sleep for `seconds`, less if the event is set before; return whether it is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def first_set(*events: asyncio.Event, within: float | None = None) -> bool:
    """Wait until one of the events is set, at most `within` seconds; return whether one is set."""
    if not any(event.is_set() for event in events):
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
    return any(event.is_set() for event in events)


def cancelled() -> bool:
    """Return whether the running task was cancelled: false for a CancelledError that has escaped from a library."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def backoff_seconds(failures: int, first: float, longest: float) -> float:
    """Return the pause after consecutive failures: `first`, doubled with each failure, at most `longest`."""
    return float(min(longest, first * 2.0 ** min(failures - 1, 30)))


class Backoff:
    """The pause after a failure, doubled with each failure until a success.

    Args:
        first: seconds of the pause after the first failure.
        longest: seconds of the longest pause.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._failures = 0
        self._until = 0.0

    @property
    def failing(self) -> bool:
        """Return whether there was a failure and no success since."""
        return self._failures > 0

    @property
    def remaining(self) -> float:
        """Return the remaining seconds of the pause, 0 without one."""
        return max(0.0, self._until - time.monotonic())

    def fail(self) -> bool:
        """Begin a pause unless one is running; return whether it began."""
        if self.remaining > 0:
            return False
        self._failures += 1
        self._until = time.monotonic() + backoff_seconds(self._failures, self._first, self._longest)
        return True

    def succeed(self) -> None:
        """End the pause and reset its length."""
        self._failures, self._until = 0, 0.0


class Periodic:
    """Supervised periodic work: repeated until it is stopped, through failures.

        async with Periodic("renew leases", 10.0, renew): ...
        Role("retention", Periodic("retention", 600.0, prune).run)

    A failed run is counted, alone and in a row, and the work runs again after the pause; the same failure is logged
    every 30 s at most. A CancelledError that escapes from the work, without a cancellation of the task, counts as a
    failure too.

    Args:
        name: the name of the work in logs and metrics.
        seconds: the pause after each run.
        retry_seconds: the pause after a failed run, if shorter.
        jitter: the share by which a pause varies at random, so that processes do not run in step.
    """

    def __init__(
        self,
        name: str,
        seconds: float,
        work: Callable[[], Awaitable[object]],
        *,
        retry_seconds: float | None = None,
        jitter: float = 0.0,
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._retry_seconds = seconds if retry_seconds is None else min(seconds, retry_seconds)
        self._work = work
        self._jitter = jitter
        self._task: asyncio.Task[None] | None = None
        self._repetition = Repetition()
        PERIODIC_FAILURES.labels(name)
        self._failing = PERIODIC_FAILING.labels(name)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(asyncio.Event()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def run(self, stop: asyncio.Event) -> None:
        """Repeat the work until `stop` is set."""
        try:
            while not stop.is_set():
                pause = self._seconds if await self._succeeds() else self._retry_seconds
                if cancelled():
                    raise asyncio.CancelledError  # the work has suppressed it
                await sleep_unless_set(stop, pause * random.uniform(1 - self._jitter, 1 + self._jitter))  # noqa: S311  # no secret
        finally:
            self._failing.set(0)  # what has ended does not fail

    async def _succeeds(self) -> bool:
        try:
            await self._work()
            self._failing.set(0)
            return True
        except Problem as problem:
            if self._repetition.is_due(f"{problem.kind}: {problem.detail}"):
                log.warning("periodic work postponed", work=self._name, kind=problem.kind, reason=problem.detail)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and cancelled():
                raise
            if self._repetition.is_due(repr(error)):
                log.exception("periodic work failed", work=self._name)
        PERIODIC_FAILURES.labels(self._name).inc()
        self._failing.inc()
        return False
