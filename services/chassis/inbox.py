"""Inbox: an event is handled once, because its id is written in the transaction of its effect."""

from datetime import timedelta

from services.chassis.database import Transaction
from services.contracts.event import Envelope

INSERT_RECEIVED = "insert into inbox (source, event_id) values ($1, $2) on conflict do nothing"


async def once(tx: Transaction, envelope: Envelope) -> bool:
    """True the first time an event is seen; False for every duplicate. The id decides and nothing else does."""
    return await tx.execute(INSERT_RECEIVED, envelope.source, envelope.id) == 1


PRUNE = "delete from inbox where received_at < now() - $1::interval"


async def prune(tx: Transaction, age: timedelta) -> int:
    """Forget ids received longer ago than `age`, which must exceed every age at which an event can come back."""
    return await tx.execute(PRUNE, age)
