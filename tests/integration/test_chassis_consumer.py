"""The consumer on real Kafka and PostgreSQL: each effect once and in order, through failures."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError

from services.chassis.database.pool import Transaction
from services.chassis.messaging import outbox
from services.chassis.messaging.cloudevents import to_headers, to_key
from services.chassis.messaging.consumer import Consumer, _RebalanceListener
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.runtime.context import Context, bound, current
from services.chassis.runtime.settings import Settings
from services.contracts.event import Envelope
from services.contracts.people import PersonConfirmed, PersonRenamed
from services.contracts.topics import PEOPLE
from tests.conftest import NewDatabase, OwnDatabase
from tests.integration.chassis_effects import (
    GROUP,
    Effects,
    committed,
    consumer_for,
    effects_are,
    has_committed,
    publish,
    send,
)
from tests.integration.chassis_harness import envelope_of, renamed_event, running, write_events
from tests.waiting import eventually


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> Settings:
    return Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)


@pytest.fixture
async def db(new_database: NewDatabase) -> OwnDatabase:
    db = await new_database("services.chassis")
    async with db.transaction() as tx:
        await tx.execute(
            "create table effects (id bigint generated always as identity, event_id uuid, person_id uuid, version int)"
        )
    return db


@pytest.fixture
def effects(db: OwnDatabase) -> Effects:
    return Effects(db)


async def test_event_and_context_pass_from_outbox_to_handler(effects: Effects, settings: Settings) -> None:
    seen: list[Context] = []

    async def remember(_: PersonRenamed) -> None:
        seen.append(current())

    effects.before = remember
    person = uuid4()
    relay = Relay(effects.db, effects.db.url, Producer(settings), settings)
    async with running(relay.run, consumer_for(effects, settings).run):
        with bound(Context("request-1", None, "00-" + "a" * 32 + "-" + "b" * 16 + "-01")):
            [event_id] = await write_events(effects.db, renamed_event(person, 1))
        await write_events(effects.db, *(renamed_event(person, version) for version in range(2, 50)))
        await eventually(lambda: effects.calls >= 49, timeout=20)
        await effects_are(effects, list(range(1, 50)), person)
    assert seen[0].correlation_id == "request-1"
    assert seen[0].causation_id == event_id
    assert seen[0].traceparent is not None
    assert seen[0].traceparent.startswith("00-" + "a" * 32)
    assert "b" * 16 not in seen[0].traceparent
    assert await committed(settings) == 49


async def test_duplicate_has_no_second_effect(effects: Effects, settings: Settings) -> None:
    envelope = envelope_of(renamed_event(version=1))
    for _ in range(3):
        await send(settings, to_key(envelope), envelope.data, to_headers(envelope))
    await publish(settings, renamed_event(version=2))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [1, 2])
        for _ in range(2):
            await send(settings, to_key(envelope), envelope.data, to_headers(envelope))
        await publish(settings, renamed_event(version=3))
        await effects_are(effects, [1, 2, 3])


async def test_effect_and_inbox_row_are_one_transaction(effects: Effects, settings: Settings) -> None:
    """A handler that fails after its write leaves neither; its retry leaves both."""
    failed = asyncio.Event()

    async def write_and_fail(tx: Transaction, event: PersonRenamed, envelope: Envelope) -> None:
        await effects.record(tx, event, envelope)
        if not failed.is_set():
            failed.set()
            raise ValueError("after the write")

    handlers = Handlers()
    handlers.on(PersonRenamed)(write_and_fail)
    await publish(settings, renamed_event(version=1))
    async with running(Consumer(GROUP, [PEOPLE], handlers, effects.db, settings).run):
        await effects_are(effects, [1])
    async with effects.db.reader() as reader:
        assert await reader.fetchval("select count(*) from inbox") == 1


async def test_offset_is_committed_after_the_effect(effects: Effects, settings: Settings) -> None:
    """A consumer that ends during a handler leaves no effect; the next one begins with the same record."""
    reached = asyncio.Event()

    async def hang(_: PersonRenamed) -> None:
        reached.set()
        await asyncio.Event().wait()

    await publish(settings, renamed_event(version=1))
    effects.before = hang
    task = asyncio.create_task(consumer_for(effects, settings).run(asyncio.Event()))
    await asyncio.wait_for(reached.wait(), 20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await effects.versions() == []
    effects.before = None
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [1])


async def test_consumer_survives_a_failed_commit(
    effects: Effects, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AIOKafkaConsumer.commit
    failures = 0

    async def commit(self: Any, offsets: dict[TopicPartition, int]) -> None:
        nonlocal failures
        if failures < 2:
            failures += 1
            raise CommitFailedError("the partition was reassigned")
        await real(self, offsets)

    monkeypatch.setattr(AIOKafkaConsumer, "commit", commit)
    async with running(consumer_for(effects, settings).run):
        for version in range(3):
            await publish(settings, renamed_event(version=version))
            await effects_are(effects, list(range(version + 1)))
        await eventually(lambda: has_committed(settings, 3))
    assert failures == 2


async def test_client_with_a_hanging_commit_is_replaced(
    effects: Effects, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AIOKafkaConsumer.commit
    hung = asyncio.Event()

    async def commit(self: Any, offsets: dict[TopicPartition, int]) -> None:
        if not hung.is_set():
            hung.set()
            await asyncio.Event().wait()
        await real(self, offsets)

    real_stop = AIOKafkaConsumer.stop

    async def stop(self: Any) -> None:
        await real_stop(self)
        raise asyncio.CancelledError  # as a real client raises when its broker is unreachable

    monkeypatch.setattr(AIOKafkaConsumer, "commit", commit)
    monkeypatch.setattr(AIOKafkaConsumer, "stop", stop)
    hasty = settings.model_copy(update={"kafka_timeout_seconds": 1.0})
    await publish(settings, renamed_event(version=1))
    async with running(consumer_for(effects, hasty).run):
        await asyncio.wait_for(hung.wait(), 20)
        await publish(settings, renamed_event(version=2))
        await effects_are(effects, [1, 2], timeout=30)
        await eventually(lambda: has_committed(settings, 2), timeout=30)
    assert effects.calls == 2


async def test_rebalance_waits_for_the_batch_and_keeps_the_order(effects: Effects, settings: Settings) -> None:
    """A second member joins and leaves while handlers are slow: each effect once, those of a person in order."""
    people = [uuid4() for _ in range(8)]

    async def slow(_: PersonRenamed) -> None:
        await asyncio.sleep(0.005)

    effects.before = slow
    events = [renamed_event(person, version) for version in range(40) for person in people]
    for number in range(len(people)):
        await publish(settings, *events[number :: len(people)], partition=number)
    second = settings.model_copy(update={"instance": "second"})
    async with running(consumer_for(effects, settings).run):
        await eventually(lambda: effects.calls > 20, timeout=20)
        async with running(consumer_for(effects, second).run):
            await eventually(lambda: effects.calls > 150, timeout=30)

        async def done() -> bool:
            return len(await effects.versions()) >= len(events)

        await eventually(done, timeout=60)
    for person in people:
        assert await effects.versions(person) == list(range(40))


@pytest.fixture
def assignments(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many partitions a member got, for each time that one got any.

    A session lasts so long that within a test nobody loses a partition because they are silent.
    """
    monkeypatch.setattr("services.chassis.messaging.consumer.SESSION_MS", 300_000)
    real, counts = _RebalanceListener.on_partitions_assigned, list[int]()

    async def on_partitions_assigned(self: Any, assigned: set[TopicPartition]) -> None:
        counts.append(len(assigned))
        await real(self, assigned)

    monkeypatch.setattr(_RebalanceListener, "on_partitions_assigned", on_partitions_assigned)
    return counts


async def publish_everywhere(settings: Settings, version: int) -> None:
    producer = Producer(settings)
    for partition in range(PEOPLE.partitions):
        envelope = envelope_of(renamed_event(version=version))
        data, headers = envelope.data, to_headers(envelope)
        await send(settings, to_key(envelope), data, headers, partition=partition, producer=producer)
    await producer.close()


async def test_a_stopped_consumer_leaves_its_partitions_to_others_at_once(
    effects: Effects, settings: Settings, assignments: list[int]
) -> None:
    second = settings.model_copy(update={"instance": "second"})
    async with running(consumer_for(effects, settings).run):
        await eventually(lambda: assignments == [12], timeout=30)
        async with running(consumer_for(effects, second).run):
            await eventually(lambda: assignments == [12, 6, 6], timeout=30)
        await publish_everywhere(settings, 1)
        await effects_are(effects, [1] * PEOPLE.partitions)
    assert assignments == [12, 6, 6, 12]


async def test_a_killed_consumer_keeps_its_partitions(
    effects: Effects, settings: Settings, assignments: list[int]
) -> None:
    """The same instance goes on with them at once; the others do not even notice."""
    second = settings.model_copy(update={"instance": "second"})
    async with running(consumer_for(effects, settings).run):
        await eventually(lambda: assignments == [12], timeout=30)
        killed = asyncio.create_task(consumer_for(effects, second).run(asyncio.Event()))
        await eventually(lambda: assignments == [12, 6, 6], timeout=30)
        killed.cancel()
        await asyncio.gather(killed, return_exceptions=True)
        await publish_everywhere(settings, 1)
        await effects_are(effects, [1] * 6)  # of the partitions of the one that goes on
        async with running(consumer_for(effects, second).run):
            await effects_are(effects, [1] * PEOPLE.partitions)
            assert assignments == [12, 6, 6, 6]


async def test_handler_writes_events(effects: Effects, settings: Settings) -> None:
    """In its transaction, with the handled event as their cause; the relay is woken, `on_applied` is called."""
    handlers = Handlers()

    @handlers.on(PersonRenamed)
    async def answer(tx: Transaction, event: PersonRenamed, envelope: Envelope) -> None:
        await outbox.add(tx, PersonConfirmed(**event.model_dump()))

    woken, applied = asyncio.Event(), asyncio.Event()
    effects.db.on_outbox = woken.set
    handlers.on_applied = applied.set
    [envelope] = await publish(settings, renamed_event())
    async with running(Consumer(GROUP, [PEOPLE], handlers, effects.db, settings).run):
        await asyncio.wait_for(woken.wait(), 20)
        await asyncio.wait_for(applied.wait(), 20)
    async with effects.db.reader() as reader:
        assert await reader.fetchval("select causation_id from outbox") == envelope.id


async def test_thousands_of_events_stay_in_order(effects: Effects, settings: Settings) -> None:
    """Half of them about one person, each of the others about another person."""
    count = 3000
    person = uuid4()
    await write_events(
        effects.db, *(renamed_event(person if version % 2 else None, version) for version in range(count))
    )
    relay = Relay(effects.db, effects.db.url, Producer(settings), settings)
    async with running(relay.run, consumer_for(effects, settings).run):
        await eventually(lambda: effects.calls >= count, timeout=60)
        await effects_are(effects, list(range(1, count, 2)), person)
    assert len(await effects.versions()) == count
