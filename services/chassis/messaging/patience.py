"""Patience: wait for an unavailable dependency, until it is back or the work is interrupted."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from services.chassis.errors import Problem
from services.chassis.runtime.telemetry import CONSUMER_RETRIES
from services.chassis.runtime.waiting import first_set

log = structlog.get_logger(__name__)
T = TypeVar("T")


def is_unavailable(error: Exception) -> bool:
    """Return whether a handler failed because a dependency is unavailable, so that a retry helps.

    The database and other services raise a 503 then. Any other exception is a failure of the handler.
    """
    return isinstance(error, Problem) and error.kind == "unavailable"


class Interrupted(Exception):
    """The process stops, or a rebalance revokes the partition, while a record waits for a retry."""


class Patience:
    """The waiting of one consumer.

    Attributes:
        rebalancing: set by a rebalance; records not yet begun are left to the next owner.
    """

    def __init__(self, group: str) -> None:
        self._group = group
        self._waiting = 0
        self.rebalancing = asyncio.Event()

    def is_waiting(self) -> bool:
        """Return whether a partition waits for an unavailable dependency."""
        return self._waiting > 0

    async def wait(self, error: Exception, stop: asyncio.Event) -> None:
        """Wait before the next attempt after a transient failure; such attempts are not counted.

        Raises:
            Interrupted: the process stops, or the partition is revoked.
        """
        log.warning("waiting for a dependency", group=self._group, error=repr(error))
        CONSUMER_RETRIES.labels(self._group, "transient").inc()
        self._waiting += 1
        try:
            await self.pause(1.0, stop)
        finally:
            self._waiting -= 1

    async def pause(self, seconds: float, stop: asyncio.Event) -> None:
        """Sleep.

        Raises:
            Interrupted: the process stops, or the partition is revoked.
        """
        if await first_set(stop, self.rebalancing, within=seconds):
            raise Interrupted

    async def until_done(self, work: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T:
        """Repeat work on the database until the database is available.

        Raises:
            Interrupted: the process stops, or the partition is revoked.
        """
        while True:
            try:
                return await work()
            except Exception as error:
                if not is_unavailable(error):
                    raise
                await self.wait(error, stop)
