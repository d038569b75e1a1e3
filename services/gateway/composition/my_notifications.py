"""Compose the notifications of the viewer with who wrote, under which post, for their page."""

import asyncio
from collections.abc import Iterable

from services.gateway.composition import representations
from services.gateway.composition.request_context import Json, RequestContext


async def listed(context: RequestContext, cursor: str | None) -> Json:
    """Return a page of the viewer's notifications, newest first, and how many are unread.

    Each has `author`, `title` and `slug`, which are None for a comment that is not visible any more: then there is
    nothing to read.
    """
    caller, deadline = context.viewer.caller, context.deadline
    params = {"cursor": cursor} if cursor else {}
    raw, attention = await asyncio.gather(
        context.upstreams.notify.get("/me/notifications", caller, deadline, params),
        context.upstreams.notify.get("/me/attention", caller, deadline),
    )
    comments, posts = await asyncio.gather(
        looked_up(context, "comments", (item["comment_id"] for item in raw["items"])),
        looked_up(context, "posts", (item["post_id"] for item in raw["items"])),
    )
    shown = {one: comment for one, comment in comments.items() if comment["state"] == "visible"}
    people = await context.authors_of({comment["author_id"] for comment in shown.values()})
    items = []
    for item in raw["items"]:
        comment, post = shown.get(item["comment_id"]), posts.get(item["post_id"])
        is_there = comment is not None and post is not None and post["status"] == "published"
        about: Json = {"author": None, "title": None, "slug": None}
        if comment is not None and post is not None and is_there:
            author = representations.author(comment["author_id"], people)
            about = {"author": author, "title": post["title"], "slug": post["slug"]}
        items.append(representations.notification(item) | about)
    return {"items": items, "next": raw["next"], "unread": attention["unread"]}


async def explained(context: RequestContext, comment_id: str) -> Json:
    """Return why the viewer was, or was not, notified of a comment, in words.

    Raises:
        Problem: `not-found` for a comment that they may not know of.
    """
    caller, deadline, params = context.viewer.caller, context.deadline, {"comment": comment_id}
    raw: Json = await context.upstreams.notify.get("/me/notifications/explain", caller, deadline, params)
    if not raw["heard"]:
        await context.upstreams.comments.get(f"/comments/{raw['comment_id']}", caller, deadline)
    return representations.explanation(raw)


async def looked_up(context: RequestContext, service: str, ids: Iterable[str]) -> dict[str, Json]:
    """Return comments or posts by id as their service looks them up; none if it cannot be asked in time."""
    wanted = sorted(set(ids))
    upstream = context.upstreams.comments if service == "comments" else context.upstreams.posts

    async def ask() -> Json:
        found: Json = await upstream.look_up(
            f"/{service}/lookup", context.viewer.caller, context.deadline, {"ids": wanted}
        )
        return found

    found = await context.optional(service, ask) if wanted else None
    return {item["id"]: item for item in found["items"]} if found else {}
