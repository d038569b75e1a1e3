"""Compose the page of a post: the post, which is required, with its comments, their number and the viewer."""

import asyncio
import time
from typing import Any

from services.chassis.errors import Problem
from services.contracts.people import is_admin, is_author, is_moderator
from services.gateway.composition import comment_views, post_views, representations
from services.gateway.composition.request_context import Composed, Json, RequestContext

NO_COMMENTS: Json = {"items": [], "next": None}


async def page(context: RequestContext, ref: str, params: dict[str, str] | None = None) -> Composed:
    """Return `{post, comments, comment_count, viewer, unavailable}`, asked for at once where the id is known."""
    guess = post_views.probable_id(context, ref)
    early = None
    if guess is not None:
        early = asyncio.ensure_future(_discussion(context, {"id": guess, "status": "published"}, params))
    try:
        post = await post_views.fetch(context, ref)
        if early is not None and guess == post["id"] and post["status"] == "published":
            comments, count, missing = await early
        else:
            comments, count, missing = await _discussion(context, post, params)
    finally:
        if early is not None and not early.done():
            early.cancel()
    for part in missing:
        context.miss(part)
    return Composed(await _put_together(context, post, comments, count), post["version"])


async def _discussion(
    context: RequestContext, post: Json, params: dict[str, str] | None
) -> tuple[Json | None, int | None, list[str]]:
    """Return the comments of a post, their number, and what is missing of them."""
    if post["status"] != "published":
        return NO_COMMENTS, 0, []
    apart = context.apart()
    comments, counts = await asyncio.gather(
        apart.optional("comments", lambda: _comments(context, post["id"], params or {})),
        apart.comment_counts([post]),
    )
    return comments, counts[post["id"]], apart.missing


async def _comments(context: RequestContext, post_id: str, params: dict[str, str]) -> Json:
    def ask() -> Any:
        return comment_views.fetch_under(context, post_id, params)

    try:
        raw: Json = await ask()
    except Problem as problem:
        if problem.kind != "post-unknown":
            raise
        raw = await comment_views.retry_until(min(time.monotonic() + context.page_patience, context.deadline), ask)
    return raw


async def _put_together(context: RequestContext, post: Json, comments: Json | None, count: int | None) -> Json:
    needed = {post["author_id"]} | representations.comment_authors(comments["items"] if comments else ())
    person_id = str(context.viewer.person_id) if context.viewer.person_id else None
    if person_id is not None:
        needed.add(person_id)
    people = await context.authors_of(needed)
    viewer = None
    if person_id is not None:
        if person_id in people:
            viewer = _viewer(context, post, people[person_id])
        else:
            context.miss("viewer")
    return {
        "post": representations.post(post, people, context.public_url, count),
        "comments": representations.comment_list(comments, people) if comments is not None else None,
        "comment_count": count,
        "viewer": viewer,
        "unavailable": context.missing,
    }


def _viewer(context: RequestContext, post: Json, author: Json) -> Json:
    caller = context.viewer.caller
    return {
        **author,
        "roles": sorted(caller.roles),
        "can_comment": post["status"] == "published" and post["discussion"] != "closed",
        "can_moderate": is_moderator(caller.roles),
        "can_edit_post": is_admin(caller.roles)
        or (is_author(caller.roles) and str(caller.person_id) == post["author_id"]),
    }
