"""The record processor on real PostgreSQL: partitions share transactions until one of their records fails."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from uuid import UUID, uuid4

import pytest
from aiokafka import TopicPartition

from services.chassis.database.pool import Transaction
from services.chassis.errors import unavailable
from services.chassis.messaging.brake import Brake
from services.chassis.messaging.cloudevents import Headers, to_headers, to_key
from services.chassis.messaging.dead_letter_writer import DeadLetterWriter
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.patience import Patience
from services.chassis.messaging.record_processor import RecordProcessor
from services.chassis.runtime.settings import Settings
from services.contracts.event import Envelope
from services.contracts.people import PersonRenamed
from services.contracts.topics import PEOPLE
from tests.conftest import NewDatabase, OwnDatabase
from tests.integration.chassis_effects import GROUP, Effects
from tests.integration.chassis_harness import envelope_of, renamed_event

GARBAGE = -1
TRANSACTIONS = "select array_agg(version order by id) as versions from effects group by xmin::text"


@dataclass(frozen=True)
class Record:
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Headers


class LetterBox:
    """Stands for the writer of dead letters."""

    def __init__(self) -> None:
        self.offsets: list[int] = []

    async def put_aside(self, record: Record, *_: object) -> None:
        self.offsets.append(record.offset)


@pytest.fixture
async def effects(new_database: NewDatabase) -> Effects:
    db = await new_database("services.chassis")
    async with db.transaction() as tx:
        await tx.execute(
            "create table effects (id bigint generated always as identity, event_id uuid, person_id uuid, version int)"
        )
    return Effects(db)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.chassis.messaging.record_processor.RETRY_SECONDS", (0.0,) * 5)


class Poll:
    """Records that were polled, and what processes them."""

    def __init__(self, db: OwnDatabase, handlers: Handlers, batch: int) -> None:
        self.records: dict[TopicPartition, list[Record]] = defaultdict(list)
        self.letters = LetterBox()
        patience, settings = Patience(GROUP), Settings(consumer_batch=batch)
        brake, writer = Brake(GROUP, [PEOPLE], db, ""), cast(DeadLetterWriter, self.letters)
        self.processor = RecordProcessor(GROUP, handlers, db, brake, writer, patience, settings)
        self.people: dict[int, UUID] = defaultdict(uuid4)

    def add(self, partition: int, *versions: int, again: Envelope | None = None) -> Envelope:
        """Add events about the one person of a partition, or one event again; return the last one's envelope."""
        records = self.records[TopicPartition(PEOPLE.name, partition)]
        for version in versions or (0,):
            envelope = again or envelope_of(renamed_event(self.people[partition], version))
            headers = to_headers(envelope)
            value = envelope.data if version != GARBAGE else b"{}"
            records.append(Record(PEOPLE.name, partition, len(records), to_key(envelope), value, headers))
        return envelope

    async def process(self, stop: asyncio.Event | None = None) -> dict[int, int]:
        done = await self.processor.process(self.records, stop or asyncio.Event())
        return {partition.partition: offset for partition, offset in done.items()}

    async def release(self) -> dict[int, int]:
        done = await self.processor.release(asyncio.Event())
        return {partition.partition: offset for partition, offset in done.items()}


async def transactions(effects: Effects) -> list[list[int]]:
    """Return the versions that were handled in each transaction, in their order."""
    async with effects.db.reader() as reader:
        return sorted(row["versions"] for row in await reader.fetch(TRANSACTIONS))


async def test_partitions_share_transactions(effects: Effects) -> None:
    poll = Poll(effects.db, effects.handlers, batch=4)
    poll.add(0, 1, 2, 3)
    poll.add(1, 4, 5)
    poll.add(2, 6, 7, 8, 9)
    assert await poll.process() == {0: 3, 1: 2, 2: 4}
    assert await transactions(effects) == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]


async def test_a_failing_record_fails_no_other(effects: Effects) -> None:
    """What was done before it stays; the rest is tried partition by partition, then record by record."""

    async def refuse(event: PersonRenamed) -> None:
        if event.version == 5:
            raise ValueError("five")

    effects.before = refuse
    poll = Poll(effects.db, effects.handlers, batch=3)
    poll.add(0, 1, 2, 3)
    poll.add(1, 4, 5, 6)
    poll.add(2, 7, 8)
    assert await poll.process() == {0: 3, 1: 3, 2: 2}
    assert await transactions(effects) == [[1, 2, 3], [4], [6], [7, 8]]
    assert poll.letters.offsets == [1]


async def test_an_undecodable_record_fails_no_other(effects: Effects) -> None:
    poll = Poll(effects.db, effects.handlers, batch=10)
    poll.add(0, 1, GARBAGE, 3)
    poll.add(1, 4, 5)
    assert await poll.process() == {0: 3, 1: 2}
    assert await transactions(effects) == [[1], [3], [4, 5]]
    assert poll.letters.offsets == [1]


async def test_a_run_is_handled_at_once(effects: Effects) -> None:
    """Each event once, in the order of its partition, those of other partitions too."""
    handlers, runs = Handlers(), list[list[int]]()

    @handlers.on_runs(PersonRenamed)
    async def record(tx: Transaction, run: Sequence[tuple[PersonRenamed, Envelope]]) -> None:
        runs.append([event.version for event, _ in run])
        for event, envelope in run:
            await effects.record(tx, event, envelope)

    poll = Poll(effects.db, handlers, batch=10)
    first = poll.add(0, 1)
    poll.add(0, 2)
    poll.add(0, again=first)
    poll.add(1, 3)
    assert await poll.process() == {0: 3, 1: 1}
    assert runs == [[1, 2, 3]]
    poll.add(0, again=first)
    poll.add(0, 4)
    assert await poll.process() == {0: 5, 1: 1}
    assert runs == [[1, 2, 3], [4]]


async def test_an_interrupted_poll_commits_nothing(effects: Effects, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record was given up, and the one behind it waited for the database when the process had to stop."""
    monkeypatch.setattr("services.chassis.messaging.brake.HOLD_SECONDS", 0.0)
    stop = asyncio.Event()

    async def refuse(event: PersonRenamed) -> None:
        if event.version == 1:
            raise ValueError("one")
        stop.set()
        raise unavailable("The database is away.")

    effects.before = refuse
    poll = Poll(effects.db, effects.handlers, batch=10)
    poll.add(0, 1, 2)
    assert await poll.process(stop) == {}
    assert await poll.release() == {}
    assert poll.letters.offsets == []
