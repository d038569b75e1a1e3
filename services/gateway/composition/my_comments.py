"""Compose what the viewer wrote in discussions, each comment with the post that it stands under, for their page."""

from services.gateway.composition import comment_views
from services.gateway.composition.my_notifications import looked_up
from services.gateway.composition.request_context import Json, RequestContext


async def listed(context: RequestContext, cursor: str | None) -> Json:
    """Return a page of the viewer's comments, newest first.

    Each has `title` and `slug` of its post, which are None where the viewer cannot open it.
    """
    found = (await comment_views.own(context, {"cursor": cursor} if cursor else {})).data
    posts = await looked_up(context, "posts", (item["post_id"] for item in found["items"]))
    items = []
    for item in found["items"]:
        post = posts.get(item["post_id"])
        is_there = post is not None and post["status"] == "published"
        about = {"title": post["title"], "slug": post["slug"]} if post and is_there else {"title": None, "slug": None}
        items.append(item | about)
    return {"items": items, "next": found["next"]}
