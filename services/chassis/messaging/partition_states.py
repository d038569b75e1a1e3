"""Partition states: whether a consumer may read a partition, in the service's own database.

The brake writes them where records fail, operators write them through the internal API, and the consumer obeys. So a
restart or a rebalance finds a partition as it was left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.chassis.database.pool import Reader, Transaction

BY_OPERATOR = "paused by an operator"


@dataclass(frozen=True)
class PartitionState:
    """The state of one partition for one group.

    Attributes:
        topic: without the prefix.
        next_offset: where the partition stands: the first failed record that was not put aside; None until the
            consumer has paused there.
        failures: records in a row that could not be handled.
        last_failed: the last record that `failures` counts.
        since: when state or row of failures began.
        skip_first: with `skip_last` the records to put aside while `skipping`, and the last ones put aside after it.
    """

    topic: str
    partition: int
    state: Literal["running", "paused", "stopped"]
    next_offset: int | None
    failures: int
    last_failed: int | None
    reason: str | None
    since: datetime
    skip_first: int | None
    skip_last: int | None
    skipping: bool


SELECT_STATES = """
select topic, partition, state, next_offset, failures, last_failed, reason, since, skip_first, skip_last, skipping
from consumer_partitions
where consumer_group = $1
order by topic, partition
"""


async def select_states(reader: Reader, group: str) -> list[PartitionState]:
    """Return the states of the group; a partition without one runs."""
    return [PartitionState(**row) for row in await reader.fetch(SELECT_STATES, group)]


LOCK_STATES = SELECT_STATES + "for update"


async def lock_states(tx: Transaction, group: str) -> list[PartitionState]:
    """Return the states of the group, locked."""
    return [PartitionState(**row) for row in await tx.fetch(LOCK_STATES, group)]


UPSERT_FAILURES = """
insert into consumer_partitions as present
    (consumer_group, topic, partition, state, next_offset, failures, last_failed, reason)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (consumer_group, topic, partition) do update set
    state = case when present.state = 'running' then excluded.state else present.state end,
    since = case when present.state = 'running' and (present.failures = 0 or excluded.state = 'stopped')
                 then now() else present.since end,
    reason = case when present.state = 'running' then excluded.reason else present.reason end,
    next_offset = excluded.next_offset,
    failures = excluded.failures,
    last_failed = excluded.last_failed
"""


async def upsert_failures(
    tx: Transaction,
    group: str,
    topic: str,
    partition: int,
    *,
    stops: bool,
    next_offset: int,
    failures: int,
    last_failed: int,
    reason: str,
) -> None:
    """Count failures in a row, and stop the partition. One that an operator has paused meanwhile stays paused."""
    state = "stopped" if stops else "running"
    await tx.execute(UPSERT_FAILURES, group, topic, partition, state, next_offset, failures, last_failed, reason)


CLEAR_FAILURES = """
update consumer_partitions
set failures = 0, last_failed = null, next_offset = null, reason = null, since = now()
where consumer_group = $1 and topic = $2 and partition = $3 and state = 'running'
"""


async def clear_failures(tx: Transaction, group: str, topic: str, partition: int) -> None:
    """Forget the row of failures after a success."""
    await tx.execute(CLEAR_FAILURES, group, topic, partition)


UPDATE_POSITION = """
update consumer_partitions set next_offset = $4
where consumer_group = $1 and topic = $2 and partition = $3
  and state <> 'running' and not skipping and next_offset is distinct from $4
"""


async def update_position(tx: Transaction, group: str, topic: str, partition: int, offset: int) -> None:
    """Store where a consumer has paused."""
    await tx.execute(UPDATE_POSITION, group, topic, partition, offset)


END_SKIP = """
update consumer_partitions
set state = 'running', skipping = false, failures = 0, last_failed = null, next_offset = null, reason = null,
    since = now()
where consumer_group = $1 and topic = $2 and partition = $3 and skipping
"""


async def end_skip(tx: Transaction, group: str, topic: str, partition: int) -> None:
    """Let the partition run after its records were put aside."""
    await tx.execute(END_SKIP, group, topic, partition)


PAUSE = """
insert into consumer_partitions as present (consumer_group, topic, partition, state, reason)
select $1, topic, partition, 'paused', $4 from unnest($2::text[], $3::integer[]) as wanted (topic, partition)
on conflict (consumer_group, topic, partition) do update
set state = 'paused', reason = excluded.reason, next_offset = null, since = now()
where present.state = 'running'
"""


async def pause(tx: Transaction, group: str, partitions: Sequence[tuple[str, int]]) -> None:
    """Pause running partitions."""
    await tx.execute(
        PAUSE, group, [topic for topic, _ in partitions], [number for _, number in partitions], BY_OPERATOR
    )


RESUME = """
update consumer_partitions
set state = 'running', skipping = false, failures = 0, last_failed = null, next_offset = null, reason = null,
    since = now()
where consumer_group = $1
  and (topic, partition) in (select topic, partition from unnest($2::text[], $3::integer[]) as w (topic, partition))
"""


async def resume(tx: Transaction, group: str, partitions: Sequence[tuple[str, int]]) -> None:
    """Let partitions run again, with a fresh count; what is not skipped yet is tried."""
    await tx.execute(RESUME, group, [topic for topic, _ in partitions], [number for _, number in partitions])


SKIP = """
update consumer_partitions set skipping = true, skip_first = $4, skip_last = $5
where consumer_group = $1 and topic = $2 and partition = $3
"""


async def skip(tx: Transaction, group: str, topic: str, partition: int, first: int, last: int) -> None:
    """Ask the consumer to put these records aside."""
    await tx.execute(SKIP, group, topic, partition, first, last)
