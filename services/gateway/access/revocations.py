"""What makes an access token stop counting before it ends: sessions that ended, and roles that changed.

Fetched from people every 15 seconds. A token outlives its session by that much at most, and a gateway that has not
heard from people for a minute believes no token that is older than that.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from services.chassis.errors import Problem

log = structlog.get_logger(__name__)

TRUSTED_SECONDS = 60.0
LONGEST_TOKEN_SECONDS = 900.0

Fetch = Callable[[], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Known:
    """One answer of people: what changed in the last 20 minutes, which is longer than any token lives."""

    ended: frozenset[UUID]
    roles: dict[UUID, frozenset[str]]
    as_of: float  # seconds since 1970, by the clock of people


class Revocations:
    """The latest that is known about tokens.

    Args:
        fetch: `GET /changes` of people.
        clock: seconds since 1970.
    """

    def __init__(self, fetch: Fetch, *, poll_seconds: float = 15.0, clock: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._known = Known(frozenset(), {}, 0.0)
        self._heard = 0.0
        self._ended_here: dict[UUID, float] = {}

    async def refresh(self) -> None:
        """Ask people once.

        Raises:
            Problem: people could not be asked; what was known stays.
        """
        asked = self._clock()
        raw = await self._fetch()
        self._known = Known(
            ended=frozenset(UUID(session) for session in raw["sessions"]),
            roles={UUID(person["id"]): frozenset(person["roles"]) for person in raw["people"]},
            as_of=datetime.fromisoformat(raw["as_of"]).timestamp(),
        )
        self._heard = asked
        for session, since in list(self._ended_here.items()):
            if since < asked - LONGEST_TOKEN_SECONDS:
                del self._ended_here[session]

    async def run(self, stop: asyncio.Event) -> None:
        """Ask every `poll_seconds` until `stop`; every second while nothing was heard yet or people are away."""
        while not stop.is_set():
            pause = self._poll_seconds
            try:
                await self.refresh()
            except Problem as problem:
                pause = 1.0
                log.warning("ended sessions could not be fetched", reason=problem.kind)
            except Exception:
                pause = 1.0
                log.exception("ended sessions could not be fetched")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(pause, self._poll_seconds))

    async def heard_once(self) -> bool:
        """Whether people ever answered."""
        return self._heard > 0

    @property
    def current(self) -> bool:
        """Whether people answered within the last minute."""
        return self._clock() - self._heard <= TRUSTED_SECONDS

    def trusts(self, issued_at: float) -> bool:
        """Whether a token made at that time may be believed now."""
        return self.current or self._clock() - issued_at <= TRUSTED_SECONDS

    def end(self, session_id: UUID) -> None:
        """A session ended through this gateway; no need to wait until people say so."""
        self._ended_here[session_id] = self._clock()

    def has_ended(self, session_id: UUID | None) -> bool:
        return session_id in self._known.ended or session_id in self._ended_here

    def has_new_roles(self, person_id: UUID) -> bool:
        return person_id in self._known.roles

    def roles(self, person_id: UUID, roles: frozenset[str], issued_at: float) -> frozenset[str]:
        """The roles that count: the token's own if it is younger than what people said, else what people said."""
        if issued_at >= self._known.as_of - 1:
            return roles
        return self._known.roles.get(person_id, roles)
