"""Slugs that no post has: a new post is inserted under the first of them."""

from collections.abc import Sequence
from dataclasses import replace

from services.chassis.database.pool import Reader, Transaction
from services.chassis.text.renderer import RENDERER_VERSION
from services.posts import store
from services.posts.domain import slugs
from services.posts.domain.post import Post

SELECT_TAKEN = "select slug from posts where slug = any($1::text[])"


async def existing(reader: Reader, asked: Sequence[str]) -> set[str]:
    """Return those of the slugs that belong to a post."""
    return {row["slug"] for row in await reader.fetch(SELECT_TAKEN, asked)}


async def insert_post(tx: Transaction, post: Post, slug: str, source: tuple[str, str] | None = None) -> Post:
    """Insert a post under the first free slug of `slug`, `slug-2`, `slug-3` …, and return it with that slug.

    A slug that a concurrent transaction takes first is skipped. If a post of the same source exists, insert nothing
    and return the post with the existing id.
    """
    for batch in slugs.alternatives(slug):
        taken = await existing(tx, batch)
        for candidate in batch:
            if candidate in taken:
                continue
            named = replace(post, slug=candidate)
            if await store.insert(tx, named, RENDERER_VERSION, source):
                return named
            if source is not None and (known := await store.find_by_source(tx, source)) is not None:
                return replace(post, id=known)
    raise AssertionError("the alternatives of a slug have no end")
