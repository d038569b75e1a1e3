"""Remember the names of authors, asked of people, for half a minute or until they change."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from cachetools import TLRUCache

from services.chassis.errors import Problem
from services.chassis.runtime.batcher import Batcher

SECONDS = 30.0
REMEMBERED = 20_000
IDS_PER_LOOKUP = 200
AT_ONCE = 4  # look-ups; those who ask in the same moment, as after a batch of comments, share one

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
        self._asking: Batcher[tuple[str, float], Json | None] = Batcher(self._ask, IDS_PER_LOOKUP, AT_ONCE)

    async def of(self, ids: Iterable[str], deadline: float) -> tuple[dict[str, Json], bool, float]:
        """Return authors by id, whether people could be asked for the others, and how old the answer is.

        The third is when the oldest of it was asked for, by the clock.
        """
        since = self._clock()
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
        answers = [self._asking.begin((person_id, deadline)) for person_id in missing]
        try:
            await asyncio.wait(answers, timeout=max(0.0, deadline - time.monotonic()))
        finally:
            for answer in answers:
                answer.cancel()  # those that are late
        complete = True
        for person_id, answer in zip(missing, answers, strict=True):
            try:
                author = answer.result()
            except (Problem, asyncio.CancelledError):
                complete = False
                continue
            if author is not None:
                found[person_id] = author
        return found, complete, since

    async def _ask(self, asked: Sequence[tuple[str, float]]) -> list[Json | None]:
        """Ask people about these, each with a deadline; None for those whom people does not know."""
        now, changes = self._clock(), self._changes
        authors: dict[str, Json] = {}
        ids = list(dict.fromkeys(person_id for person_id, _ in asked))
        for item in await self._lookup(ids, max(deadline for _, deadline in asked)):
            author = authors[item["id"]] = {"id": item["id"], "name": item["name"], "avatar_url": item["avatar_url"]}
            if changes == self._changes:
                self._remembered[author["id"]] = now, author
        return [authors.get(person_id) for person_id, _ in asked]

    def forget(self, person_id: str) -> None:
        """Forget an author who changed; an answer that is on its way is not remembered either."""
        self._changes += 1
        self._remembered.pop(person_id, None)

    def forget_all(self) -> None:
        """Forget everybody, because it is not known who changed."""
        self._changes += 1
        self._remembered.clear()


def _expiry(_: str, remembered: tuple[float, Json], __: float) -> float:
    """Count from the question, not from the answer, so that no name is older than it may be."""
    return remembered[0] + SECONDS
