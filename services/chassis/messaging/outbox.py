"""Transactional outbox: an event is written in the transaction of the change it reports, and published afterwards.

The events of one aggregate reach Kafka in the order of their commits, because

1. a command locks the aggregate's row before it calls `add`, `add_all` or `add_with` (each service's commands), so the
   outbox ids of the aggregate, drawn at the insert (`migrations/0001_messaging.sql`), are in commit order;
2. one relay at a time owns the outbox, and reads the unpublished rows in the order of their ids (`relay.py`);
3. the record key puts them all into one partition, of which one batch is in flight, acknowledged as a whole or not at
   all (`producer.py`).

The column `epoch` fills itself (`migrations/0004_epochs.sql`).
"""

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
    """An unpublished event. `id` determines the order; `topic` is the name in `contracts.topics`."""

    id: int
    topic: str
    envelope: Envelope


INSERT_EVENT = """
insert into outbox (
    event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, payload
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""


def new_row(event: Event) -> tuple[object, ...]:
    """Return the event as parameters of `INSERT_EVENT`, with a new event id and the current context."""
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
    """Write the event in the open transaction and return its id. Lock the aggregate's row first; see the module."""
    values = new_row(event)
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
    """Change one row and write its event in one statement; return False, without an event, if no row was changed.

    `change` ends in `returning`. It locks the row before the event gets its outbox id.
    """
    if not await tx.execute(_with_event(change, len(args)), *args, *new_row(event)):
        return False
    tx.wakes_relay = True
    return True


async def add_all(tx: Transaction, rows: Sequence[tuple[object, ...]]) -> None:
    """Write several events in this order, each made by `new_row` in its own context."""
    if rows:
        await tx.executemany(INSERT_EVENT, rows)
        tx.wakes_relay = True
        failpoint.reach("command.event_added")


REPUBLISH = """
update outbox set published_at = null where published_at >= $1
"""


async def republish(db: Database, since: datetime) -> int:
    """Make the relay publish all events again that were published since then; return how many.

    Consumers drop the events they have handled by their ids.

    Raises:
        Problem: `invalid` for a time outside the last ten years.
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


async def prune(tx: Transaction, age: timedelta, most: int) -> int:
    """Delete up to `most` rows published longer ago than `age`.

    Returns:
        How many were deleted; fewer than `most` if none are left.
    """
    return await tx.execute(PRUNE, age, most)
