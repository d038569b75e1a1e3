"""Remember what people have of their own below posts, for half a minute or until it changes.

It is all in which a discussion differs from what everybody sees, for people who moderate nothing: the texts of their
visible comments come as they were typed, and what is held is shown to nobody else.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from services.chassis.identity import Caller
from services.gateway.composition.upstreams import Upstreams

SECONDS = 30.0
MOST_BYTES = 8 * 1024 * 1024
ENTRY_BYTES = 500  # what is remembered costs beside the texts


@dataclass(frozen=True, slots=True)
class OwnText:
    """The text of a visible comment as its author typed it."""

    comment_id: str
    body: str
    format: str


OwnTexts = tuple[OwnText, ...]


class OwnComments:
    """What people have of their own, by person and post.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._remembered: LRUCache[tuple[str, str], tuple[float, OwnTexts | None]] = LRUCache(
            MOST_BYTES, getsizeof=_size
        )
        self._asking: dict[tuple[str, str], object] = {}  # the last question about each, until something changes there

    async def below(self, upstreams: Upstreams, caller: Caller, post_id: str, deadline: float) -> OwnTexts | None:
        """Return the texts of a person's visible comments below a post; None if they have more there than these.

        Raises:
            Problem: comments could not be asked.
        """
        key = str(caller.person_id), post_id
        remembered = self._remembered.get(key)
        if remembered is not None and self._clock() < remembered[0] + SECONDS:
            return remembered[1]
        asked, question = self._clock(), object()
        self._asking[key] = question
        try:
            texts = (await upstreams.comments.get(f"/posts/{post_id}/own", caller, deadline))["texts"]
            own = None
            if texts is not None:
                own = tuple(OwnText(one["id"], one["body"], one["format"]) for one in texts)
            if self._asking.get(key) is question:
                self._remembered[key] = asked, own
            return own
        finally:
            if self._asking.get(key) is question:
                del self._asking[key]

    def forget(self, person_id: str, post_id: str) -> None:
        """Forget what a person has below a post; an answer that is on its way is not remembered either."""
        self._asking.pop((person_id, post_id), None)
        self._remembered.pop((person_id, post_id), None)

    def forget_all(self) -> None:
        """Forget everything, because it is not known what changed."""
        self._asking.clear()
        self._remembered.clear()


def _size(remembered: tuple[float, OwnTexts | None]) -> int:
    return ENTRY_BYTES + sum(2 * len(one.body) + ENTRY_BYTES for one in remembered[1] or ())
