"""Bound how much of a service one person uses at the same time, so that a burst of theirs passes beside others."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from services.chassis.errors import unavailable

AT_ONCE = 2  # requests of one person under way at one service; an answer of 2 MiB takes some 20 ms of each process


@dataclass
class _Share:
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    users: int = 0


class Shares:
    """The requests of all people to one service that are under way or wait for their turn."""

    def __init__(self) -> None:
        self._shares: dict[UUID, _Share] = {}

    @asynccontextmanager
    async def turn(self, person_id: UUID | None, deadline: float) -> AsyncIterator[None]:
        """Wait until few enough requests of this person are under way; nobody in particular does not wait.

        Raises:
            Problem: `unavailable` when the deadline, a moment of `time.monotonic()`, comes first.
        """
        if person_id is None:
            yield
            return
        share = self._shares.setdefault(person_id, _Share())
        share.users += 1
        try:
            try:
                async with asyncio.timeout(deadline - time.monotonic() if share.slots.locked() else None):
                    await share.slots.acquire()
            except TimeoutError:
                raise unavailable("Too many requests of yours are under way.") from None
            try:
                yield
            finally:
                share.slots.release()
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[person_id]
