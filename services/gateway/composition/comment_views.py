"""Comments with their authors' names."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from uuid import UUID

from services.chassis.errors import Problem, not_found, unavailable
from services.gateway.composition import post_views, representations
from services.gateway.composition.compose import Composed, Json, Look, Sources, authors

T = TypeVar("T")

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.25
LEAST_LEFT = 0.1  # seconds without which asking again could only time out


def path_of(comment_id: str) -> str:
    """The path of a comment at its owner."""
    return "/comments/" + comment_id


def path_under(post_id: str) -> str:
    """The path of a post's comments at their owner."""
    return f"/posts/{post_id}/comments"


async def dressed(sources: Sources, look: Look, raw: Json) -> Composed:
    """One comment of the owner's, as the public reads it."""
    look.about.add(f"post:{raw['post_id']}")
    people = await authors(sources, look, representations.comment_authors([raw]))
    return Composed(representations.comment(raw, people), raw["version"])


async def dressed_list(sources: Sources, look: Look, raw: Json) -> Composed:
    """A list of the owner's, as the public reads it."""
    look.about.update(f"post:{item['post_id']}" for item in raw["items"])
    people = await authors(sources, look, representations.comment_authors(raw["items"]))
    return Composed(representations.comment_list(raw, people))


async def one(sources: Sources, look: Look, comment_id: str) -> Composed:
    """The comment with the beginning of its replies."""
    raw = await sources.upstreams.comments.get(path_of(comment_id), look.viewer.caller, look.deadline)
    return await dressed(sources, look, raw)


async def replies(sources: Sources, look: Look, comment_id: str, params: Mapping[str, str]) -> Composed:
    """Its direct replies, oldest first."""
    raw = await sources.upstreams.comments.get(
        path_of(comment_id) + "/replies", look.viewer.caller, look.deadline, params
    )
    return await dressed_list(sources, look, raw)


async def queue(sources: Sources, look: Look, params: Mapping[str, str]) -> Composed:
    """What waits for a moderator, oldest first."""
    raw = await sources.upstreams.comments.get("/comments", look.viewer.caller, look.deadline, params)
    return await dressed_list(sources, look, raw)


async def under(sources: Sources, look: Look, post_id: str, params: Mapping[str, str]) -> Composed:
    """The discussion of a post."""
    raw = await once_arrived(sources, look, post_id, lambda: fetch(sources, look, post_id, params))
    look.about.add(f"post:{UUID(post_id)}")
    return await dressed_list(sources, look, raw)


async def fetch(sources: Sources, look: Look, post_id: str, params: Mapping[str, str]) -> Json:
    """The owner's list."""
    raw: Json = await sources.upstreams.comments.get(path_under(post_id), look.viewer.caller, look.deadline, params)
    return raw


async def once_arrived(sources: Sources, look: Look, post_id: str, ask: Callable[[], Awaitable[T]]) -> T:
    """What comments answers, once it has heard of the post.

    Raises:
        Problem: `not-found` when posts shows the viewer no such published post; `unavailable` when the news of it did
            not arrive before the deadline.
    """
    try:
        return await ask()
    except Problem as problem:
        if problem.kind != "post-unknown":
            raise
    post = await post_views.fetch(sources, look, post_id)
    if post["status"] != "published":
        raise not_found()
    return await until_known(ask, look.deadline)


async def until_known(ask: Callable[[], Awaitable[T]], deadline: float) -> T:
    """Ask again and again while the post is unknown.

    Raises:
        Problem: `unavailable` when the deadline comes first.
    """
    pause = FIRST_PAUSE
    while time.monotonic() + pause + LEAST_LEFT < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
        try:
            return await ask()
        except Problem as problem:
            if problem.kind != "post-unknown":
                raise
    raise unavailable("The post was just published; its discussion opens in a moment.")
