"""Post comments: short ones that come at the same time in one request to comments, each other one in its own.

A hop costs more than the storing of one comment, and comments stores what comes together in one transaction.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import orjson

from services.chassis.client.client import SERVICE_DEADLINE_SHARE
from services.chassis.errors import Problem, unavailable
from services.chassis.identity import Caller
from services.chassis.runtime.batcher import Batcher
from services.chassis.runtime.context import current, next_hop
from services.contracts.comments import MOST_IN_BATCH, SHORT_COMMENT_BYTES
from services.contracts.services import ON_BEHALF
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.composition.upstreams import Upstream

PATIENCE_SECONDS = 0.01  # for comments whose authors are being checked: most of a batch's price is paid once
FOR_OTHERS = Caller("gateway", roles=frozenset({ON_BEHALF}))


@dataclass(frozen=True)
class _Item:
    """A comment of a batch: the JSON object of its item without its time."""

    encoded: bytes
    deadline: float

    def sent(self, now: float) -> orjson.Fragment:
        """Return the item with the seconds that comments has for it."""
        seconds = max(0.0, (self.deadline - now) * SERVICE_DEADLINE_SHARE)
        return orjson.Fragment(b'%b,"seconds":%.3f}' % (self.encoded[:-1], seconds))


class CommentPosting:
    """The comments that are on their way to the comments service."""

    def __init__(self, comments: Upstream) -> None:
        self._comments = comments
        self._batcher: Batcher[_Item, Json | None] = Batcher(self._send, MOST_IN_BATCH, patience=PATIENCE_SECONDS)

    def announced(self) -> AbstractContextManager[None]:
        """Let the next batch wait for a comment whose author is being checked."""
        return self._batcher.announced()

    async def post_short(self, context: RequestContext, post_id: str, comment: Any, key: str | None) -> Json | None:
        """Post a comment together with others, and return it as comments shows it; None if it must be sent alone.

        Args:
            comment: the JSON value of the request's body, which only comments checks.
            key: the idempotency key, of a valid form.

        Raises:
            Problem: `unavailable`: it is not known whether it was stored.
        """
        item = _encoded(context, post_id, comment, key)
        person_id = context.viewer.person_id
        if item is None or person_id is None:
            return None
        await self._comments.writes.enter(person_id, context.deadline)
        outcome = self._batcher.begin(item)
        too_late = asyncio.get_running_loop().call_later(context.deadline - time.monotonic(), _give_up, outcome)
        try:
            return await outcome
        finally:
            too_late.cancel()
            self._comments.writes.leave(person_id)

    async def _send(self, items: Sequence[_Item]) -> list[Json | None]:
        """Send the comments for which somebody still waits."""
        now = time.monotonic()
        wanted = [item for item in items if item.deadline > now]
        found = iter(await self._send_wanted(wanted, now) if wanted else ())
        return [next(found) if item.deadline > now else None for item in items]

    async def _send_wanted(self, items: Sequence[_Item], now: float) -> list[Json | None]:
        body = orjson.dumps({"items": [item.sent(now) for item in items]})
        deadline = max(item.deadline for item in items)
        try:
            answer = await self._comments.send("POST", "/comments/batch", FOR_OTHERS, deadline, body=body)
        except Problem as problem:
            if problem.kind != "not-found":
                raise
            return [None] * len(items)  # an older version of comments, which takes no batches
        found: list[Json | None] = answer.json()["items"]
        return found


def _give_up(outcome: asyncio.Future[Json | None]) -> None:
    if not outcome.done():
        outcome.set_exception(unavailable("comments did not answer in time."))


def _encoded(context: RequestContext, post_id: str, comment: Any, key: str | None) -> _Item | None:
    """Return the comment as an item of a batch; None if it is long, or no JSON that every parser reads."""
    caller, request = context.viewer.caller, current()
    try:
        encoded = orjson.dumps(
            {
                "post_id": post_id,
                "author_id": caller.person_id,
                "roles": sorted(caller.roles),
                "key": key,
                "request_id": request.correlation_id,
                "traceparent": next_hop(request.traceparent),
                "comment": comment,
            }
        )
    except TypeError:  # lone surrogates, and integers beyond 64 bits
        return None
    is_plain = b"\\u0000" not in encoded and isinstance(comment, dict)
    if not is_plain or len(encoded) > SHORT_COMMENT_BYTES or _is_nested(comment):
        return None
    return _Item(encoded, context.deadline)


def _is_nested(comment: Json) -> bool:
    return any(isinstance(value, (dict, list)) for value in comment.values())
