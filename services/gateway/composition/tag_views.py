"""Compose what is published under a tag: every spelling leads to the same posts."""

from services.chassis.errors import Problem, not_found
from services.contracts.tags import folded
from services.gateway.composition import post_views
from services.gateway.composition.request_context import Json, RequestContext

LISTED = "20"  # posts of a page


async def posts(context: RequestContext, tag: str, cursor: str | None) -> tuple[str, Json]:
    """Return the tag as it was first written, and a page of its posts, newest first.

    Raises:
        Problem: `not-found` for a tag that no published post has.
    """
    params = {"tag": tag, "limit": LISTED} | ({"cursor": cursor} if cursor else {})
    listed = await _listed(context, params)
    return spelling(tag, listed["items"]), listed


async def _listed(context: RequestContext, params: dict[str, str]) -> Json:
    try:
        listed: Json = (await post_views.listed(context, params)).data
    except Problem as problem:
        if problem.kind == "invalid":  # it is no tag that a post could have
            raise not_found() from None
        raise
    if not listed["items"] and "cursor" not in params:
        raise not_found()
    return listed


def spelling(tag: str, posts: list[Json]) -> str:
    """Return a tag as these posts have it."""
    wanted = folded(tag)
    return next((one for post in posts for one in post["tags"] if folded(one) == wanted), tag)
