"""The brake: stops one partition when more than 20 of its records in a row cannot be handled.

The dead letters of such failures are held back until the partition has a success or is quiet for a second, so that a
burst that ends in a stop leaves none. The count is kept in the database; a restart goes on counting where the last
process ended.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from aiokafka import TopicPartition

from services.chassis.database.pool import Database
from services.chassis.messaging import partition_states
from services.chassis.messaging.decoding import DecodedRecord
from services.chassis.messaging.partition_states import PartitionState
from services.chassis.runtime.telemetry import PARTITION_PAUSED, PARTITION_STOPPED
from services.contracts.topics import Topic

log = structlog.get_logger(__name__)

MAX_CONSECUTIVE_FAILURES = 20
HOLD_SECONDS = 1.0  # after so long without a further failure the held dead letters are sent; the count stays
MAX_REASON_LENGTH = 1000
LATELY_SECONDS = 30  # more than the watchdog sleeps between two looks


@dataclass(frozen=True)
class HeldLetter:
    """A record that could not be handled and is not put aside yet."""

    item: DecodedRecord
    error: Exception
    attempts: int

    @property
    def offset(self) -> int:
        return int(self.item.record.offset)


class FailureRow:
    """Failures in a row of one partition.

    Attributes:
        last: the last record counted; one that is read again is not counted again.
        letters: those that are not put aside yet.
        done: the offset up to which the partition was processed.
    """

    def __init__(self, failures: int = 0, last: int = -1) -> None:
        self.failures = failures
        self.last = last
        self.letters: list[HeldLetter] = []
        self.done = 0
        self.written = failures > 0
        self.is_noted = True
        self.changed_at = 0.0

    def add(self, letter: HeldLetter) -> None:
        if self.letters and letter.offset <= self.letters[-1].offset:
            self.letters.clear()  # they are read again
        self.letters.append(letter)
        if letter.offset > self.last:
            self.failures, self.last = self.failures + 1, letter.offset
        self.is_noted = False
        self.changed_at = time.monotonic()


class Brake:
    """Counts failures in a row, and knows the states of all partitions of the group.

    Attributes:
        states: as they were read last.
        halted: partitions that are stopped or paused.
        counting: partitions with a row of failures.
        stopping: partitions that were stopped here and are not paused at the client yet.
    """

    def __init__(self, group: str, topics: Sequence[Topic], db: Database, prefix: str) -> None:
        self._group = group
        self._db = db
        self._prefix = prefix
        self._all = [
            TopicPartition(prefix + topic.name, number) for topic in topics for number in range(topic.partitions)
        ]
        self._rows: dict[TopicPartition, FailureRow] = {}
        self.states: dict[TopicPartition, PartitionState] = {}
        self.halted: frozenset[TopicPartition] = frozenset()
        self.counting: set[TopicPartition] = set()
        self.stopping: set[TopicPartition] = set()
        self._show()

    async def look(self) -> None:
        """Read the states of the group.

        Raises:
            Problem: the database is unavailable.
        """
        async with self._db.reader() as reader:
            states = await partition_states.select_states(reader, self._group)
        self.states = {TopicPartition(self._prefix + state.topic, state.partition): state for state in states}
        self.halted = frozenset(partition for partition, state in self.states.items() if state.state != "running")
        self.counting = {*self._rows, *(partition for partition, state in self.states.items() if state.failures)}
        self._show()

    async def read_halted(self) -> frozenset[TopicPartition]:
        """Return the partitions that are stopped or paused now, or were until a moment ago.

        Raises:
            Problem: the database is unavailable.
        """
        async with self._db.reader() as reader:
            states = await partition_states.select_states(reader, self._group)
        lately = datetime.now(UTC) - timedelta(seconds=LATELY_SECONDS)
        return frozenset(
            TopicPartition(self._prefix + state.topic, state.partition)
            for state in states
            if state.state != "running" or state.since > lately
        )

    def _show(self) -> None:
        for partition in self._all:
            labels = (self._group, partition.topic.removeprefix(self._prefix), str(partition.partition))
            state = self.states[partition].state if partition in self.states else "running"
            PARTITION_STOPPED.labels(*labels).set(state == "stopped")
            PARTITION_PAUSED.labels(*labels).set(state == "paused")

    def fail(self, partition: TopicPartition, letter: HeldLetter) -> bool:
        """Count a record that could not be handled; return whether the partition must stop."""
        if partition not in self._rows:
            self._rows[partition] = self._continued(partition, letter.offset)
            self.counting.add(partition)
        row = self._rows[partition]
        row.add(letter)
        return row.failures > MAX_CONSECUTIVE_FAILURES

    def _continued(self, partition: TopicPartition, offset: int) -> FailureRow:
        """Return the row as a process before this one left it. A topic that was made anew begins a new one."""
        state = self.states.get(partition)
        if state is None or state.last_failed is None or state.next_offset is None or offset < state.next_offset:
            return FailureRow()
        return FailureRow(state.failures, state.last_failed)

    async def succeed(self, partition: TopicPartition) -> list[HeldLetter]:
        """Forget the row of failures, and return its letters, which can be put aside now."""
        row, state = self._rows.get(partition), self.states.get(partition)
        if (row is not None and row.written) or (state is not None and state.failures):
            async with self._db.statement() as tx:
                await partition_states.clear_failures(tx, self._group, *self._key(partition))
            self.states.pop(partition, None)
        self._rows.pop(partition, None)
        self.counting.discard(partition)
        return row.letters if row is not None else []

    async def note(self, partition: TopicPartition, *, stops: bool = False) -> None:
        """Write the row of failures of a partition, if it has grown."""
        row = self._rows.get(partition)
        if row is None or row.is_noted:
            return
        last = row.letters[-1]
        reason = f"{type(last.error).__name__}: {last.error}".replace("\0", "")[:MAX_REASON_LENGTH]
        async with self._db.statement() as tx:
            await partition_states.upsert_failures(
                tx,
                self._group,
                *self._key(partition),
                stops=stops,
                next_offset=row.letters[0].offset,
                failures=row.failures,
                last_failed=row.last,
                reason=reason.encode("utf-8", "replace").decode(),
            )
        row.written = row.is_noted = True

    async def stop(self, partition: TopicPartition) -> None:
        """Stop a partition. Its letters are dropped when it is paused: they are read again after a resume."""
        row = self._rows[partition]
        self.stopping.add(partition)
        await self.note(partition, stops=True)
        topic, number = self._key(partition)
        log.critical(
            "partition stopped",
            group=self._group,
            topic=topic,
            partition=number,
            offset=row.letters[0].offset,
            failures=row.failures,
            error=repr(row.letters[-1].error),
            help=f"rapport consumer status {self._group}",
        )
        await self.look()

    def first_held(self, partition: TopicPartition) -> int | None:
        """Return the first offset of the letters that are held back, None without any."""
        row = self._rows.get(partition)
        return row.letters[0].offset if row is not None and row.letters else None

    def processed(self, partition: TopicPartition, offset: int | None) -> int | None:
        """Remember up to where a partition was processed, and return the offset that may be committed."""
        first = self.first_held(partition)
        if first is None or offset is None:
            return offset
        self._rows[partition].done = offset
        return min(first, offset)

    def quiet(self) -> list[tuple[TopicPartition, FailureRow]]:
        """Return the rows whose letters were held long enough, and which were processed up to behind their letters."""
        before = time.monotonic() - HOLD_SECONDS
        return [
            (partition, row)
            for partition, row in self._rows.items()
            if row.letters
            and row.letters[-1].offset < row.done
            and row.changed_at <= before
            and partition not in self.halted | self.stopping
        ]

    def forget(self, partitions: Collection[TopicPartition] | None = None) -> None:
        """Drop the letters held of partitions, or of all: their records are read again, here or by another member."""
        for partition in [*self._rows] if partitions is None else partitions:
            self._rows.pop(partition, None)
            self.stopping.discard(partition)

    async def paused_at(self, partition: TopicPartition, offset: int) -> None:
        """Store where a partition was paused."""
        async with self._db.statement() as tx:
            await partition_states.update_position(tx, self._group, *self._key(partition), offset)

    async def end_skip(self, partition: TopicPartition) -> None:
        """Let a partition run after its records were put aside."""
        async with self._db.statement() as tx:
            await partition_states.end_skip(tx, self._group, *self._key(partition))
        await self.look()

    def _key(self, partition: TopicPartition) -> tuple[str, int]:
        return partition.topic.removeprefix(self._prefix), int(partition.partition)
