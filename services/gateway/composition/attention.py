"""Remember for two seconds what waits for people: their unread notifications, and comments for moderators; also
whether they follow the discussion that they read, which is asked for in the same call.

Every page that a person opens shows both, so they are asked for beside the page, and never waited for long.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from cachetools import TTLCache

from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.contracts.people import is_moderator
from services.gateway.access.authentication import NOBODY
from services.gateway.composition.upstreams import Upstreams

SECONDS = 2.0
REMEMBERED = 20_000
MOST_SECONDS = 0.5  # for which a page waits
MODERATORS = ""  # the key of the number that is the same for all of them


class AttentionCache:
    """Numbers by person; None where they could not be had, so that a service that is away is not asked each time.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._numbers: TTLCache[str, int | None] = TTLCache(REMEMBERED, SECONDS, timer=clock)
        self._changes = 0

    async def of(
        self, upstreams: Upstreams, caller: Caller, deadline: float, post_id: str | None = None
    ) -> dict[str, int | None]:
        """Return `unread` of a person and, for a moderator, `waiting`; None for what was not had in time.

        Args:
            post_id: a post of which also `follows` is returned, whether the person follows its discussion.
        """
        if post_id is not None:
            follows = await self._follows(upstreams, caller, deadline, post_id)
            return await self.of(upstreams, caller, deadline) | {"follows": follows}
        person_id, last_moment = str(caller.person_id), min(deadline, time.monotonic() + MOST_SECONDS)

        async def unread() -> Any:
            return (await upstreams.notify.get("/me/attention", caller, last_moment))["unread"]

        async def waiting() -> Any:
            return (await upstreams.comments.get("/comments/waiting", NOBODY, last_moment))["waiting"]

        if not is_moderator(caller.roles):
            return {"unread": await self._number(person_id, unread)}
        numbers = await asyncio.gather(self._number(person_id, unread), self._number(MODERATORS, waiting))
        return dict(zip(("unread", "waiting"), numbers, strict=True))

    async def _follows(self, upstreams: Upstreams, caller: Caller, deadline: float, post_id: str) -> int | None:
        """Return whether a person follows a discussion; what they have not read comes along, and is remembered."""
        person_id, last_moment = str(caller.person_id), min(deadline, time.monotonic() + MOST_SECONDS)

        async def ask() -> Any:
            changes = self._changes
            answer: Any = {"unread": None, "follows": None}
            with suppress(Problem):
                answer = await upstreams.notify.get("/me/attention", caller, last_moment, {"post": post_id})
            if changes == self._changes:
                self._numbers[person_id] = answer["unread"]
            return answer["follows"]

        return await self._number(f"{person_id} {post_id}", ask)

    async def _number(self, key: str, ask: Callable[[], Awaitable[Any]]) -> int | None:
        if key in self._numbers:
            return self._numbers[key]
        changes, number = self._changes, None
        with suppress(Problem):
            number = await ask()
        if changes == self._changes:
            self._numbers[key] = number
        return number

    def forget(self, person_id: str = MODERATORS, post_id: str | None = None) -> None:
        """Forget the number of a person, or of all moderators; one that is on its way is not remembered either.

        Args:
            post_id: forget instead whether the person follows the discussion of this post.
        """
        self._changes += 1
        self._numbers.pop(person_id if post_id is None else f"{person_id} {post_id}", None)
