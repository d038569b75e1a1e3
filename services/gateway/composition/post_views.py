"""Compose posts with their authors' names and the numbers of their comments."""

import asyncio
from collections.abc import Mapping

from services.contracts.ids import id_or_none, is_id
from services.contracts.normal_form import nfc
from services.gateway.composition import representations
from services.gateway.composition.moved import Moved
from services.gateway.composition.request_context import Composed, Json, RequestContext


def path_of(ref: str) -> str:
    """Return the path of a post at the posts service, by id or slug."""
    return "/posts/" + ref


async def one(context: RequestContext, ref: str) -> Composed:
    """Return the post with this id or slug."""
    raw = await fetch(context, ref)
    context.own_below = set()
    return await with_author(context, raw)


async def fetch(context: RequestContext, ref: str) -> Json:
    """Return a post as the posts service answers.

    Raises:
        Moved: it has another slug now.
    """
    raw: Json = await context.upstreams.posts.get(path_of(ref), context.viewer.caller, context.deadline)
    remember_slug(context, raw)
    context.tags.add(f"post:{raw['id']}")
    if raw["slug"] != ref and not is_id(ref) and raw["slug"] != nfc(ref):
        raise Moved(raw["slug"])
    return raw


async def slug_of_address(context: RequestContext, address: str) -> str:
    """Return the slug of the post that had this address before it was imported."""
    posts, viewer = context.upstreams.posts, context.viewer
    found = await posts.look_up("/addresses/lookup", viewer.caller, context.deadline, {"address": address})
    return str(found["slug"])


async def with_author(context: RequestContext, raw: Json) -> Composed:
    """Return a post of the posts service as the public reads it."""
    people, counts = await asyncio.gather(context.authors_of([raw["author_id"]]), context.comment_counts([raw]))
    shown = representations.post(raw, people, context.public_url, counts[raw["id"]])
    return Composed(shown, raw["version"], raw.get("epoch", 0))


async def listed(context: RequestContext, params: Mapping[str, str]) -> Composed:
    """Return the posts of one status, published ones by default, newest first."""
    raw = await context.upstreams.posts.get("/posts", context.viewer.caller, context.deadline, params)
    items = raw["items"]
    context.tags.add("posts")
    context.own_below = set()
    people, counts = await asyncio.gather(
        context.authors_of({item["author_id"] for item in items}), context.comment_counts(items)
    )
    shown = [representations.post(item, people, context.public_url, counts[item["id"]], text=False) for item in items]
    return Composed({"items": shown, "next": raw["next"]})


async def tags(context: RequestContext, params: Mapping[str, str]) -> Composed:
    """Return the tags of published posts, the most used first."""
    raw = await context.upstreams.posts.get("/tags", context.viewer.caller, context.deadline, params)
    context.tags.add("posts")
    context.own_below = set()
    items = [{"tag": item["tag"], "post_count": item["post_count"]} for item in raw["items"]]
    return Composed({"items": items, "next": raw["next"]})


async def revisions(context: RequestContext, post_id: str, params: Mapping[str, str]) -> Composed:
    """Return the revisions of a post, newest first."""
    path = path_of(post_id) + "/revisions"
    raw = await context.upstreams.posts.get(path, context.viewer.caller, context.deadline, params)
    context.tags.add(f"post:{post_id}")
    return Composed({"items": [representations.revision(item) for item in raw["items"]], "next": raw["next"]})


async def revision_notes(context: RequestContext, post_id: str, params: Mapping[str, str]) -> Json:
    """Return the revisions of a post without their texts, newest first."""
    path = path_of(post_id) + "/revision-notes"
    raw = await context.upstreams.posts.get(path, context.viewer.caller, context.deadline, params)
    context.tags.add(f"post:{post_id}")
    return {"items": [representations.revision_note(item) for item in raw["items"]], "next": raw["next"]}


async def revision(
    context: RequestContext, post_id: str, number: int, params: Mapping[str, str] | None = None
) -> Composed:
    """Return one revision of a post; with `against`, what differs from another one too."""
    path = revision_path(post_id, number)
    raw = await context.upstreams.posts.get(path, context.viewer.caller, context.deadline, params or {})
    context.tags.add(f"post:{post_id}")
    return Composed(representations.revision(raw))


def revision_path(post_id: str, number: int) -> str:
    """Return the path of a revision at the posts service."""
    return f"{path_of(post_id)}/revisions/{number}"


def remember_slug(context: RequestContext, raw: Json) -> None:
    """Remember which post a slug means."""
    if context.slugs.get(raw["slug"]) != raw["id"]:
        context.slugs[raw["slug"]] = raw["id"]


def probable_id(context: RequestContext, ref: str) -> str | None:
    """Return the id that a reference probably means; None when only the posts service knows."""
    return id_or_none(ref) or context.slugs.get(ref)
