"""The page of a post: the post, which is required, beside its comments, their number and the viewer."""

import asyncio
import time
from typing import Any

from services.chassis.errors import Problem
from services.contracts.people import is_admin, is_author, is_moderator
from services.gateway.composition import comment_views, post_views, representations
from services.gateway.composition.compose import Composed, Json, Look, Sources, authors, comment_counts, optional

NOTHING_SAID: Json = {"items": [], "next": None}


async def page(sources: Sources, look: Look, ref: str, params: dict[str, str] | None = None) -> Composed:
    """`{post, comments, comment_count, viewer, unavailable}`; everything is asked for at once where the id is known."""
    guess = post_views.id_of(sources, ref)
    early = None
    if guess is not None:
        early = asyncio.ensure_future(_parts(sources, look, {"id": guess, "status": "published"}, params))
    try:
        post = await post_views.fetch(sources, look, ref)
        if early is not None and guess == post["id"] and post["status"] == "published":
            said, count, lacking = await early
        else:
            said, count, lacking = await _parts(sources, look, post, params)
    finally:
        if early is not None and not early.done():
            early.cancel()
    for part in lacking:
        look.lacks(part)
    return Composed(await _put_together(sources, look, post, said, count), post["version"])


async def _parts(
    sources: Sources, look: Look, post: Json, params: dict[str, str] | None
) -> tuple[Json | None, int | None, list[str]]:
    """Comments and their number; the third names what is missing of them."""
    if post["status"] != "published":
        return NOTHING_SAID, 0, []
    mine = Look(look.viewer, look.deadline)
    mine.missing.clear()
    said, counts = await asyncio.gather(
        optional(mine, "comments", lambda: _said(sources, look, post["id"], params or {})),
        comment_counts(sources, mine, [post]),
    )
    return said, counts[post["id"]], mine.missing


async def _said(sources: Sources, look: Look, post_id: str, params: dict[str, str]) -> Json:
    def ask() -> Any:
        return comment_views.fetch(sources, look, post_id, params)

    try:
        raw: Json = await ask()
    except Problem as problem:
        if problem.kind != "post-unknown":
            raise
        patience = time.monotonic() + sources.page_patience
        raw = await comment_views.until_known(ask, min(patience, look.deadline))
    return raw


async def _put_together(sources: Sources, look: Look, post: Json, said: Json | None, count: int | None) -> Json:
    needed = {post["author_id"]} | representations.comment_authors(said["items"] if said else ())
    person_id = str(look.viewer.person_id) if look.viewer.person_id else None
    if person_id is not None:
        needed.add(person_id)
    people = await authors(sources, look, needed)
    viewer = None
    if person_id is not None:
        if person_id in people:
            viewer = _viewer(look, post, people[person_id])
        else:
            look.lacks("viewer")
    return {
        "post": representations.post(post, people, sources.public_url, count),
        "comments": representations.comment_list(said, people) if said is not None else None,
        "comment_count": count,
        "viewer": viewer,
        "unavailable": look.missing,
    }


def _viewer(look: Look, post: Json, face: Json) -> Json:
    caller = look.viewer.caller
    return {
        **face,
        "roles": sorted(caller.roles),
        "can_comment": post["status"] == "published" and post["discussion"] != "closed",
        "can_moderate": is_moderator(caller.roles),
        "can_edit_post": is_admin(caller.roles)
        or (is_author(caller.roles) and str(caller.person_id) == post["author_id"]),
    }
