"""Secret addresses of people's feeds of answers to them. Only hashes are kept; what is in a feed others compose."""

import hashlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Kept, Key
from services.chassis.database.pool import Database, Reader, Transaction
from services.chassis.errors import not_found
from services.notify.domain import Reason

ENTRIES = 50
ANSWERS = [Reason.REPLY_TO_YOU.value, Reason.ON_YOUR_POST.value]

UPSERT_FEED = """
insert into feeds (person_id, token_sha256) values ($1, $2)
on conflict (person_id) do update set token_sha256 = excluded.token_sha256
"""


async def make_feed(
    db: Database, person_id: UUID, draw: Callable[[UUID, str | None], str], key: Key | None = None
) -> CommandResult:
    """Make the feed of a person, whose address ends in a new token; an earlier address ends.

    The token is drawn from the idempotency key, if there is one: so a repetition is answered with the same token, which
    is stored nowhere.

    Raises:
        Problem: those of the idempotency key.
    """
    token = draw(person_id, key.key if key else None)
    async with db.transaction() as tx:
        kept = await idempotency.lock_and_find(tx, key)
        if kept is None:
            await tx.execute(UPSERT_FEED, person_id, fingerprint(token))
            await idempotency.keep(tx, key, Kept(201, None, person_id, {}))
    return CommandResult(201, {"token": token}, replayed=kept is not None)


DELETE_FEED = "delete from feeds where person_id = $1"


async def end_feed(db: Database, person_id: UUID) -> None:
    """End the address of a person's feed, if there is one."""
    async with db.statement() as tx:
        await tx.execute(DELETE_FEED, person_id)


DELETE_FEEDS = "delete from feeds"


async def end_all(tx: Transaction) -> int:
    """End the addresses of all feeds: after a restore it is not known which were ended since the backup."""
    return await tx.execute(DELETE_FEEDS)


SELECT_ANSWERS = """
select n.comment_id
from notifications n join feeds on feeds.person_id = n.person_id
where feeds.token_sha256 = $1 and n.announced and n.reasons && $2::text[]
order by n.id desc
limit $3
"""
SELECT_OWNER = "select person_id from feeds where token_sha256 = $1"


async def answers(db: Database, token: str) -> dict[str, Any]:
    """Return whose feed has this address, and the newest comments that answer this person, whatever became of them.

    Raises:
        Problem: `not-found` for the address of no feed.
    """
    async with db.reader() as reader:
        person_id = await _owner(reader, token)
        rows = await reader.fetch(SELECT_ANSWERS, fingerprint(token), ANSWERS, ENTRIES)
    return {"person_id": str(person_id), "comment_ids": [str(row["comment_id"]) for row in rows]}


async def _owner(reader: Reader, token: str) -> UUID:
    found: UUID | None = await reader.fetchval(SELECT_OWNER, fingerprint(token))
    if found is None:
        raise not_found()
    return found


def fingerprint(token: str) -> bytes:
    """Return the hash under which a token is kept. It has 256 random bits, so it needs no salt."""
    return hashlib.sha256(token.encode()).digest()
