"""What anybody sees of somebody."""

import asyncio

from services.gateway.access.authentication import NOBODY
from services.gateway.composition import representations
from services.gateway.composition.compose import Composed, Look, Sources, optional


async def profile(sources: Sources, look: Look, person_id: str) -> Composed:
    """The person, and how many of their comments strangers can find."""
    counting = asyncio.ensure_future(optional(look, "comment_count", lambda: _count(sources, look, person_id)))
    try:
        raw = await sources.upstreams.people.get(f"/people/{person_id}", look.viewer.caller, look.deadline)
        look.about |= {f"profile:{raw['id']}", f"name:{raw['id']}"}
        return Composed(representations.profile(raw, await counting))
    finally:
        counting.cancel()


async def _count(sources: Sources, look: Look, person_id: str) -> int:
    answer = await sources.upstreams.comments.send(
        "POST", "/counts/people", NOBODY, look.deadline, body={"person_ids": [person_id]}
    )
    found: dict[str, int] = answer.json()["counts"]
    return found.get(person_id, 0)
