"""Compose the public profile of a person."""

import asyncio

from services.gateway.access.authentication import NOBODY
from services.gateway.composition import representations
from services.gateway.composition.request_context import Composed, RequestContext


async def profile(context: RequestContext, person_id: str) -> Composed:
    """Return a person, and how many of their comments anonymous readers can find."""
    counting = asyncio.ensure_future(context.optional("comment_count", lambda: _count(context, person_id)))
    try:
        raw = await context.upstreams.people.get(f"/people/{person_id}", context.viewer.caller, context.deadline)
        context.tags |= {f"profile:{raw['id']}", f"name:{raw['id']}"}
        return Composed(representations.profile(raw, await counting, context.public_url))
    finally:
        counting.cancel()


async def _count(context: RequestContext, person_id: str) -> int:
    body = {"person_ids": [person_id]}
    answer = await context.upstreams.comments.look_up("/counts/people", NOBODY, context.deadline, body)
    found: dict[str, int] = answer["counts"]
    return next(iter(found.values()), 0)
