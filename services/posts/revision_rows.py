"""SQL of revisions: every text that a post had since it was published, and the one before."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.posts.domain.post import Post

INSERT_REVISION = """
insert into revisions (post_id, revision, title, body, edit_note, created_at, text_id)
values ($1, $2, $3, $4, $5, $6, $7)
"""


async def insert(tx: Transaction, post: Post, note: str | None, at: datetime) -> None:
    """Insert the present text of a post as its revision."""
    await tx.execute(INSERT_REVISION, post.id, post.revision, post.title, post.body, note, at, post.text_id)


REPLACE_REVISION = """
update revisions set title = $3, body = $4, edit_note = null, created_at = $5, text_id = $6
where post_id = $1 and revision = $2
"""


async def replace_text(tx: Transaction, post: Post, at: datetime) -> None:
    """Let the present text of a post be that of its revision, which nobody else has read."""
    await tx.execute(REPLACE_REVISION, post.id, post.revision, post.title, post.body, at, post.text_id)


BLANK_REVISION = """
update revisions set title = null, body = null, edit_note = null where post_id = $1 and revision = $2
"""


async def blank(tx: Transaction, post_id: UUID, revision: int) -> None:
    """Take away what a revision says; that there was one stays."""
    await tx.execute(BLANK_REVISION, post_id, revision)


SELECT_TEXT_IDS = "select revision, text_id, body is null as is_blank from revisions where post_id = $1"


async def text_ids(reader: Reader, post_id: UUID) -> list[Any]:
    """Return number and id of each text of a post, and whether it was taken away."""
    return await reader.fetch(SELECT_TEXT_IDS, post_id)


SELECT_NOTES = """
select revision, title, edit_note, created_at from revisions
where post_id = $1 and ($2::bigint is null or revision < $2)
order by revision desc
limit $3
"""


async def notes_before(reader: Reader, post_id: UUID, revision: int | None, limit: int) -> list[Any]:
    """Return revisions of a post without their texts, newest first, below `revision`."""
    return await reader.fetch(SELECT_NOTES, post_id, revision, limit)


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
select revision, title, body, edit_note, created_at, text_id from revisions where post_id = $1 and revision = $2
"""


async def find(reader: Reader, post_id: UUID, revision: int) -> Any | None:
    """Return one revision of a post, or None."""
    return await reader.fetchrow(SELECT_REVISION, post_id, revision)


SELECT_TITLES = """
select r.post_id as id, r.revision, r.title
from unnest($1::uuid[], $2::integer[]) as asked (post_id, revision)
join revisions r on r.post_id = asked.post_id and r.revision = asked.revision
where r.title is not null
"""


async def titles_of(reader: Reader, revisions: Sequence[tuple[UUID, int]]) -> list[Any]:
    """Return the titles of these revisions, each a post and a number, that were not blanked."""
    return await reader.fetch(SELECT_TITLES, [one for one, _ in revisions], [number for _, number in revisions])
