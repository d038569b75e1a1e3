"""Slugs that no post has or had while it was public: a post is stored under one of them.

A slug is looked up before it is stored, and once more after that: in between another post may have had it and given it
up, so that it is reserved, but no row of a post stands in the way.
"""

from dataclasses import replace

import asyncpg

from services.chassis.database.pool import Transaction
from services.chassis.text.renderer import RENDERER_VERSION
from services.posts import former_slugs, store
from services.posts.domain import slugs
from services.posts.domain.post import Post


async def insert_post_as(tx: Transaction, post: Post, slug: str) -> Post:
    """Insert a post under the slug that its author chose, and return it with that slug.

    Raises:
        Problem: `invalid` when it is taken.
    """
    named = replace(post, slug=slug)
    if not await store.insert(tx, named, RENDERER_VERSION) or await former_slugs.taken(tx, [slug], post.id):
        raise slugs.taken()
    return named


async def insert_post(tx: Transaction, post: Post, slug: str, source: tuple[str, str] | None = None) -> Post:
    """Insert a post under the first free slug of `slug`, `slug-2`, `slug-3` …, and return it with that slug.

    A slug that a concurrent transaction takes first is skipped. If a post of the same source exists, insert nothing
    and return the post with the existing id.
    """
    for batch in slugs.alternatives(slug):
        taken = await former_slugs.taken(tx, batch)
        for candidate in batch:
            if candidate in taken:
                continue
            named = replace(post, slug=candidate)
            if await store.insert(tx, named, RENDERER_VERSION, source):
                if not await former_slugs.taken(tx, [candidate], post.id):
                    return named
                await store.delete(tx, post.id)
            elif source is not None and (known := await store.find_by_source(tx, source)) is not None:
                return replace(post, id=known)
    raise AssertionError("the alternatives of a slug have no end")


async def update_post(tx: Transaction, before: Post, post: Post, renderer_version: int | None) -> None:
    """Update a post whose row this transaction has locked, perhaps under another slug.

    The former slug stays reserved for it if it was ever published, else it is free.

    Raises:
        Problem: `invalid` when another post has the slug, or had it while it was public.
    """
    if post.slug == before.slug:
        await store.update(tx, post, renderer_version)
        return
    if await former_slugs.taken(tx, [post.slug], post.id):
        raise slugs.taken()
    try:
        await store.update(tx, post, renderer_version)
    except asyncpg.UniqueViolationError:
        raise slugs.taken() from None
    if await former_slugs.taken(tx, [post.slug], post.id):
        raise slugs.taken()
    await former_slugs.take_back(tx, post.slug, post.id)
    if before.published_at is not None:
        await former_slugs.reserve(tx, before.slug, post.id)
