"""Compose the queue of comments that wait for a moderator, each with its post and what it answers, and decide them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.chassis.errors import Problem
from services.gateway.composition import comment_views, representations
from services.gateway.composition.request_context import Json, RequestContext

AT_ONCE = 15  # comments of a page: a form may have 20 fields


@dataclass(frozen=True)
class Decided:
    """What became of comments that were decided together.

    Attributes:
        done: those that are in the wanted state now, as comments answers.
        problem: why the rest is not; None if there is none.
    """

    done: list[Json]
    problem: Problem | None


async def waiting(context: RequestContext, cursor: str | None) -> Json:
    """Return a page of what waits, oldest first; each has `post`, and `above`, the comment that it answers, or None."""
    params = {"state": "held", "limit": str(AT_ONCE)} | ({"cursor": cursor} if cursor else {})
    listed = (await comment_views.by_state(context, params)).data
    caller, deadline = context.viewer.caller, context.deadline
    answered = {item["parent_id"] for item in listed["items"] if item["parent_id"]}
    posts, above = await asyncio.gather(
        context.upstreams.posts.look_up(
            "/posts/lookup", caller, deadline, {"ids": sorted({item["post_id"] for item in listed["items"]})}
        ),
        context.upstreams.comments.look_up("/comments/lookup", caller, deadline, {"ids": sorted(answered)}),
    )
    people = await context.authors_of({item["author_id"] for item in above["items"]})
    by_post = {item["id"]: item for item in posts["items"]}
    by_id = {
        item["id"]: item | {"author": representations.author(item["author_id"], people)} for item in above["items"]
    }
    items = [item | {"post": by_post.get(item["post_id"]), "above": by_id.get(item["parent_id"])}
             for item in listed["items"]]  # fmt: skip
    return {"items": items, "next": listed["next"]}


async def decide(context: RequestContext, step: str, ids: Sequence[UUID]) -> Decided:
    """Take a step with each comment, one after the other: those after a refused one are decided too."""
    done: list[Json] = []
    problem: Problem | None = None
    for comment_id in ids:
        path = f"{comment_views.path_of(str(comment_id))}/{step}"
        try:
            answer = await context.upstreams.comments.send("POST", path, context.viewer.caller, context.deadline)
            done.append(answer.json())
        except Problem as refused:
            problem = problem or refused
    return Decided(done, problem)
