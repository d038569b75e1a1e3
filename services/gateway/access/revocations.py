"""Know which access tokens stop counting before they expire: sessions that ended, and roles that changed.

Fetched from people every 15 seconds. A token outlives its session by that much at most, and a gateway that has not
heard from people for a minute believes no token that is older than that.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.contracts.people import ACCESS_TOKEN_LIFE

TRUSTED_SECONDS = 60.0

Fetch = Callable[[], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class RecentChanges:
    """One answer of people: what changed within the life of a token, and a little longer."""

    ended: frozenset[UUID]
    roles: dict[UUID, frozenset[str]]
    as_of: float  # seconds since 1970, by the clock of people


class Revocations:
    """The latest that people said about sessions and roles.

    Args:
        fetch: `GET /changes` of people.
        clock: seconds since 1970.
        elapsed: seconds since any moment. The clock may be set back, and people would be believed for long.
    """

    def __init__(
        self, fetch: Fetch, *, clock: Callable[[], float] = time.time, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._elapsed = elapsed
        self._changes = RecentChanges(frozenset(), {}, 0.0)
        self._heard: float | None = None
        self._ended_here: dict[UUID, float] = {}

    async def refresh(self) -> None:
        """Ask people once.

        Raises:
            Problem: people could not be asked; what was known stays.
        """
        asked, begun = self._clock(), self._elapsed()
        raw = await self._fetch()
        self._changes = RecentChanges(
            ended=frozenset(UUID(session) for session in raw["sessions"]),
            roles={UUID(person["id"]): frozenset(person["roles"]) for person in raw["people"]},
            as_of=datetime.fromisoformat(raw["as_of"]).timestamp(),
        )
        self._heard = begun
        for ended, since in list(self._ended_here.items()):
            if since < asked - ACCESS_TOKEN_LIFE.total_seconds():
                del self._ended_here[ended]

    async def heard_once(self) -> bool:
        """Return whether people ever answered."""
        return self._heard is not None

    @property
    def current(self) -> bool:
        """Whether people answered within the last minute."""
        return self._heard is not None and self._elapsed() - self._heard <= TRUSTED_SECONDS

    def trusts(self, issued_at: float) -> bool:
        """Return whether a token made at that time may be believed now."""
        return self.current or self._clock() - issued_at <= TRUSTED_SECONDS

    def end(self, ended: UUID) -> None:
        """Note that a session ended, or a person was erased, through this gateway; people will say so too."""
        self._ended_here[ended] = self._clock()

    def has_ended(self, session_id: UUID | None, person_id: UUID | None = None) -> bool:
        """Return whether a session has ended, its own way or with its person."""
        return session_id in self._changes.ended or session_id in self._ended_here or person_id in self._ended_here

    def has_new_roles(self, person_id: UUID) -> bool:
        """Return whether the roles of a person changed lately."""
        return person_id in self._changes.roles

    def roles(self, person_id: UUID, roles: frozenset[str], issued_at: float) -> frozenset[str]:
        """Return the roles that count: those of the token if it is younger than what people said last, else theirs."""
        if issued_at >= self._changes.as_of - 1:
            return roles
        return self._changes.roles.get(person_id, roles)
