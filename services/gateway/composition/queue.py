"""Compose the lists of moderators, each comment with its post and what it answers, and decide about comments."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args
from uuid import UUID

from services.chassis.errors import Problem
from services.gateway.composition import comment_views, representations
from services.gateway.composition.request_context import Json, RequestContext

AT_ONCE = 15  # comments of a page: a form may have 20 fields

List = Literal["waiting", "rejected", "removed"]
LISTS: tuple[List, ...] = get_args(List)
STATES: Mapping[List, str] = {"waiting": "held", "rejected": "rejected", "removed": "removed"}

Step = Literal["approve", "hold", "reject", "restore"]
STEPS: tuple[Step, ...] = get_args(Step)
# What takes a step back; a rejection, by the state before it: what nobody has seen waits again, without being seen.
BACK: Mapping[str, str] = {"approve": "hold", "hold": "approve", "restore": "reject"}
BACK_FROM_REJECTED: Mapping[str, str] = {"held": "put-back", "visible": "restore"}


@dataclass(frozen=True)
class Decided:
    """What became of comments that were decided together.

    Attributes:
        done: those that are in the wanted state now, as comments answers.
        problem: why the rest is not; None if there is none.
    """

    done: list[Json]
    problem: Problem | None


async def listed(context: RequestContext, name: List, cursor: str | None) -> Json:
    """Return a page of what waits, oldest first, or of what was rejected or removed, newest first.

    Each has `post`, and `above`, the comment that it answers, or None.
    """
    params = {"state": STATES[name], "limit": str(AT_ONCE)} | ({"cursor": cursor} if cursor else {})
    page = (await comment_views.by_state(context, params)).data
    caller, deadline = context.viewer.caller, context.deadline
    answered = {item["parent_id"] for item in page["items"] if item["parent_id"]}
    posts, above = await asyncio.gather(
        context.upstreams.posts.look_up(
            "/posts/lookup", caller, deadline, {"ids": sorted({item["post_id"] for item in page["items"]})}
        ),
        context.upstreams.comments.look_up("/comments/lookup", caller, deadline, {"ids": sorted(answered)}),
    )
    people = await context.authors_of({item["author_id"] for item in above["items"]})
    by_post = {item["id"]: item for item in posts["items"]}
    by_id = {
        item["id"]: item | {"author": representations.author(item["author_id"], people)} for item in above["items"]
    }
    items = [item | {"post": by_post.get(item["post_id"]), "above": by_id.get(item["parent_id"])}
             for item in page["items"]]  # fmt: skip
    return {"items": items, "next": page["next"]}


async def surroundings(context: RequestContext, comment_id: str) -> Json | None:
    """Return a comment with its post and all that it answers, from the top down; None if they cannot be had."""
    try:
        return (await comment_views.with_context(context, comment_id)).data
    except Problem:
        return None


async def decide(context: RequestContext, step: Step, ids: Sequence[UUID]) -> Decided:
    """Take a step with each comment, one after the other: those after a refused one are decided too."""
    return await _take(context, step, ids)


async def take_back(context: RequestContext, step: Step, before: str, ids: Sequence[UUID]) -> Decided:
    """Take back a step that was taken with comments; `before` is the state in which a rejected one was."""
    back = BACK_FROM_REJECTED.get(before, "put-back") if step == "reject" else BACK[step]
    return await _take(context, back, ids)


async def _take(context: RequestContext, step: str, ids: Sequence[UUID]) -> Decided:
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
