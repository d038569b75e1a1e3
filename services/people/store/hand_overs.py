"""Rows of sign-ins that front ends elsewhere have still to fetch."""

from uuid import UUID

from services.chassis.database.pool import Transaction
from services.people.domain import HAND_OVER_LIFE

INSERT = """
insert into hand_overs (code_sha256, person_id, challenge, expires_at) values ($1, $2, $3, now() + $4::interval)
"""


async def insert(tx: Transaction, code_sha256: bytes, person_id: UUID, challenge: str) -> None:
    """Insert a sign-in of this person, for the front end that knows the verifier of the challenge."""
    await tx.execute(INSERT, code_sha256, person_id, challenge, HAND_OVER_LIFE)


SELECT_PERSON = "select person_id from hand_overs where code_sha256 = $1"


async def person_of(tx: Transaction, code_sha256: bytes) -> UUID | None:
    """Return whose sign-in it is; this waits for no lock."""
    person_id: UUID | None = await tx.fetchval(SELECT_PERSON, code_sha256)
    return person_id


USE = """
update hand_overs set used_at = now()
where code_sha256 = $1 and challenge = $2 and used_at is null and expires_at > now()
"""


async def use(tx: Transaction, code_sha256: bytes, challenge: str) -> bool:
    """Mark it as fetched; return False for another challenge, and if it was fetched before or has expired."""
    return await tx.execute(USE, code_sha256, challenge) == 1


COUNT_PENDING = "select count(*) from hand_overs where person_id = $1 and used_at is null and expires_at > now()"


async def pending(tx: Transaction, person_id: UUID) -> int:
    """Count the hand-overs of a person that can still be fetched."""
    return int(await tx.fetchval(COUNT_PENDING, person_id))


DELETE_OF_PERSON = "delete from hand_overs where person_id = $1"


async def delete_of(tx: Transaction, person_id: UUID) -> None:
    """Delete those of a person."""
    await tx.execute(DELETE_OF_PERSON, person_id)


DELETE_ALL = "delete from hand_overs"


async def delete_all(tx: Transaction) -> None:
    """Delete every hand-over, used or not."""
    await tx.execute(DELETE_ALL)


PRUNE = "delete from hand_overs where expires_at < now() - interval '1 day'"


async def prune(tx: Transaction) -> int:
    """Delete those that expired a day ago."""
    return await tx.execute(PRUNE)
