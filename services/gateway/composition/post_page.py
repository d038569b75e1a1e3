"""Compose the page of a post: the post, which is required, with its comments, their number and the viewer."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from services.chassis.errors import Problem
from services.contracts.people import is_admin, is_author, is_moderator
from services.gateway.composition import comment_views, post_views, representations
from services.gateway.composition.request_context import Composed, Json, RequestContext

NO_COMMENTS: Json = {"items": [], "next": None}
OF_PAGES = ("part", "page", "pages", "previous", "edit_window_seconds")
PER_PAGE = 35  # comments of the top level, and as many below them: 100 kB of HTML
FIRST_REPLIES = "first"  # in the place of a cursor: a branch on its own page, from its beginning
NEAREST = 5  # comments above one that are shown with it; those above them are a link away


@dataclass(frozen=True)
class Place:
    """Which part of a discussion is shown; its beginning by default.

    Attributes:
        cursor: where the list of top-level comments goes on.
        sort: the order of that list.
        page: for people, who leaf through it: the number of the page, unless a cursor tells the place. Then comments
            also says which page of how many it is, and how long comments can be edited.
        comment_id: a comment that is shown in any case: with what it answers, where it is not in that part anyhow.
        replies: where the list of its replies goes on; then it is shown apart from the list it stands in.
    """

    cursor: str | None = None
    sort: str = "oldest"
    page: int | None = None
    comment_id: str | None = None
    replies: str | None = None


BEGINNING = Place()


async def page(context: RequestContext, ref: str, place: Place = BEGINNING) -> Composed:
    """Return `{post, comments, comment_count, viewer, unavailable}`, asked for at once where the id is known.

    The comments are marked as `part` where they are one comment's context and not a page of the list. On a page for
    people the viewer also has `follows`.
    """
    guess = post_views.probable_id(context, ref)
    early = None
    attention = None
    is_for_people = place.page is not None
    if context.viewer.person_id is not None and (guess is not None or not is_for_people):
        attention = asyncio.ensure_future(_attention(context, guess if is_for_people else None))
    if guess is not None:
        early = asyncio.ensure_future(_discussion(context, {"id": guess, "status": "published"}, place))
    try:
        post = await post_views.fetch(context, ref)
        if context.viewer.person_id is not None and is_for_people and guess != post["id"]:
            if attention is not None:
                attention.cancel()
            attention = asyncio.ensure_future(_attention(context, post["id"]))
        if early is not None and guess == post["id"] and post["status"] == "published":
            comments, count, missing = await early
        else:
            comments, count, missing = await _discussion(context, post, place)
        for part in missing:
            context.miss(part)
        composed = await _put_together(context, post, comments, count)
        if attention is not None:
            composed["viewer"] |= await attention
    finally:
        for asked in (early, attention):
            if asked is not None and not asked.done():
                asked.cancel()
    return Composed(composed, post["version"], post.get("epoch", 0))


async def _attention(context: RequestContext, post_id: str | None) -> dict[str, int | None]:
    return await context.attention.of(context.upstreams, context.viewer.caller, context.deadline, post_id)


async def _discussion(context: RequestContext, post: Json, place: Place) -> tuple[Json | None, int | None, list[str]]:
    """Return the comments of a post, their number, and what is missing of them."""
    if post["status"] != "published":
        return NO_COMMENTS, 0, []
    apart = context.apart()
    comments, counts = await asyncio.gather(
        apart.optional("comments", lambda: _comments(apart, post["id"], place)),
        apart.comment_counts([post]),
    )
    return comments, counts[post["id"]], apart.missing


async def _comments(context: RequestContext, post_id: str, place: Place) -> Json:
    """Return the comments at a place as comments answers; its beginning where there is none such.

    Only the list tells whether a comment stands in it, so the comment's surroundings are asked for meanwhile.
    """
    if place.comment_id is None:
        return await _listed(context, post_id, place)
    if place.replies and (found := await _around(context, post_id, place)):
        return found
    around = asyncio.ensure_future(_around(context, post_id, Place(comment_id=place.comment_id)))
    try:
        listed = await _listed(context, post_id, place)
        return listed if place.comment_id in _ids(listed["items"]) else await around or listed
    finally:
        around.cancel()
        await asyncio.gather(around, return_exceptions=True)


async def _listed(context: RequestContext, post_id: str, place: Place) -> Json:
    params = {} if place.page is None else {"sort": place.sort, "page": str(place.page), "limit": str(PER_PAGE)}
    params |= {"cursor": place.cursor} if place.cursor else {}

    async def ask() -> Json:
        return await comment_views.fetch_under(context, post_id, params)

    try:
        return await ask()
    except Problem as problem:
        if problem.kind == "malformed-cursor" and place.cursor is not None:
            return await _listed(context, post_id, replace(place, cursor=None))
        if problem.kind != "post-unknown":
            raise
    return await comment_views.retry_until(min(time.monotonic() + context.page_patience, context.deadline), ask)


async def _around(context: RequestContext, post_id: str, place: Place) -> Json | None:
    """Return a comment with those above it, as a list of one tree; None if it is not there for this viewer."""
    assert place.comment_id is not None
    try:
        cursor = None if place.replies == FIRST_REPLIES else place.replies
        raw = await comment_views.fetch_context(context, place.comment_id, cursor)
    except Problem as problem:
        if problem.status < 500:
            return None
        raise
    if raw["comment"]["post_id"] != post_id:
        return None
    line = [*raw["above"][-NEAREST:], raw["comment"]]
    for above, below in pairwise(line):
        above["replies"] = {"items": [below], "next": None}
    shown = {"items": line[:1], "next": None, "part": True}
    return shown | {name: raw[name] for name in OF_PAGES if name in raw}


def _ids(items: list[Json]) -> Iterator[str]:
    waiting = list(items)
    while waiting:
        item = waiting.pop()
        yield item["id"]
        waiting.extend(item["replies"]["items"])


async def _put_together(context: RequestContext, post: Json, comments: Json | None, count: int | None) -> Json:
    needed = {post["author_id"]} | representations.comment_authors(comments["items"] if comments else ())
    person_id = str(context.viewer.person_id) if context.viewer.person_id else None
    if person_id is not None:
        needed.add(person_id)
    people = await context.authors_of(needed)
    viewer = _viewer(context, post, people.get(person_id) or representations.nameless(person_id)) if person_id else None
    shown = None
    if comments is not None:
        shown = representations.comment_list(comments, people)
        shown |= {name: comments[name] for name in OF_PAGES if name in comments}
    return {
        "post": representations.post(post, people, context.public_url, count),
        "comments": shown,
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
