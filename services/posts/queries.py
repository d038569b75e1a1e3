"""Queries of posts: the read side."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson

from services.chassis.database.pool import Database, Reader
from services.chassis.errors import not_found
from services.chassis.http import cursors
from services.chassis.http.answer_size import MOST_BYTES, fitting
from services.chassis.identity import Caller
from services.chassis.messaging.stating import known_rows
from services.contracts.event import rfc3339
from services.contracts.old_addresses import possible_addresses
from services.contracts.people import is_admin
from services.contracts.services import STATED
from services.posts import former_slugs, list_rows, old_addresses, people_rows, revision_rows, store
from services.posts.domain import slugs
from services.posts.domain.post import Post, is_visible, representation
from services.posts.list_rows import EVERY_POST, Wanted

PUBLISHED = "posts"
TAGS = "tags"
MOST_OF_AN_ADDRESS = 20  # posts of different blogs that are looked at for one that the caller may see
Status = Literal["draft", "scheduled", "published", "withdrawn"]


async def post(db: Database, caller: Caller, reference: str) -> dict[str, Any]:
    """Return the post with that id or slug, or that had this slug while it was public.

    Raises:
        Problem: `not-found` when it does not exist or the caller may not read it.
    """
    post_id, slug = slugs.as_id(reference), slugs.as_slug(reference)
    if post_id is None and slug is None:
        raise not_found()
    async with db.reader() as reader:
        found = await (store.find(reader, post_id) if post_id else _find_by_slug(reader, slug or ""))
    if found is None or not is_visible(found, caller):
        raise not_found()
    return representation(found)


async def ids_of_slugs(db: Database, references: Sequence[str]) -> dict[str, str]:
    """Return the ids of the published posts with these slugs, by the slug as it was given."""
    wanted = {reference: slug for reference in references if (slug := slugs.as_slug(reference)) is not None}
    async with db.reader() as reader:
        found = await store.published_by_slug(reader, list(wanted.values()))
    return {reference: str(found[slug]) for reference, slug in wanted.items() if slug in found}


async def _find_by_slug(reader: Reader, slug: str) -> Post | None:
    found = await store.find_by_slug(reader, slug)
    if found is None and (post_id := await former_slugs.find_post_id(reader, slug)) is not None:
        found = await store.find(reader, post_id)
    return found


async def post_of_address(db: Database, caller: Caller, address: str) -> dict[str, Any]:
    """Return id and slug of the post that had this address before it was imported.

    Raises:
        Problem: `not-found` when there is none that the caller may read.
    """
    addresses = possible_addresses(address)
    if addresses:
        async with db.reader() as reader:
            for found in await old_addresses.find_posts(reader, addresses, MOST_OF_AN_ADDRESS):
                if is_visible(found, caller):
                    return {"id": str(found.id), "slug": found.slug}
    raise not_found()


async def published_posts(db: Database, cursor: str | None, limit: int, wanted: Wanted = EVERY_POST) -> dict[str, Any]:
    """Return a page of published posts, newest first, without their bodies.

    Raises:
        Problem: `malformed-cursor`.
    """
    name = PUBLISHED + wanted.name
    place = cursors.decode(cursor, name, datetime, UUID)
    async with db.reader() as reader:
        found = await list_rows.published_before(
            reader, wanted, None if place is None else (place[0], place[1]), limit + 1
        )
    page = found[:limit]
    following = None
    if len(found) > limit:
        last = page[-1]
        assert last.published_at is not None
        following = cursors.encode(name, last.published_at, last.id)
    return {"items": _entries(page), "next": following}


def _entries(page: Sequence[Post]) -> list[dict[str, Any]]:
    """Return posts as they stand in a list, without their bodies."""
    items = [representation(entry) for entry in page]
    for item in items:
        del item["body"], item["body_html"], item["has_own_excerpt"]  # which lists do not read
    return items


async def unpublished_posts(
    db: Database, caller: Caller, status: Status, cursor: str | None, limit: int, wanted: Wanted = EVERY_POST
) -> dict[str, Any]:
    """Return a page of posts that not everybody may read: the caller's own, or everybody's to an admin; newest first.

    Raises:
        Problem: `sign-in-required`, `malformed-cursor`.
    """
    person_id = caller.require_person()
    name = f"{PUBLISHED}/{status}{wanted.name}"
    place = cursors.decode(cursor, name, datetime, UUID)
    if not is_admin(caller.roles):
        if wanted.author_id not in (None, person_id):
            return {"items": [], "next": None}
        wanted = replace(wanted, author_id=person_id)
    async with db.reader() as reader:
        found = await list_rows.unpublished_before(
            reader, status, wanted, None if place is None else (place[0], place[1]), limit + 1
        )
    page = found[:limit]
    following = cursors.encode(name, page[-1].created_at, page[-1].id) if len(found) > limit else None
    return {"items": _entries(page), "next": following}


async def tags(db: Database, cursor: str | None, limit: int) -> dict[str, Any]:
    """Return a page of the tags of published posts, by the number of posts, then by the tag.

    Raises:
        Problem: `malformed-cursor`.
    """
    place = cursors.decode(cursor, TAGS, int, str)
    async with db.reader() as reader:
        found = await list_rows.tags_after(reader, None if place is None else (place[0], place[1]), limit + 1)
    page = found[:limit]
    following = cursors.encode(TAGS, page[-1]["post_count"], page[-1]["tag"]) if len(found) > limit else None
    items = [{"tag": row["spelling"], "post_count": row["post_count"]} for row in page]
    return {"items": items, "next": following}


async def revisions(db: Database, caller: Caller, post_id: UUID, cursor: str | None, limit: int) -> dict[str, Any]:
    """Return a page of a post's revisions, newest first.

    Raises:
        Problem: `not-found` when the post does not exist or the caller may not read it, `malformed-cursor`.
    """
    name = f"posts/{post_id}/revisions"
    place = cursors.decode(cursor, name, int)
    async with db.reader() as reader:
        found = await store.find(reader, post_id)
        if found is None or not is_visible(found, caller):
            raise not_found()
        rows = await revision_rows.before(reader, post_id, place[0] if place else None, limit + 1, MOST_BYTES)
    items = [_revision(row) for row in rows[:limit]]
    page, _ = fitting(items, (len(orjson.dumps(item)) for item in items))
    return {"items": page, "next": cursors.encode(name, page[-1]["revision"]) if len(rows) > len(page) else None}


async def revision(db: Database, caller: Caller, post_id: UUID, number: int) -> dict[str, Any]:
    """Return one revision of a post.

    Raises:
        Problem: `not-found` when the post or the revision does not exist or the caller may not read the post.
    """
    async with db.reader() as reader:
        found = await store.find(reader, post_id)
        row = await revision_rows.find(reader, post_id, number)
    if found is None or row is None or not is_visible(found, caller):
        raise not_found()
    return _revision(row)


async def revision_notes(db: Database, caller: Caller, post_id: UUID, cursor: str | None, limit: int) -> dict[str, Any]:
    """Return a page of a post's revisions without their texts, newest first.

    Raises:
        Problem: as `revisions`, whose cursors it takes.
    """
    name = f"posts/{post_id}/revisions"
    place = cursors.decode(cursor, name, int)
    async with db.reader() as reader:
        found = await store.find(reader, post_id)
        if found is None or not is_visible(found, caller):
            raise not_found()
        rows = await revision_rows.notes_before(reader, post_id, place[0] if place else None, limit + 1)
    items = [_revision(row) for row in rows[:limit]]
    return {"items": items, "next": cursors.encode(name, items[-1]["revision"]) if len(rows) > limit else None}


def _revision(row: Any) -> dict[str, Any]:
    shown = dict(row) | {"created_at": rfc3339(row["created_at"])}
    shown.pop("text_id", None)
    return shown


async def look_up(db: Database, post_ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Return the fields of these posts that other services use, in any status; unknown ids are left out."""
    async with db.reader() as reader:
        rows = await store.find_many(reader, post_ids)
    return [dict(row) | {"id": str(row["id"]), "author_id": str(row["author_id"])} for row in rows]


async def look_up_titles(db: Database, revisions: Sequence[tuple[UUID, int]]) -> list[dict[str, Any]]:
    """Return the titles of these revisions, of posts in any status; unknown ones are left out."""
    async with db.reader() as reader:
        rows = await revision_rows.titles_of(reader, revisions)
    return [dict(row) | {"id": str(row["id"])} for row in rows]


async def known_people(db: Database, after: UUID, ids: Sequence[UUID] | None) -> dict[str, Any]:
    """Return what this service knows of the next people behind `after`, or of those with these ids."""
    async with db.reader() as reader:
        rows = await people_rows.known(reader, after, ids, STATED)
    return known_rows(rows, is_page=ids is None)
