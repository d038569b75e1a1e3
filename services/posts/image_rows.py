"""SQL of pictures."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.chassis.messaging.retention import BATCH_SIZE

INSERT_IMAGE = "insert into images (id, author_id, width, height, content) values ($1, $2, $3, $4, $5)"


async def insert(tx: Transaction, image_id: UUID, author_id: UUID, width: int, height: int, content: bytes) -> None:
    """Insert a picture; nothing shows it yet."""
    await tx.execute(INSERT_IMAGE, image_id, author_id, width, height, content)


SELECT_CONTENT = "select content from images where id = $1"


async def content_of(reader: Reader, image_id: UUID) -> bytes | None:
    """Return the file of a picture."""
    found: bytes | None = await reader.fetchval(SELECT_CONTENT, image_id)
    return found


SELECT_SIZE = "select width, height from images where id = $1"


async def size_of(reader: Reader, image_id: UUID) -> Any | None:
    """Return width and height of a picture."""
    return await reader.fetchrow(SELECT_SIZE, image_id)


HOLD_COVER = "select true from images where id = $1 and author_id = any($2::uuid[]) for key share"


async def hold_cover(tx: Transaction, image_id: UUID, owners: Collection[UUID]) -> bool:
    """Keep a picture until the transaction ends; return False unless it belongs to one of these people."""
    return bool(await tx.fetchval(HOLD_COVER, image_id, list(owners)))


HOLD_SHOWN = "select from images where id = any(image_ids($1)) order by id for key share"


async def hold_shown(tx: Transaction, body: str) -> None:
    """Keep the pictures that a text shows until the transaction ends, and with it the text is stored."""
    if "/images/" in body:
        await tx.fetch(HOLD_SHOWN, body)


RELEASE = "update images set free_since = now() where id = $1"


async def release(tx: Transaction, image_id: UUID) -> None:
    """Note that a picture is no cover any more: it stays for a day, so that this can be undone."""
    await tx.execute(RELEASE, image_id)


RELEASE_SHOWN = """
update images set free_since = now()
where id in (select id from images where id = any(image_ids($1)) order by id for no key update)
"""


async def release_shown(tx: Transaction, body: str) -> None:
    """Note that a draft does not show these pictures any more: they stay for a day, so that this can be undone."""
    if "/images/" in body:
        await tx.execute(RELEASE_SHOWN, body)


LOCK_UNUSED = """
select id from images as image
where free_since < now() - interval '1 day'
      and not exists (select from posts where cover = image.id)
      and not exists (select from posts where position('/images/' in body) > 0 and image_ids(body) @> array[image.id])
      and not exists (
          select from revisions where position('/images/' in body) > 0 and image_ids(body) @> array[image.id]
      )
order by free_since
limit $1
for update skip locked
"""
DELETE_UNUSED = """
delete from images as image
where id = any($1::uuid[])
      and not exists (select from posts where cover = image.id)
      and not exists (select from posts where position('/images/' in body) > 0 and image_ids(body) @> array[image.id])
      and not exists (
          select from revisions where position('/images/' in body) > 0 and image_ids(body) @> array[image.id]
      )
"""


async def prune(tx: Transaction) -> int:
    """Delete pictures that no post, no revision and no cover has shown for a day; return how many.

    They are locked first and judged again: a text that was stored in between held its pictures.
    """
    unused = [row["id"] for row in await tx.fetch(LOCK_UNUSED, BATCH_SIZE)]
    return await tx.execute(DELETE_UNUSED, unused) if unused else 0
