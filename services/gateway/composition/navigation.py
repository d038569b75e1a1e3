"""Know the pages of the site, such as "About", which the head of every page leads to."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from services.chassis.errors import Problem
from services.gateway.access.authentication import NOBODY
from services.gateway.composition.request_context import Json
from services.gateway.composition.upstreams import Upstreams

SECONDS = 30.0  # for which they are remembered; what publishes or withdraws one is heard of before
PAUSE_SECONDS = 2.0  # after they could not be had
MOST_SECONDS = 0.5  # for which a page waits
MOST_PAGES = 8


class Navigation:
    """The pages of the site, the oldest first, as far as they were heard of.

    Args:
        clock: seconds, monotonic.

    Attributes:
        pages: `title` and `slug` of each.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.pages: Sequence[Json] = ()
        self._clock = clock
        self._known_until = -1.0
        self._asking = asyncio.Lock()

    async def refresh(self, upstreams: Upstreams) -> None:
        """Ask for the pages, once for all who wait, if they are not known; without an answer the old ones stay."""
        if self._clock() < self._known_until:
            return
        async with self._asking:
            if self._clock() < self._known_until:
                return
            self._known_until = self._clock() + SECONDS  # `forget` while they are asked for is not overwritten
            params = {"kind": "page", "limit": str(MOST_PAGES)}
            known_until = self._clock() + PAUSE_SECONDS
            with suppress(Problem):
                raw = await upstreams.posts.get("/posts", NOBODY, time.monotonic() + MOST_SECONDS, params)
                pages = [{"title": item["title"], "slug": item["slug"]} for item in raw["items"]
                         if item["kind"] == "page"]  # fmt: skip
                self.pages, known_until = tuple(reversed(pages)), self._known_until
            self._known_until = min(self._known_until, known_until)

    def forget(self) -> None:
        """Have them asked for when the next page is shown."""
        self._known_until = -1.0
