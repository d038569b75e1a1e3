"""SQL of what comments knows of posts."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.comments.domain.comment import Discussion
from services.contracts.posts import PostFact

UPSERT_DISCUSSIONS = """
insert into discussions (post_id, post_author_id, kind, status, discussion, version, epoch, revision, visible_count)
select post.id, author_id, kind, status, mode, version, epoch, revision, case
    when not exists (select from discussions where post_id = post.id)
        and exists (select from comments where list_id = post.id)
    then (select count(*) from comments where post_id = post.id and state = 'visible')
    else 0
end
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::int[])
    as post (id, author_id, kind, status, mode, version, epoch, revision)
order by post.id
on conflict (post_id) do update set
    post_author_id = excluded.post_author_id, kind = excluded.kind, status = excluded.status,
    discussion = excluded.discussion, version = excluded.version, epoch = excluded.epoch, gone = false,
    revision = excluded.revision
where (discussions.epoch, discussions.version) < (excluded.epoch, excluded.version)
    or discussions.revision is null and (discussions.epoch, discussions.version) = (excluded.epoch, excluded.version)
"""


async def upsert_discussions(tx: Transaction, facts: Sequence[tuple[int, PostFact]]) -> None:
    """Store posts as the facts state them, except those of which a newer (epoch, version) is known.

    A lost row whose comments stand gets their count again, and one that was written before revisions were kept takes
    the revision from the same state stated again.

    Args:
        facts: one of each post, with its epoch.
    """
    rows = [
        (fact.post_id, fact.author_id, fact.kind, fact.status, fact.discussion, fact.version, epoch, fact.revision)
        for epoch, fact in facts
    ]
    await tx.execute(UPSERT_DISCUSSIONS, *zip(*rows, strict=True))


MARK_GONE = """
update discussions set status = 'withdrawn', gone = true, epoch = $2, version = $3
where post_id = $1 and (epoch, version) < ($2, $3)
"""


async def mark_gone(tx: Transaction, post_id: UUID, epoch: int, version: int) -> None:
    """Hide the discussion of a post that is not there, unless a newer (epoch, version) is known. Its comments stay."""
    await tx.execute(MARK_GONE, post_id, epoch, version)


SELECT_KNOWN = """
select post_id as id, post_id as key, epoch, version, gone from discussions where post_id > $1 order by post_id limit $2
"""
SELECT_KNOWN_OF = """
select post_id as id, post_id as key, epoch, version, gone from discussions where post_id = any($1::uuid[])
"""


async def known_posts(reader: Reader, after: UUID, ids: Sequence[UUID] | None, limit: int) -> list[Any]:
    """Return id, key, epoch, version and gone of the next known posts behind an id, or of those with these ids."""
    if ids is not None:
        return await reader.fetch(SELECT_KNOWN_OF, ids)
    return await reader.fetch(SELECT_KNOWN, after, limit)


SELECT_DISCUSSION = """
select post_id, post_author_id, status, discussion as mode, (select number from epoch) as epoch, revision,
    discussions.epoch as post_epoch, version as post_version
from discussions
where post_id = $1
"""


async def find_discussion(reader: Reader, post_id: UUID) -> Discussion | None:
    """Return the discussion of a post."""
    row = await reader.fetchrow(SELECT_DISCUSSION, post_id)
    return None if row is None else Discussion(**row)


SELECT_VERSION = "select epoch, version from discussions where post_id = $1"


async def find_version(reader: Reader, post_id: UUID) -> tuple[int, int] | None:
    """Return the (epoch, version) of the post that this service knows; None before it has heard of it."""
    row = await reader.fetchrow(SELECT_VERSION, post_id)
    return None if row is None else (row["epoch"], row["version"])


SELECT_DISCUSSIONS = """
select post_id, post_author_id, status, discussion as mode, (select number from epoch) as epoch, revision,
    discussions.epoch as post_epoch, version as post_version
from discussions
where post_id = any($1::uuid[])
"""


async def find_discussions(reader: Reader, post_ids: Sequence[UUID]) -> dict[UUID, Discussion]:
    """Return the discussions of these posts, by post."""
    rows = await reader.fetch(SELECT_DISCUSSIONS, post_ids)
    return {row["post_id"]: Discussion(**row) for row in rows}


LOCK_DISCUSSION = """
select post_id, post_author_id, status, discussion as mode, (select number from epoch) as epoch, revision,
    discussions.epoch as post_epoch, version as post_version
from discussions
where post_id = $1
for no key update
"""


async def lock_discussion(tx: Transaction, post_id: UUID) -> Discussion | None:
    """Lock a discussion until the transaction ends and return it: nothing else changes its tree meanwhile."""
    row = await tx.fetchrow(LOCK_DISCUSSION, post_id)
    return None if row is None else Discussion(**row)


LOCK_DISCUSSIONS = """
select post_id, post_author_id, status, discussion as mode, (select number from epoch) as epoch, revision,
    discussions.epoch as post_epoch, version as post_version
from discussions
where post_id = any($1::uuid[])
order by post_id
for no key update
"""


async def lock_discussions(tx: Transaction, post_ids: Collection[UUID]) -> dict[UUID, Discussion]:
    """Lock these discussions, one after the other in the order of their ids, and return them by post."""
    rows = await tx.fetch(LOCK_DISCUSSIONS, list(post_ids))
    return {row["post_id"]: Discussion(**row) for row in rows}


SELECT_COUNTS = """
select post_id as id, visible_count as count from discussions where post_id = any($1::uuid[]) and status = 'published'
"""


async def visible_by_post(reader: Reader, post_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return the number of visible comments of each of these posts that is published."""
    return {row["id"]: row["count"] for row in await reader.fetch(SELECT_COUNTS, post_ids)}
