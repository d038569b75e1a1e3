"""Inbox: an event takes effect once, because its id is inserted in the transaction of the effect."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from services.chassis.database.pool import Transaction
from services.contracts.event import Envelope

INSERT_RECEIVED = """
insert into inbox (source, event_id)
select source, event_id from unnest($1::text[], $2::uuid[]) as received (source, event_id)
on conflict do nothing
returning source, event_id
"""


async def insert_new(tx: Transaction, envelopes: Sequence[Envelope]) -> set[tuple[str, UUID]]:
    """Insert the ids of these events and return (source, id) of those that are new."""
    rows = await tx.fetch(
        INSERT_RECEIVED, [envelope.source for envelope in envelopes], [envelope.id for envelope in envelopes]
    )
    return {(row["source"], row["event_id"]) for row in rows}


PRUNE = """
delete from inbox
where (source, event_id) in (
    select source, event_id from inbox where received_at < now() - $1::interval order by received_at limit $2
)
"""


async def prune(tx: Transaction, age: timedelta, most: int) -> int:
    """Delete up to `most` ids older than `age`, which must exceed every age at which an event can be redelivered.

    Returns:
        How many were deleted; fewer than `most` if none are left.
    """
    return await tx.execute(PRUNE, age, most)
