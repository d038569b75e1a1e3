"""Compose what feeds and the sitemap show: only what a stranger may read."""

import asyncio
from collections.abc import Mapping

from services.chassis.errors import Problem, not_found
from services.gateway.composition import comment_views, post_views, profile_views, representations, tag_views
from services.gateway.composition.request_context import Json, RequestContext

ENTRIES = 50
MOST_TAGS = 2_000  # that the sitemap leads to


async def posts(context: RequestContext, filters: Mapping[str, str]) -> list[Json]:
    """Return the newest posts with their texts; those that do not fit into one answer have only an excerpt."""
    listed = (await post_views.listed(context, {**filters, "limit": str(ENTRIES)})).data["items"]
    body = {"ids": [post["id"] for post in listed]}
    caller, deadline = context.viewer.caller, context.deadline
    texts = await context.upstreams.posts.look_up("/posts/texts/lookup", caller, deadline, body)
    html = {item["id"]: item["body_html"] for item in texts["items"]}
    return [post | {"body_html": html.get(post["id"])} for post in listed]


async def discussion(context: RequestContext, ref: str) -> tuple[Json, list[Json]]:
    """Return a post, and the newest comments below it.

    Raises:
        Problem: `not-found` if a stranger may not read it.
    """
    post = (await post_views.one(context, ref)).data
    path = f"/posts/{post['id']}/newest"
    caller, deadline, params = context.viewer.caller, context.deadline, {"limit": str(ENTRIES)}

    async def ask() -> Json:
        found: Json = await context.upstreams.comments.get(path, caller, deadline, params)
        return found

    raw = await comment_views.retry_while_post_unknown(context, post["id"], ask)
    people = await context.authors_of(representations.comment_authors(raw["items"]))
    return post, [representations.comment(item, people) for item in raw["items"]]


async def answers_to(context: RequestContext, token: str) -> tuple[str, list[tuple[Json, Json]]]:
    """Return the name of the person whose feed has this secret address, and the newest answers to them.

    Each comes with its post as posts looks it up. What a stranger may not read is left out.

    Raises:
        Problem: `not-found` for the address of no feed, and of a person who is not there any more.
    """
    caller, deadline, upstreams = context.viewer.caller, context.deadline, context.upstreams
    found = await upstreams.notify.get(f"/feeds/{token}", caller, deadline)
    owner = await upstreams.people.get(f"/people/{found['person_id']}", caller, deadline)
    if owner["erased"]:
        raise not_found()
    comments = await upstreams.comments.look_up("/comments/lookup", caller, deadline, {"ids": found["comment_ids"]})
    by_id = {item["id"]: item for item in comments["items"] if item["state"] == "visible"}
    wanted = {"ids": sorted({item["post_id"] for item in by_id.values()})}
    posts = await upstreams.posts.look_up("/posts/lookup", caller, deadline, wanted)
    published = {item["id"]: item for item in posts["items"] if item["status"] == "published"}
    people = await context.authors_of({item["author_id"] for item in by_id.values()})
    shown = [by_id[one] for one in found["comment_ids"] if one in by_id and by_id[one]["post_id"] in published]
    return str(owner["name"]), [
        (item | {"author": representations.author(item["author_id"], people)}, published[item["post_id"]])
        for item in shown
    ]


async def tagged(context: RequestContext, tag: str) -> tuple[str, list[Json]]:
    """Return a tag as it was first written, and its newest posts with their texts.

    Raises:
        Problem: `not-found` for a tag that no published post has.
    """
    try:
        found = await posts(context, {"tag": tag})
    except Problem as problem:
        raise not_found() if problem.kind == "invalid" else problem from None
    if not found:
        raise not_found()
    return tag_views.spelling(tag, found), found


async def of_author(context: RequestContext, person_id: str) -> tuple[str, list[Json]]:
    """Return the name of a person, and their newest posts with their texts.

    Raises:
        Problem: `not-found` for nobody.
    """
    person, found = await asyncio.gather(
        profile_views.profile(context, person_id), posts(context, {"author": person_id})
    )
    return str(person.data["name"]), found


async def every_tag(context: RequestContext) -> list[str]:
    """Return the tags of published posts, the most used first, as many as a file may name."""
    found: list[str] = []
    params = {"limit": "200"}
    while len(found) < MOST_TAGS:
        listed = (await post_views.tags(context, params)).data
        found += [item["tag"] for item in listed["items"]]
        if listed["next"] is None:
            break
        params["cursor"] = listed["next"]
    return found


async def every_author(context: RequestContext) -> list[Json]:
    """Return who has published posts, each with the newest change of one of them."""
    raw = await context.upstreams.posts.get("/authors", context.viewer.caller, context.deadline)
    context.tags.add("posts")
    authors: list[Json] = raw["items"]
    return authors


async def months(context: RequestContext) -> list[Json]:
    """Return the months in which posts were published, with the newest change of one of them."""
    raw = await context.upstreams.posts.get("/months", context.viewer.caller, context.deadline)
    context.tags.add("posts")
    months: list[Json] = raw["items"]
    return months


async def addresses(context: RequestContext, month: str) -> list[Json]:
    """Return the slugs of the posts of a month, each with its last change.

    Raises:
        Problem: `not-found` for what is no month.
    """
    raw = await context.upstreams.posts.get(f"/months/{month}", context.viewer.caller, context.deadline)
    context.tags.add("posts")
    addresses: list[Json] = raw["items"]
    return addresses
