"""SQL of what posts knows of people: whether they may write, and whether they were erased."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction

UPSERT_PERSON = """
with before as (select is_author from people where person_id = $1)
insert into people (person_id, epoch, version, is_author, erased_at)
values ($1, $2, $3, $4 and not $5, case when $5 then now() end)
on conflict (person_id) do update set
    epoch = excluded.epoch, version = excluded.version,
    is_author = excluded.is_author and people.erased_at is null,
    erased_at = coalesce(people.erased_at, excluded.erased_at)
where (people.epoch, people.version) < (excluded.epoch, excluded.version)
    or people.erased_at is null and excluded.erased_at is not null
returning (select is_author from before) as was_author
"""


async def upsert(
    tx: Transaction, person_id: UUID, epoch: int, version: int, *, is_author: bool, is_erased: bool
) -> Any | None:
    """Store a person, unless a newer (epoch, version) is known; an erasure is stored however late it comes, and stays.

    Returns:
        Whether the person was known as an author, None if they were not known; no row if nothing was stored.
    """
    return await tx.fetchrow(UPSERT_PERSON, person_id, epoch, version, is_author, is_erased)


SELECT_KNOWN = """
select person_id as id, person_id as key, epoch, version, false as gone from people
where person_id > $1
order by person_id
limit $2
"""
SELECT_KNOWN_OF = """
select person_id as id, person_id as key, epoch, version, false as gone from people where person_id = any($1::uuid[])
"""


async def known(reader: Reader, after: UUID, ids: Sequence[UUID] | None, limit: int) -> list[Any]:
    """Return id, key, epoch and version of the next known people behind an id, or of those with these ids."""
    if ids is not None:
        return await reader.fetch(SELECT_KNOWN_OF, ids)
    return await reader.fetch(SELECT_KNOWN, after, limit)


LOCK_SHOWING = """
select posts.id from posts
where cover in (
    select images.id from images join people on people.person_id = images.author_id
    where people.erased_at is not null and not people.pictures_deleted
)
order by posts.id
limit $1
for update of posts
"""


async def lock_showing(tx: Transaction, limit: int) -> list[UUID]:
    """Lock posts for which a picture of an erased person stands, and return their ids."""
    return [row["id"] for row in await tx.fetch(LOCK_SHOWING, limit)]


DELETE_PICTURES = """
delete from images where id in (
    select images.id from images join people on people.person_id = images.author_id
    where people.erased_at is not null and not people.pictures_deleted
    limit $1
)
"""


async def delete_pictures(tx: Transaction, limit: int) -> int:
    """Delete pictures of erased people; return how many."""
    return await tx.execute(DELETE_PICTURES, limit)


NOTE_DELETED = """
update people set pictures_deleted = true
where erased_at < now() - interval '10 minutes' and not pictures_deleted
      and not exists (select from images where author_id = person_id)
"""


async def note_deleted(tx: Transaction) -> None:
    """Look no more for pictures of those who were erased so long ago that no request of theirs can be under way."""
    await tx.execute(NOTE_DELETED)
