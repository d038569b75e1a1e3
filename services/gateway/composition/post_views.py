"""Posts, with their authors' names and how much is said about them."""

import asyncio
from collections.abc import Mapping
from uuid import UUID

from services.gateway.composition import representations
from services.gateway.composition.compose import Composed, Json, Look, Sources, authors, comment_counts

SLUGS_REMEMBERED = 10_000


def path_of(ref: str) -> str:
    """The path of a post at its owner, by id or slug."""
    return "/posts/" + ref


async def one(sources: Sources, look: Look, ref: str) -> Composed:
    """The post with this id or slug."""
    raw = await fetch(sources, look, ref)
    return await dressed(sources, look, raw)


async def fetch(sources: Sources, look: Look, ref: str) -> Json:
    """The owner's representation."""
    raw: Json = await sources.upstreams.posts.get(path_of(ref), look.viewer.caller, look.deadline)
    remember_slug(sources, raw)
    look.about.add(f"post:{raw['id']}")
    return raw


def remember_slug(sources: Sources, raw: Json) -> None:
    while len(sources.slugs) >= SLUGS_REMEMBERED:
        del sources.slugs[next(iter(sources.slugs))]
    sources.slugs[raw["slug"]] = raw["id"]


async def dressed(sources: Sources, look: Look, raw: Json) -> Composed:
    """One post of the owner's, as the public reads it."""
    people, counts = await asyncio.gather(
        authors(sources, look, [raw["author_id"]]), comment_counts(sources, look, [raw])
    )
    return Composed(representations.post(raw, people, sources.public_url, counts[raw["id"]]), raw["version"])


async def listed(sources: Sources, look: Look, params: Mapping[str, str]) -> Composed:
    """Published posts, newest first."""
    raw = await sources.upstreams.posts.get("/posts", look.viewer.caller, look.deadline, params)
    items = raw["items"]
    look.about.add("posts")
    people, counts = await asyncio.gather(
        authors(sources, look, {item["author_id"] for item in items}), comment_counts(sources, look, items)
    )
    return Composed(
        {
            "items": [
                representations.post(item, people, sources.public_url, counts[item["id"]], text=False) for item in items
            ],
            "next": raw["next"],
        }
    )


async def revisions(sources: Sources, look: Look, post_id: str, params: Mapping[str, str]) -> Composed:
    """Every text the post had, newest first."""
    raw = await sources.upstreams.posts.get(path_of(post_id) + "/revisions", look.viewer.caller, look.deadline, params)
    look.about.add(f"post:{UUID(post_id)}")
    return Composed({"items": [representations.revision(item) for item in raw["items"]], "next": raw["next"]})


def id_of(sources: Sources, ref: str) -> str | None:
    """The id that a reference probably means; None when only the owner knows."""
    try:
        return str(UUID(ref)) if len(ref) == 36 else sources.slugs.get(ref)
    except ValueError:
        return sources.slugs.get(ref)
