"""The consumer runner on real Kafka and PostgreSQL: each event's effect once, in order, whatever fails."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError
from structlog.testing import capture_logs

from services.chassis import dead_letter, outbox
from services.chassis.applying import TooManyFailures
from services.chassis.bus import Headers, to_headers, to_key
from services.chassis.consumer import Consumer
from services.chassis.context import Context, bound, current
from services.chassis.database import Transaction
from services.chassis.errors import unavailable
from services.chassis.handlers import Handlers
from services.chassis.producer import Producer
from services.chassis.relay import Relay
from services.chassis.settings import Settings
from services.contracts.event import Envelope
from services.contracts.people import PersonConfirmed, PersonRenamed
from services.contracts.topics import PEOPLE
from services.contracts.topics import dead_letter as dead_letter_topic
from tests.conftest import NewDatabase, OwnDatabase
from tests.integration.chassis_house import header, records, renamed, running, write
from tests.waiting import eventually

GROUP = "comments"


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> Settings:
    return Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)


@pytest.fixture
async def database(new_database: NewDatabase) -> OwnDatabase:
    database = await new_database("services.chassis")
    async with database.transaction() as tx:
        await tx.execute(
            "create table effects (id bigint generated always as identity, event_id uuid, person_id uuid, version int)"
        )
    return database


class Effects:
    """Handlers that note what they are given in a table, and fail where a test says so."""

    def __init__(self, database: OwnDatabase) -> None:
        self.database = database
        self.handlers = Handlers()
        self.handlers.on(PersonRenamed)(self.note)
        self.before: Callable[[PersonRenamed], Awaitable[None]] | None = None
        self.calls = 0

    async def note(self, tx: Transaction, event: PersonRenamed, envelope: Envelope) -> None:
        self.calls += 1
        if self.before is not None:
            await self.before(event)
        await tx.execute(
            "insert into effects (event_id, person_id, version) values ($1, $2, $3)",
            envelope.id,
            event.person_id,
            event.version,
        )

    async def versions(self, person_id: UUID | None = None) -> list[int]:
        async with self.database.reader() as reader:
            rows = await reader.fetch(
                "select version from effects where $1::uuid is null or person_id = $1 order by id", person_id
            )
        return [row["version"] for row in rows]


@pytest.fixture
def effects(database: OwnDatabase) -> Effects:
    return Effects(database)


def consumer_for(effects: Effects, settings: Settings) -> Consumer:
    return Consumer(GROUP, [PEOPLE], effects.handlers, effects.database, settings)


async def send(
    settings: Settings,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    *,
    partition: int = 0,
    producer: Producer | None = None,
) -> None:
    own = producer or Producer(settings)
    await own.send_record(settings.kafka_prefix + PEOPLE.name, partition, key, value, headers)
    if producer is None:
        await own.close()


def sealed(event: PersonRenamed, **changes: Any) -> Envelope:
    values: dict[str, Any] = {
        "id": uuid4(),
        "source": "/services/people",
        "type": event.type,
        "subject": event.subject,
        "time": event.occurred_at,
        "key": event.key,
        "data": event.model_dump_json().encode(),
    }
    return Envelope(**values | changes)


async def publish(settings: Settings, *events: PersonRenamed, partition: int = 0) -> list[Envelope]:
    """Put events on one partition, in this order."""
    producer = Producer(settings)
    envelopes = [sealed(event) for event in events]
    for envelope in envelopes:
        await send(
            settings,
            to_key(envelope),
            envelope.data,
            to_headers(envelope),
            partition=partition,
            producer=producer,
        )
    await producer.close()
    return envelopes


async def committed(settings: Settings, group: str = GROUP) -> int:
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(settings.kafka_prefix + group)
        return sum(entry.offset for entry in offsets.values())
    finally:
        await admin.close()


async def test_from_outbox_to_effect(effects: Effects, settings: Settings) -> None:
    """The whole way, with what travels along."""
    seen: list[Context] = []

    async def remember(_: PersonRenamed) -> None:
        seen.append(current())

    effects.before = remember
    person = uuid4()
    relay = Relay(effects.database, effects.database.url, Producer(settings), settings)
    async with running(relay.run, consumer_for(effects, settings).run):
        with bound(Context("request-1", None, "00-" + "a" * 32 + "-" + "b" * 16 + "-01")):
            [event_id] = await write(effects.database, renamed(person, 1))
        await write(effects.database, *(renamed(person, version) for version in range(2, 50)))
        await eventually(lambda: effects.calls >= 49, timeout=20)
        await effects_are(effects, list(range(1, 50)), person)
    assert seen[0].correlation_id == "request-1"
    assert seen[0].causation_id == event_id
    assert seen[0].traceparent is not None
    assert seen[0].traceparent.startswith("00-" + "a" * 32)
    assert "b" * 16 not in seen[0].traceparent
    assert await committed(settings) == 49


async def effects_are(effects: Effects, versions: list[int], person: UUID | None = None, timeout: float = 20) -> None:
    async def all_there() -> bool:
        return len(await effects.versions(person)) >= len(versions)

    await eventually(all_there, timeout=timeout)
    assert await effects.versions(person) == versions


async def test_a_duplicate_has_no_second_effect(effects: Effects, settings: Settings) -> None:
    envelope = sealed(renamed(version=1))
    for _ in range(3):
        await send(settings, to_key(envelope), envelope.data, to_headers(envelope))
    await publish(settings, renamed(version=2))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [1, 2])
        for _ in range(2):
            await send(settings, to_key(envelope), envelope.data, to_headers(envelope))
        await publish(settings, renamed(version=3))
        await effects_are(effects, [1, 2, 3])


async def test_effect_and_note_are_one_transaction(effects: Effects, settings: Settings) -> None:
    """A handler that fails after its writing leaves neither; the repetition leaves both."""
    failed = asyncio.Event()

    async def write_and_fail(tx: Transaction, event: PersonRenamed, envelope: Envelope) -> None:
        await effects.note(tx, event, envelope)
        if not failed.is_set():
            failed.set()
            raise ValueError("after the write")

    handlers = Handlers()
    handlers.on(PersonRenamed)(write_and_fail)
    await publish(settings, renamed(version=1))
    async with running(Consumer(GROUP, [PEOPLE], handlers, effects.database, settings).run):
        await effects_are(effects, [1])
    async with effects.database.reader() as reader:
        assert await reader.fetchval("select count(*) from inbox") == 1


async def test_a_failing_record_fails_no_other(effects: Effects, settings: Settings) -> None:
    """One of 60 fails for ever: a dead letter after five attempts; the others' effects are there, in order."""

    async def fail(event: PersonRenamed) -> None:
        if event.version == 13:
            raise ValueError("thirteen")

    effects.before = fail
    await publish(settings, *(renamed(version=version) for version in range(60)))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [version for version in range(60) if version != 13], timeout=30)
    [letter] = await dead_letter.entries(settings, GROUP)
    assert (letter.topic, letter.partition, letter.attempts) == (PEOPLE.name, 0, 5)
    assert letter.error == "ValueError: thirteen"
    assert letter.type == PersonRenamed.type
    assert await committed(settings) == 60


async def test_what_passes_by_itself_is_waited_for(effects: Effects, settings: Settings) -> None:
    """Far more than five times, and nothing is put aside."""
    tries = 0

    async def away(_: PersonRenamed) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise unavailable("away")
        if tries < 6:
            raise TimeoutError

    effects.before = away
    await publish(settings, renamed(version=1))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [1], timeout=30)
    assert tries == 6
    assert await dead_letter.entries(settings, GROUP) == []


POISON: dict[str, tuple[bytes | None, bytes | None, Callable[[Headers], Headers]]] = {
    "no headers": (None, b"{}", lambda _: []),
    "another specversion": (None, None, lambda h: [("ce_specversion", b"0.3"), *h[1:]]),
    "no id": (None, None, lambda h: [entry for entry in h if entry[0] != "ce_id"]),
    "an id that is none": (None, None, lambda h: [(n, b"7" if n == "ce_id" else v) for n, v in h]),
    "a time that is none": (None, None, lambda h: [(n, b"noon" if n == "ce_time" else v) for n, v in h]),
    "not UTF-8": (None, None, lambda h: [(n, b"\xff" if n == "ce_source" else v) for n, v in h]),
    "a key that is none": (b"key", None, lambda h: h),
    "not JSON": (None, b"{", lambda h: h),
    "another shape": (None, b'{"person_id": 7}', lambda h: h),
    "an avro body": (None, None, lambda h: [(n, b"avro/binary" if n == "content-type" else v) for n, v in h]),
}


async def test_what_cannot_be_understood_is_put_aside_at_once(effects: Effects, settings: Settings) -> None:
    """Ten kinds of poison between good records: all good ones applied, ten dead letters with whole headers."""
    producer = Producer(settings)
    sent = []
    for number, (key, value, change) in enumerate(POISON.values()):
        good, bad = sealed(renamed(version=number)), sealed(renamed(version=1000 + number))
        await send(settings, to_key(good), good.data, to_headers(good), producer=producer)
        headers = change(to_headers(bad))
        await send(settings, key or to_key(bad), value or bad.data, headers, producer=producer)
        sent.append((key or to_key(bad), value or bad.data, headers))
    await producer.close()
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, list(range(len(POISON))), timeout=30)
        await eventually(lambda: put_aside(settings, len(POISON)))
    letters = await dead_letter.entries(settings, GROUP)
    assert [(letter.key, letter.value, letter.headers) for letter in letters] == sent
    assert [letter.offset for letter in letters] == list(range(1, 2 * len(POISON), 2))
    assert {letter.attempts for letter in letters} == {0}
    assert all(letter.error.startswith("Undecodable: ") for letter in letters)


async def put_aside(settings: Settings, count: int) -> bool:
    return len(await records(settings, dead_letter_topic(GROUP))) >= count


async def test_unknown_and_unhandled_types_are_passed_over(effects: Effects, settings: Settings) -> None:
    for name in ("dev.rapport.people.promoted.v1", PersonConfirmed.type):
        envelope = sealed(renamed(), type=name, data=b"whatever")
        await send(settings, to_key(envelope), envelope.data, to_headers(envelope))
    await publish(settings, renamed(version=1))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [1])
        await eventually(lambda: has_committed(settings, 3))
    assert await dead_letter.entries(settings, GROUP) == []


async def has_committed(settings: Settings, count: int) -> bool:
    return await committed(settings) == count


async def test_too_many_failures_in_a_row_stop_it(
    effects: Effects, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was put aside then, nothing was committed: once the cause is mended, all of it is applied."""
    monkeypatch.setattr("services.chassis.applying.PAUSES", (0.0,) * 5)

    async def fail(_: PersonRenamed) -> None:
        raise ValueError("everything")

    effects.before = fail
    await publish(settings, *(renamed(version=version) for version in range(30)))
    consumer = consumer_for(effects, settings)
    assert await consumer.ready()
    with capture_logs(), pytest.raises(TooManyFailures, match="21 records in a row"):
        async with running(consumer.run) as stop:
            await eventually(lambda: is_not_ready(consumer), timeout=30)
            assert not stop.is_set()
    assert await dead_letter.entries(settings, GROUP) == []
    effects.before = None
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, list(range(30)))


async def is_not_ready(consumer: Consumer) -> bool:
    return not await consumer.ready()


async def test_redrive(effects: Effects, settings: Settings) -> None:
    """As the original was, to where it came from; applied once; what was applied elsewhere is dropped there."""
    broken = True

    async def fail(event: PersonRenamed) -> None:
        if broken and event.version > 0:
            raise ValueError("not yet")

    effects.before = fail
    sent = await publish(settings, renamed(version=0), renamed(version=1), renamed(version=2), partition=5)
    async with running(consumer_for(effects, settings).run):
        await eventually(lambda: put_aside(settings, 2), timeout=30)
        letters = await dead_letter.entries(settings, GROUP)
        assert [letter.redriven for letter in letters] == [False, False]
        broken = False
        assert await dead_letter.redrive(settings, GROUP, lambda letter: letter.position == 1) == letters[1:]
        await effects_are(effects, [0, 2])
        assert len(await dead_letter.redrive(settings, GROUP)) == 2
        await effects_are(effects, [0, 2, 1])
        assert await dead_letter.redrive(settings, GROUP) == []
        assert [letter.redriven for letter in await dead_letter.entries(settings, GROUP)] == [True, True]
        await publish(settings, renamed(version=3), partition=5)
        await effects_are(effects, [0, 2, 1, 3])
    again = [record for record in await records(settings) if record.partition == 5][3:6]
    assert [(r.key, list(r.headers)) for r in again] == [
        (to_key(envelope), to_headers(envelope)) for envelope in (sent[2], sent[1], sent[2])
    ]


async def test_offsets_are_committed_only_after_the_effect(effects: Effects, settings: Settings) -> None:
    """A consumer that is gone while a handler runs leaves nothing behind; the next one starts with that record."""
    reached = asyncio.Event()

    async def hang(_: PersonRenamed) -> None:
        reached.set()
        await asyncio.Event().wait()

    await publish(settings, renamed(version=1))
    effects.before = hang
    task = asyncio.create_task(consumer_for(effects, settings).run(asyncio.Event()))
    await asyncio.wait_for(reached.wait(), 20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await effects.versions() == []
    effects.before = None
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [1])


async def test_a_failed_commit_is_survived(
    effects: Effects, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiokafka import AIOKafkaConsumer

    real = AIOKafkaConsumer.commit
    failures = 0

    async def commit(self: Any, offsets: dict[TopicPartition, int]) -> None:
        nonlocal failures
        if failures < 2:
            failures += 1
            raise CommitFailedError("somebody else has it")
        await real(self, offsets)

    monkeypatch.setattr(AIOKafkaConsumer, "commit", commit)
    async with running(consumer_for(effects, settings).run):
        for version in range(3):
            await publish(settings, renamed(version=version))
            await effects_are(effects, list(range(version + 1)))
        await eventually(lambda: has_committed(settings, 3))
    assert failures == 2


async def test_a_commit_that_hangs_costs_the_client_not_the_events(
    effects: Effects, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiokafka import AIOKafkaConsumer

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
        raise asyncio.CancelledError  # escapes from a real one whose broker is away

    monkeypatch.setattr(AIOKafkaConsumer, "commit", commit)
    monkeypatch.setattr(AIOKafkaConsumer, "stop", stop)
    hasty = settings.model_copy(update={"kafka_timeout_seconds": 1.0})
    await publish(settings, renamed(version=1))
    async with running(consumer_for(effects, hasty).run):
        await asyncio.wait_for(hung.wait(), 20)
        await publish(settings, renamed(version=2))
        await effects_are(effects, [1, 2], timeout=30)
        await eventually(lambda: has_committed(settings, 2), timeout=30)
    assert effects.calls == 2


async def test_a_rebalance_waits_for_the_turn_and_order_holds(effects: Effects, settings: Settings) -> None:
    """A second member comes and goes while handlers are slow: every effect once, each person's in order."""
    people = [uuid4() for _ in range(8)]

    async def slow(_: PersonRenamed) -> None:
        await asyncio.sleep(0.005)

    effects.before = slow
    events = [renamed(person, version) for version in range(40) for person in people]
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


async def test_handlers_write_events_of_their_own(effects: Effects, settings: Settings) -> None:
    """In the same transaction, with the handled event as their cause; the relay is woken, `applied` is called."""
    handlers = Handlers()

    @handlers.on(PersonRenamed)
    async def answer(tx: Transaction, event: PersonRenamed, envelope: Envelope) -> None:
        await outbox.add(tx, PersonConfirmed(**event.model_dump()))

    woken, applied = asyncio.Event(), asyncio.Event()
    effects.database.on_outbox = woken.set
    handlers.applied = applied.set
    [envelope] = await publish(settings, renamed())
    async with running(Consumer(GROUP, [PEOPLE], handlers, effects.database, settings).run):
        await asyncio.wait_for(woken.wait(), 20)
        await asyncio.wait_for(applied.wait(), 20)
    async with effects.database.reader() as reader:
        assert await reader.fetchval("select causation_id from outbox") == envelope.id


async def test_speed(effects: Effects, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Not timed, but told: how many events a second reach their effect."""
    count = 3000
    person = uuid4()
    relay = Relay(effects.database, effects.database.url, Producer(settings), settings)
    await write(effects.database, *(renamed(person if v % 2 else None, v) for v in range(count)))
    began = time.perf_counter()
    async with running(relay.run):
        await eventually(lambda: everything_published(effects), timeout=60)
    relayed = time.perf_counter()
    async with running(consumer_for(effects, settings).run):
        await eventually(lambda: effects.calls > 0, timeout=60)
        first = time.perf_counter()
        await eventually(lambda: effects.calls == count, timeout=60)
        handled = time.perf_counter()
    assert await effects.versions(person) == list(range(1, count, 2))
    with capsys.disabled():
        print(f"relay {count / (relayed - began):.0f}/s, consumer {count / (handled - first):.0f}/s", end=" ")


async def everything_published(effects: Effects) -> bool:
    from tests.integration.chassis_house import all_published

    return await all_published(effects.database)


async def test_header_is_read(effects: Effects, settings: Settings) -> None:
    [envelope] = await publish(settings, renamed())
    [record] = await records(settings)
    assert header(record, "ce_id") == str(envelope.id)
