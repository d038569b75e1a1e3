"""Compose comments and lists of comments with their authors' names."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import orjson

from services.chassis.errors import Problem, not_found, unavailable
from services.chassis.runtime.waiting import backoff_seconds
from services.contracts.ids import id_or_none
from services.gateway.access.authentication import NOBODY
from services.gateway.composition import post_views, representations, splicing
from services.gateway.composition.request_context import LEAST_SECONDS, Composed, Json, RequestContext

T = TypeVar("T")

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.25
DISCUSSION_SECONDS = 2.0
LEAST_LEFT = 0.1  # seconds without which asking again could only time out


def path_of(comment_id: str) -> str:
    """Return the path of a comment at the comments service."""
    return "/comments/" + comment_id


def path_under(post_id: str) -> str:
    """Return the path of a post's comments at the comments service."""
    return f"/posts/{post_id}/comments"


async def with_authors(context: RequestContext, raw: Json) -> Composed:
    """Return a comment of the comments service as the public reads it."""
    context.tags.add(f"post:{raw['post_id']}")
    people = await context.authors_of(representations.comment_authors([raw]))
    return Composed(representations.comment(raw, people), raw["version"], raw.get("epoch", 0))


async def list_with_authors(context: RequestContext, raw: Json) -> Composed:
    """Return a list of the comments service as the public reads it."""
    context.tags.update(f"post:{item['post_id']}" for item in raw["items"])
    people = await context.authors_of(representations.comment_authors(raw["items"]))
    return Composed(representations.comment_list(raw, people))


async def one(context: RequestContext, comment_id: str) -> Composed:
    """Return a comment with the beginning of its replies."""
    raw = await context.upstreams.comments.get(path_of(comment_id), context.viewer.caller, context.deadline)
    context.own_below = {raw["post_id"]}
    return await with_authors(context, raw)


async def replies(context: RequestContext, comment_id: str, params: Mapping[str, str]) -> Composed:
    """Return the direct replies to a comment, oldest first."""
    path = path_of(comment_id) + "/replies"
    raw = await context.upstreams.comments.get(path, context.viewer.caller, context.deadline, params)
    if raw["items"]:  # else it is not said below which post they would stand
        context.own_below = {item["post_id"] for item in raw["items"]}
    return await list_with_authors(context, raw)


async def by_state(context: RequestContext, params: Mapping[str, str]) -> Composed:
    """Return the comments that wait for a moderator, oldest first, or that were removed, newest first."""
    raw = await context.upstreams.comments.get("/comments", context.viewer.caller, context.deadline, params)
    return await list_with_authors(context, raw)


async def own(context: RequestContext, params: Mapping[str, str]) -> Composed:
    """Return what the viewer wrote and still sees whole, newest first."""
    raw = await context.upstreams.comments.get("/me/comments", context.viewer.caller, context.deadline, params)
    return await list_with_authors(context, raw)


async def under(context: RequestContext, post_id: str, params: Mapping[str, str]) -> Composed:
    """Return the comments of a post."""
    path, upstream = path_under(post_id), context.upstreams.comments

    async def ask() -> bytes:
        return await upstream.get_bytes(path, context.viewer.caller, context.deadline, params)

    body = await retry_while_post_unknown(context, post_id, ask)
    context.tags.add(f"post:{post_id}")
    context.own_below = {post_id}
    listed = splicing.split(body)
    people = await context.authors_of(listed.authors) if listed is not None else {}
    if listed is None or context.missing:  # what is missing is said in the answer
        return await list_with_authors(context, orjson.loads(body))
    return Composed({"items": [], "next": listed.next}, content=listed.with_authors(people))


async def fetch_under(context: RequestContext, post_id: str, params: Mapping[str, str]) -> Json:
    """Return a post's comments as the comments service answers."""
    path = path_under(post_id)
    raw: Json = await context.upstreams.comments.get(path, context.viewer.caller, context.deadline, params)
    return raw


async def fetch_context(context: RequestContext, comment_id: str, cursor: str | None) -> Json:
    """Return a comment as comments answers, with those above it, and its replies or a later page of them."""
    path, params = path_of(comment_id) + "/context", {"cursor": cursor} if cursor else {}
    raw: Json = await context.upstreams.comments.get(path, context.viewer.caller, context.deadline, params)
    return raw


async def with_context(context: RequestContext, comment_id: str) -> Composed:
    """Return a comment with its post and the comments above it, from the top down."""
    raw = await fetch_context(context, comment_id, None)
    comment = raw["comment"]
    post = await post_views.fetch(context, comment["post_id"])
    line = [*raw["above"], comment]
    people, counts = await asyncio.gather(
        context.authors_of({post["author_id"]} | representations.comment_authors(line)),
        context.comment_counts([post]),
    )
    *above, shown = (representations.comment(one, people) for one in line)
    about = representations.post(post, people, context.public_url, counts[post["id"]])
    return Composed({"post": about, "above": above, "comment": shown}, comment["version"], comment.get("epoch", 0))


async def counted(context: RequestContext, refs: Sequence[str]) -> Composed:
    """Return how many comments each of these posts shows to anonymous readers, by id or slug; 0 for an unknown one."""
    ids = {ref: post_id for ref in refs if (post_id := id_or_none(ref)) is not None}
    slugs = [ref for ref in refs if ref not in ids]
    if slugs:
        context.tags.add("posts")  # one of them may get such a slug
        found = await context.upstreams.posts.look_up("/posts/slugs/lookup", NOBODY, context.deadline, {"slugs": slugs})
        ids |= found["ids"]
    context.tags.update(f"post:{post_id}" for post_id in ids.values())
    body = {"post_ids": sorted(set(ids.values()))}
    answer = await context.upstreams.comments.look_up("/counts", NOBODY, context.deadline, body)
    context.own_below = set()
    return Composed({"counts": {ref: answer["counts"].get(ids.get(ref), 0) for ref in refs}})


async def wait_for_version(context: RequestContext, post: Json) -> None:
    """Wait until comments has heard of this version of a post, so that its discussion is what its writer was told.

    If that takes too long, `discussion` is named as missing: the post says what it will be, and comments follow. The
    rest of the answer is composed within the same two seconds, without comments if it did not answer here.
    """
    path = path_under(post["id"]).removesuffix("/comments") + "/version"
    context.deadline = min(context.deadline, time.monotonic() + DISCUSSION_SECONDS)
    deadline = context.deadline - LEAST_SECONDS
    attempt = 0
    try:
        while _state(await context.upstreams.comments.get(path, NOBODY, deadline)) < _state(post):
            attempt += 1
            pause = backoff_seconds(attempt, FIRST_PAUSE, LONGEST_PAUSE)
            if time.monotonic() + pause >= deadline:
                context.miss("discussion")
                return
            await asyncio.sleep(pause)
    except Problem:
        context.miss("discussion")
        context.may_count = False


def _state(raw: Json) -> tuple[int, int]:
    """Return epoch and version of a post, in which the later state is the greater; (0, 0) where it is unknown."""
    return raw.get("epoch", 0), raw["version"] or 0


async def retry_while_post_unknown(context: RequestContext, post_id: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask comments, and again until it has heard of the post, if posts says that there is such a published post.

    Raises:
        Problem: `not-found` when posts shows the viewer no such published post; `unavailable` when comments did not
            hear of it before the deadline.
    """
    try:
        return await ask()
    except Problem as problem:
        if problem.kind != "post-unknown":
            raise
    post = await post_views.fetch(context, post_id)
    if post["status"] != "published":
        raise not_found()
    return await retry_until(context.deadline, ask)


async def retry_until(deadline: float, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask comments again and again while the post is unknown to it.

    Raises:
        Problem: `unavailable` when the deadline comes first.
    """
    attempt = 1
    while time.monotonic() + (pause := backoff_seconds(attempt, FIRST_PAUSE, LONGEST_PAUSE)) + LEAST_LEFT < deadline:
        await asyncio.sleep(pause)
        try:
            return await ask()
        except Problem as problem:
            if problem.kind != "post-unknown":
                raise
        attempt += 1
    raise unavailable("The post was just published; its discussion opens in a moment.")
