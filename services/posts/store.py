"""SQL of posts."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.chassis.text.rerendering import Stored
from services.posts.domain.post import Post

INSERT_POST = """
insert into posts (
    id, kind, slug, title, body, format, body_html, renderer_version, excerpt, author_id, status, discussion,
    created_at, published_at, edited_at, edit_note, revision, version, imported, site, source_id, cover,
    has_own_excerpt, tags, word_count, text_id
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
        $25, $26)
on conflict do nothing
"""


async def insert(tx: Transaction, post: Post, renderer_version: int, source: tuple[str, str] | None = None) -> bool:
    """Insert a post; return False when its slug or its source (site, source id) exists.

    The statement waits for a concurrent insert of the same slug, so the result is final.
    """
    site, source_id = source or (None, None)
    return (
        await tx.execute(
            INSERT_POST,
            post.id,
            post.kind,
            post.slug,
            post.title,
            post.body,
            post.format,
            post.body_html,
            renderer_version,
            post.excerpt,
            post.author_id,
            post.status,
            post.discussion,
            post.created_at,
            post.published_at,
            post.edited_at,
            post.edit_note,
            post.revision,
            post.version,
            post.imported,
            site,
            source_id,
            post.cover,
            post.has_own_excerpt,
            post.tags,
            post.word_count,
            post.text_id,
        )
        == 1
    )


UPDATE_POST = """
update posts
set title = $2, body = $3, body_html = $4, renderer_version = coalesce($5, renderer_version), excerpt = $6,
    status = $7, discussion = $8, published_at = $9, edited_at = $10, edit_note = $11, revision = $12, version = $13,
    cover = $14, has_own_excerpt = $15, tags = $16, word_count = $17, slug = $18, text_id = $19
where id = $1
"""


async def update(tx: Transaction, post: Post, renderer_version: int | None = None) -> None:
    """Update the variable columns of a post whose row this transaction has locked.

    Without a renderer version the stored one stays: the HTML was not rendered again.
    """
    await tx.execute(
        UPDATE_POST,
        post.id,
        post.title,
        post.body,
        post.body_html,
        renderer_version,
        post.excerpt,
        post.status,
        post.discussion,
        post.published_at,
        post.edited_at,
        post.edit_note,
        post.revision,
        post.version,
        post.cover,
        post.has_own_excerpt,
        post.tags,
        post.word_count,
        post.slug,
        post.text_id,
    )


DELETE_POST = "delete from posts where id = $1"


async def delete(tx: Transaction, post_id: UUID) -> None:
    """Delete a post that nobody but its author has seen."""
    await tx.execute(DELETE_POST, post_id)


SELECT_OUTDATED = """
select id, body, format from posts
where (renderer_version < $1 or word_count is null) and ($2::uuid is null or id > $2)
order by id
limit $3
"""


async def find_outdated(reader: Reader, renderer_version: int, after: UUID | None, limit: int) -> list[Stored]:
    """Return the next texts that an older renderer has rendered, or whose words are not counted, by id."""
    return [Stored(**row) for row in await reader.fetch(SELECT_OUTDATED, renderer_version, after, limit)]


UPDATE_HTML = """
update posts set body_html = $4, renderer_version = $5, word_count = $6
where id = $1 and body = $2 and format = $3 and (renderer_version < $5 or word_count is null)
"""


async def update_html(tx: Transaction, text: Stored, html: str, renderer_version: int, words: int) -> bool:
    """Replace the HTML of a text; return False when the text has changed or was rendered meanwhile."""
    return await tx.execute(UPDATE_HTML, text.id, text.body, text.format, html, renderer_version, words) == 1


SELECT_POST = """
select id, kind, slug, title, body, format, body_html, excerpt, author_id, status, discussion,
       created_at, published_at, edited_at, edit_note, revision, version, imported, cover,
       has_own_excerpt, tags, word_count, publish_at, text_id, (select number from epoch) as epoch
from posts
where id = $1
"""


async def find(reader: Reader, post_id: UUID) -> Post | None:
    """Return the post, in any status."""
    row = await reader.fetchrow(SELECT_POST, post_id)
    return None if row is None else Post(**row)


SELECT_POST_BY_SLUG = """
select id, kind, slug, title, body, format, body_html, excerpt, author_id, status, discussion,
       created_at, published_at, edited_at, edit_note, revision, version, imported, cover,
       has_own_excerpt, tags, word_count, publish_at, text_id, (select number from epoch) as epoch
from posts
where slug = $1
"""


async def find_by_slug(reader: Reader, slug: str) -> Post | None:
    """Return the post with that slug, in any status."""
    row = await reader.fetchrow(SELECT_POST_BY_SLUG, slug)
    return None if row is None else Post(**row)


SELECT_IDS_OF_SLUGS = "select slug, id from posts where slug = any($1::text[]) and status = 'published'"


async def published_by_slug(reader: Reader, slugs: Sequence[str]) -> dict[str, UUID]:
    """Return the ids of the published posts that have these slugs."""
    return {row["slug"]: row["id"] for row in await reader.fetch(SELECT_IDS_OF_SLUGS, slugs)}


LOCK_POST = "select from posts where id = $1 for update"


async def lock(tx: Transaction, post_id: UUID) -> Post | None:
    """Lock the row of a post until the transaction ends, and return the post."""
    if await tx.fetchrow(LOCK_POST, post_id) is None:
        return None
    return await find(tx, post_id)


SELECT_BY_SOURCE = "select id from posts where site = $1 and source_id = $2"


async def find_by_source(reader: Reader, source: tuple[str, str]) -> UUID | None:
    """Return the id of the post that was imported from this source (site, source id)."""
    found: UUID | None = await reader.fetchval(SELECT_BY_SOURCE, *source)
    return found


SELECT_VERSION = "select (select number from epoch) as epoch, version from posts where id = $1"


async def version_of(reader: Reader, post_id: UUID) -> dict[str, int]:
    """Return the present epoch and version of an existing post."""
    return dict(await reader.fetchrow(SELECT_VERSION, post_id) or {})


SELECT_MANY = """
select id, kind, slug, title, author_id, status, discussion, version, revision
from posts
where id = any($1::uuid[])
"""


async def find_many(reader: Reader, post_ids: Sequence[UUID]) -> list[Any]:
    """Return the fields of these posts that other services use, in any status."""
    return await reader.fetch(SELECT_MANY, post_ids)


COMPLETE_IMPORT = """
with completed as (
    update posts set body = $2, body_html = $3, renderer_version = $4, word_count = $5
    where id = $1 and imported and version = 1 and body <> $2
    returning id, revision
)
update revisions r set body = $2 from completed c where r.post_id = c.id and r.revision = c.revision
"""


async def complete_import(
    tx: Transaction, post_id: UUID, body: str, html: str, renderer_version: int, words: int
) -> bool:
    """Replace the text of an imported post that nobody has changed; return False when it stays as it is."""
    return await tx.execute(COMPLETE_IMPORT, post_id, body, html, renderer_version, words) == 1
