"""SQL of revisions: every text that a post had."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.posts.domain.post import Post

INSERT_REVISION = """
insert into revisions (post_id, revision, title, body, edit_note, created_at) values ($1, $2, $3, $4, $5, $6)
"""


async def insert(tx: Transaction, post: Post, note: str | None, at: datetime) -> None:
    """Insert the present text of a post as its revision."""
    await tx.execute(INSERT_REVISION, post.id, post.revision, post.title, post.body, note, at)


SELECT_REVISIONS = """
select revision, title, body, edit_note, created_at
from (
    select revision, title, body, edit_note, created_at, sum(octet_length(body)) over (
        order by revision desc rows between unbounded preceding and 2 preceding
    ) as bytes_before
    from (
        select revision, title, body, edit_note, created_at from revisions
        where post_id = $1 and ($2::bigint is null or revision < $2)
        order by revision desc
        limit $3
    ) as found
) as measured
where bytes_before is null or bytes_before < $4
order by revision desc
"""


async def before(reader: Reader, post_id: UUID, revision: int | None, limit: int, most_bytes: int) -> list[Any]:
    """Return revisions of a post, newest first, below `revision`: two more than it takes to fill `most_bytes`."""
    return await reader.fetch(SELECT_REVISIONS, post_id, revision, limit, most_bytes)


SELECT_REVISION = """
select revision, title, body, edit_note, created_at from revisions where post_id = $1 and revision = $2
"""


async def find(reader: Reader, post_id: UUID, revision: int) -> Any | None:
    """Return one revision of a post, or None."""
    return await reader.fetchrow(SELECT_REVISION, post_id, revision)


SELECT_TITLES = """
select r.post_id as id, r.revision, r.title
from unnest($1::uuid[], $2::integer[]) as asked (post_id, revision)
join revisions r on r.post_id = asked.post_id and r.revision = asked.revision
"""


async def titles_of(reader: Reader, revisions: Sequence[tuple[UUID, int]]) -> list[Any]:
    """Return the titles of these revisions, each a post and a number."""
    return await reader.fetch(SELECT_TITLES, [one for one, _ in revisions], [number for _, number in revisions])
