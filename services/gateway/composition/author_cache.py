"""What people are called: asked of people, remembered for half a minute, forgotten at once when it changes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from services.chassis.errors import Problem

SECONDS = 30.0
REMEMBERED = 20_000
AT_ONCE = 200  # ids that one look-up takes

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
        self._known: dict[str, tuple[float, Json]] = {}
        self._changes = 0

    async def of(self, ids: Iterable[str], deadline: float) -> tuple[dict[str, Json], bool, float]:
        """Authors by id, whether people could be asked for all that were not remembered, and how old the answer is.

        The third is when the oldest of it was asked for, by the clock.
        """
        now = since = self._clock()
        found: dict[str, Json] = {}
        missing = []
        for person_id in ids:
            known = self._known.get(person_id)
            if known is not None and known[0] > now:
                found[person_id] = known[1]
                since = min(since, known[0] - SECONDS)
            else:
                missing.append(person_id)
        if not missing:
            return found, True, since
        changes = self._changes
        chunks = [missing[start : start + AT_ONCE] for start in range(0, len(missing), AT_ONCE)]
        try:
            answers = await asyncio.gather(*(self._lookup(chunk, deadline) for chunk in chunks))
        except Problem:
            return found, False, since
        for item in (item for answer in answers for item in answer):
            author = {"id": item["id"], "name": item["name"], "avatar_url": item["avatar_url"]}
            found[author["id"]] = author
            if changes == self._changes:
                self._remember(author, now + SECONDS)
        return found, True, since

    def _remember(self, author: Json, until: float) -> None:
        while len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known.pop(author["id"], None)
        self._known[author["id"]] = (until, author)

    def forget(self, person_id: str) -> None:
        """The person changed; what is being looked up at this moment is not remembered either."""
        self._changes += 1
        self._known.pop(person_id, None)
