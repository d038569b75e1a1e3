"""Remember the names of authors, asked of people, for half a minute or until they change."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from cachetools import TLRUCache

from services.chassis.errors import Problem

SECONDS = 30.0
REMEMBERED = 20_000
IDS_PER_LOOKUP = 200

Json = dict[str, Any]
Lookup = Callable[[list[str], float], Awaitable[list[Json]]]


class AuthorCache:
    """Authors by id.

    Args:
        lookup: asks people for authors `{id, name, avatar_url}`; takes ids and the deadline.
        clock: seconds, monotonic.
    """

    def __init__(self, lookup: Lookup, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lookup = lookup
        self._clock = clock
        self._remembered: TLRUCache[str, tuple[float, Json]] = TLRUCache(REMEMBERED, _expiry, timer=clock)
        self._changes = 0

    async def of(self, ids: Iterable[str], deadline: float) -> tuple[dict[str, Json], bool, float]:
        """Return authors by id, whether people could be asked for the others, and how old the answer is.

        The third is when the oldest of it was asked for, by the clock.
        """
        now = since = self._clock()
        found: dict[str, Json] = {}
        missing = []
        for person_id in ids:
            try:
                asked, found[person_id] = self._remembered[person_id]
                since = min(since, asked)
            except KeyError:
                missing.append(person_id)
        if not missing:
            return found, True, since
        changes = self._changes
        chunks = [missing[start : start + IDS_PER_LOOKUP] for start in range(0, len(missing), IDS_PER_LOOKUP)]
        try:
            answers = await asyncio.gather(*(self._lookup(chunk, deadline) for chunk in chunks))
        except Problem:
            return found, False, since
        for item in (item for answer in answers for item in answer):
            author = {"id": item["id"], "name": item["name"], "avatar_url": item["avatar_url"]}
            found[author["id"]] = author
            if changes == self._changes:
                self._remembered[author["id"]] = now, author
        return found, True, since

    def forget(self, person_id: str) -> None:
        """Forget an author who changed; an answer that is on its way is not remembered either."""
        self._changes += 1
        self._remembered.pop(person_id, None)


def _expiry(_: str, remembered: tuple[float, Json], __: float) -> float:
    """Count from the question, not from the answer, so that no name is older than it may be."""
    return remembered[0] + SECONDS
