"""Transactional outbox: an event is written in the transaction of the change it reports, and published afterwards.

The events of one aggregate reach Kafka in the order of their commits, because

1. a command locks the aggregate's row before it calls `add` or `add_all` (each service's commands), and a statement
   with `insert_with_each` does so before it writes events, so the outbox ids of the aggregate, drawn at the insert
   (`migrations/0001_messaging.sql`), are in commit order;
2. one relay at a time owns the slice of the aggregate (`outbox_slices.py`), and reads its unpublished rows in the order
   of their ids (`relay.py`);
3. the record key puts them all into one partition, of which one batch is in flight, acknowledged as a whole or not at
   all (`producer.py`).

A relay that was taken for dead may still send what it has read. That repeats events and reorders none: whatever a relay
sends of an aggregate begins with the first row that was not marked when it read, all before it had been acknowledged,
and leaves none out behind it. So a reader that drops what it knows sees the order of the commits.

The column `epoch` fills itself (`migrations/0004_epochs.sql`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database, Reader, Transaction
from services.chassis.errors import invalid
from services.chassis.ids import new_id
from services.chassis.runtime import failpoint
from services.chassis.runtime.context import Context, current
from services.contracts.event import Envelope, Event, rfc3339


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


TYPES = ("uuid", "text", "text", "text", "uuid", "uuid", "timestamptz", "text", "uuid", "text", "bytea")


def new_row(event: Event, cause: Context | None = None) -> tuple[object, ...]:
    """Return the event as parameters of `INSERT_EVENT`, with a new event id and the context that caused it.

    Args:
        cause: the current context if not given.
    """
    context = cause or current()
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
    added(tx)
    assert isinstance(values[0], UUID)
    return values[0]


# The arrays stand in subqueries to hide their lengths from the planner, which would else plan each batch anew.
INSERT_EVENTS = """
insert into outbox (
    event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, payload
)
select event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, payload
from unnest(
    (select $1::uuid[]), (select $2::text[]), (select $3::text[]), (select $4::text[]), (select $5::uuid[]),
    (select $6::uuid[]), (select $7::timestamptz[]), (select $8::text[]), (select $9::uuid[]), (select $10::text[]),
    (select $11::bytea[])
) with ordinality as given (
    event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, payload, place
)
order by place
"""


async def add_all(tx: Transaction, rows: Sequence[tuple[object, ...]]) -> None:
    """Write several events in this order, each made by `new_row` in its own context."""
    if rows:
        await tx.execute(INSERT_EVENTS, *zip(*rows, strict=True))
        added(tx)


INSERT_WITH_EACH = """
insert into outbox (
    event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, payload
)
select event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, payload
from unnest(
    {values}
) with ordinality as event (
    event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, payload, place
) join (select place from {changed}) as changed using (place)
order by place
"""


def insert_with_each(changed: str, taken: int) -> str:
    """Return the part of a statement that writes an event for each `place` of `changed`, in their order.

    A place is the number of one of the rows that are given, each made by `new_row`: 1 for the first.

    Args:
        changed: the name of a subquery. It locks what the events are about before it returns their places.
        taken: how many parameters the statement has before those of the events.
    """
    values = ", ".join(f"(select ${place}::{kind}[])" for place, kind in enumerate(TYPES, taken + 1))
    return INSERT_WITH_EACH.format(changed=changed, values=values)


@cache
def _with_each_event(change: str, taken: int) -> str:
    return f"with changed as ({change}) {insert_with_each('changed', taken)} returning event_id"


async def add_with_each(
    tx: Transaction, change: str, args: Sequence[object], rows: Sequence[tuple[object, ...]]
) -> list[bool]:
    """Change several rows and write an event for each that was changed, in one statement and in the order of `rows`.

    `change` returns the `place` of each row that it has changed: 1 for the first of `rows`, each made by `new_row`. It
    locks them all before the first event gets its outbox id.

    Returns:
        For each whether its row was changed, and so its event written.
    """
    columns = zip(*rows, strict=True)
    added = {row["event_id"] for row in await tx.fetch(_with_each_event(change, len(args)), *args, *columns)}
    tx.wakes_relay = tx.wakes_relay or bool(added)
    return [row[0] in added for row in rows]


def added(tx: Transaction) -> None:
    """Let the relay be woken for what a statement with `insert_with_each` has written."""
    tx.wakes_relay = True
    failpoint.reach("command.event_added")


BATCH = 5_000  # rows that one call looks at
FULL = 5_000  # unpublished rows with which nothing is added that can wait

SELECT_BACKLOG = "select count(*) from (select from outbox where published_at is null limit $1) as waiting"


async def is_full(reader: Reader) -> bool:
    """Return whether so many events wait for the relay that republishing and stating must wait."""
    return bool(await reader.fetchval(SELECT_BACKLOG, FULL) >= FULL)


COUNT_BATCH = """
select count(*) as seen, count(*) filter (where published_at >= $2) as count, max(id) as last
from (select id, published_at from outbox where id > $1 order by id limit $3) as batch
"""
REPUBLISH_BATCH = """
with batch as (
    select id, published_at from outbox where id > $1 order by id limit $3
), again as (
    update outbox set published_at = null
    where id in (select id from batch where published_at >= $2) and published_at >= $2
    returning id
)
select count(*) as seen, (select count(*) from again) as count, max(id) as last from batch
"""
SELECT_OLDEST = "select id, published_at from outbox where published_at is not null order by id limit 1"


async def republish(db: Database, since: datetime, after: int = 0, *, dry_run: bool = False) -> dict[str, Any]:
    """Make the relay publish again what was published since then, among the next `BATCH` rows behind the id `after`.

    Consumers drop the events they have handled by their ids. Each call is a transaction of its own, so a repetition
    goes on anywhere; it changes nothing while the relay has enough to do.

    Returns:
        count: how many of them are published again.
        next: the id behind which the next call goes on; None at the end.
        is_full: whether nothing was done because the relay has enough to do.
        kept_since: when the oldest row was published, if earlier ones were deleted; else None.

    Raises:
        Problem: `invalid` for a time outside the last ten years.
    """
    if not timedelta(0) <= datetime.now(UTC) - since <= timedelta(days=3650):
        raise invalid("since", "must lie within the last ten years")
    async with db.transaction() as tx:
        oldest = await tx.fetchrow(SELECT_OLDEST)
        kept_since = rfc3339(oldest["published_at"]) if oldest and oldest["id"] > 1 else None
        if not dry_run and await is_full(tx):
            return {"count": 0, "next": after, "is_full": True, "kept_since": kept_since}
        row = await tx.fetchrow(COUNT_BATCH if dry_run else REPUBLISH_BATCH, after, since, BATCH)
        assert row is not None
        tx.wakes_relay = not dry_run
    following = row["last"] if row["seen"] == BATCH else None
    return {"count": row["count"], "next": following, "is_full": False, "kept_since": kept_since}


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
