"""Transactional outbox: an event is written in the transaction that makes it true, and published afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import UUID

from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import invalid
from services.chassis.ids import new_id
from services.chassis.runtime import failpoint
from services.chassis.runtime.context import current
from services.contracts.event import Envelope, Event


@dataclass(frozen=True)
class OutboxRow:
    """An event that waits for the relay. `id` gives the order; `topic` is the name in `contracts.topics`."""

    id: int
    topic: str
    envelope: Envelope


INSERT_EVENT = """
insert into outbox (
    event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, payload
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""


def row(event: Event) -> tuple[object, ...]:
    """The event as the outbox keeps it, in the order of `INSERT_EVENT`'s parameters."""
    context = current()
    return (
        new_id(),
        event.topic.name,
        event.type,
        "/services/" + event.topic.name.partition(".")[0],
        event.subject,
        event.key,
        datetime.now(UTC),
        context.correlation_id,
        context.causation_id,
        context.traceparent,
        event.model_dump_json().encode(),
    )


async def add(tx: Transaction, event: Event) -> UUID:
    """Write the event into the open transaction and return its id.

    Lock the aggregate's row first (touch it in this transaction): only then do the rows of one aggregate take their
    outbox ids in the order of their commits, and the relay publishes by id.
    """
    values = row(event)
    await tx.execute(INSERT_EVENT, *values)
    tx.wakes_relay = True
    failpoint.reach("command.event_added")
    assert isinstance(values[0], UUID)
    return values[0]


ADD_WITH = """
with changed as ({change})
insert into outbox (
    event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, payload
)
select {values} from changed
"""


@cache
def _with_event(change: str, taken: int) -> str:
    types = ("uuid", "text", "text", "text", "uuid", "uuid", "timestamptz", "text", "uuid", "text", "bytea")
    return ADD_WITH.format(
        change=change, values=", ".join(f"${place}::{kind}" for place, kind in enumerate(types, taken + 1))
    )


async def add_with(tx: Transaction, change: str, args: Sequence[object], event: Event) -> bool:
    """The change of one row and its event in one statement; no event, and False, if the change finds no row.

    `change` ends in `returning`. It takes the row's lock before the event takes its outbox id, as `add` asks for.
    """
    if not await tx.execute(_with_event(change, len(args)), *args, *row(event)):
        return False
    tx.wakes_relay = True
    return True


async def add_all(tx: Transaction, rows: Sequence[tuple[object, ...]]) -> None:
    """Write several events, each made by `row` in the context it belongs to, in this order."""
    if rows:
        await tx.executemany(INSERT_EVENT, rows)
        tx.wakes_relay = True
        failpoint.reach("command.event_added")


REPUBLISH = """
update outbox set published_at = null where published_at >= $1
"""


async def republish(db: Database, since: datetime) -> int:
    """Have the relay publish every event again that was published since then; return how many.

    Readers know the events by their ids, so what they have handled stays handled.

    Raises:
        Problem: `invalid` for a time that does not lie within the last ten years.
    """
    if not timedelta(0) <= datetime.now(UTC) - since <= timedelta(days=3650):
        raise invalid("since", "must lie within the last ten years")
    async with db.transaction() as tx:
        count = await tx.execute(REPUBLISH, since)
        tx.wakes_relay = True
        return count


PRUNE = """
delete from outbox
where id in (select id from outbox where published_at < now() - $1::interval order by published_at limit $2)
"""


async def prune(tx: Transaction, age: timedelta, most: int = 5000) -> int:
    """Delete up to `most` rows published longer ago than `age`.

    Returns:
        How many were deleted; fewer than `most` when none are left.
    """
    return await tx.execute(PRUNE, age, most)
