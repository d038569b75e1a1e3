"""SQL of the pictures of people."""

from uuid import UUID

from services.chassis.database.pool import Reader, Transaction

UPSERT_AVATAR = """
insert into avatars (person_id, digest, content) values ($1, $2, $3)
on conflict (person_id) do update set digest = excluded.digest, content = excluded.content
"""
UPDATE_VERSION = "update people set version = version + 1 where id = $1"


async def replace(tx: Transaction, person_id: UUID, digest: str, content: bytes) -> None:
    """Give a person whose row is locked another picture."""
    await tx.execute(UPSERT_AVATAR, person_id, digest, content)
    await tx.execute(UPDATE_VERSION, person_id)


DELETE_AVATAR = "delete from avatars where person_id = $1"


async def delete(tx: Transaction, person_id: UUID) -> None:
    """Delete the picture of a person; the caller changes the version."""
    await tx.execute(DELETE_AVATAR, person_id)


async def take_away(tx: Transaction, person_id: UUID) -> None:
    """Delete the picture of a person whose row is locked and who stays."""
    await delete(tx, person_id)
    await tx.execute(UPDATE_VERSION, person_id)


SELECT_DIGEST = "select digest from avatars where person_id = $1"


async def digest_of(reader: Reader, person_id: UUID) -> str | None:
    """Return the digest of a person's picture."""
    found: str | None = await reader.fetchval(SELECT_DIGEST, person_id)
    return found


SELECT_CONTENT = "select content from avatars where person_id = $1"


async def content_of(reader: Reader, person_id: UUID) -> bytes | None:
    """Return the file of a person's picture."""
    found: bytes | None = await reader.fetchval(SELECT_CONTENT, person_id)
    return found
