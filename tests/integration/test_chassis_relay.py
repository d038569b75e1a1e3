"""The relay on real PostgreSQL and Kafka: no event lost or out of order, through failures."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import structlog

from services.chassis.errors import Problem
from services.chassis.messaging import outbox
from services.chassis.messaging.consumer import Consumer
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.outbox import OutboxRow
from services.chassis.messaging.outbox_slices import RELAYS, SLICES
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import SELECT_BACKLOG, SELECT_UNPUBLISHED, Relay
from services.chassis.runtime.settings import Settings
from services.contracts.topics import PEOPLE
from tests.conftest import NewDatabase, OwnDatabase
from tests.integration.chassis_harness import (
    all_published,
    header,
    records,
    renamed_event,
    running,
    unpublished,
    write_events,
)
from tests.waiting import eventually

OWNERS = """
select pid, count(objid) filter (where objsubid = 2) as slices
from pg_stat_activity
join pg_locks using (pid)
where application_name = 'relay' and datname = current_database() and locktype = 'advisory' and granted
group by pid
order by slices desc
"""


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> Settings:
    return Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)


@pytest.fixture
async def db(new_database: NewDatabase) -> OwnDatabase:
    return await new_database("services.chassis")


def relay_for(db: OwnDatabase, settings: Settings, producer: Any = None) -> Relay:
    return Relay(db, db.url, producer or Producer(settings), settings)


async def owners(db: OwnDatabase) -> dict[int, int]:
    """Return how many slices the session of each relay owns."""
    async with db.reader() as reader:
        return {row["pid"]: row["slices"] for row in await reader.fetch(OWNERS)}


async def shares(db: OwnDatabase) -> list[int]:
    return list((await owners(db)).values())


async def end_sessions(db: OwnDatabase, *pids: int) -> None:
    async with db.reader() as reader:
        await reader.fetchval("select count(pg_terminate_backend(pid)) from unnest($1::int[]) as pid", list(pids))


def key_in(number: int) -> UUID:
    """Return an id whose events are in this slice."""
    return UUID(bytes=uuid4().bytes[:15] + bytes([number]))


async def versions(settings: Settings, person: object) -> list[int]:
    """Return the versions of one person's events on the topic, first occurrences only."""
    seen: dict[str, int] = {}
    for record in await records(settings):
        if record.key == str(person).encode():
            seen.setdefault(header(record, "ce_id"), int(record.value.split(b'"version":')[1].split(b",")[0]))
    return list(seen.values())


class FakeProducer:
    """A producer that waits until it is opened and does not acknowledge refused rows."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.open = asyncio.Event()
        self.refuse: set[int] = set()

    async def send(self, rows: Sequence[OutboxRow]) -> list[int]:
        self.calls.append([row.id for row in rows])
        await self.open.wait()
        return [row.id for row in rows if row.id not in self.refuse]

    @property
    def sent(self) -> list[int]:
        return [number for call in self.calls for number in call]

    async def connect(self, stop: asyncio.Event) -> bool:
        return True

    async def close(self) -> None:
        pass


async def test_committed_events_are_published_once_in_order(db: OwnDatabase, settings: Settings) -> None:
    person = uuid4()
    async with running(relay_for(db, settings).run):
        ids = []
        for version in range(1, 31):
            ids += await write_events(db, renamed_event(person, version), renamed_event())
        await eventually(lambda: all_published(db))
    found = await records(settings)
    assert sorted(header(record, "ce_id") for record in found) == sorted(map(str, ids))
    assert await versions(settings, person) == list(range(1, 31))


async def test_commit_wakes_the_relay(db: OwnDatabase, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.chassis.messaging.outbox_slices.LOOK_SECONDS", 60)
    slow = settings.model_copy(update={"relay_poll_seconds": 60.0})
    async with running(relay_for(db, slow).run):
        await write_events(db, renamed_event())
        await eventually(lambda: all_published(db), timeout=20)
        began = time.monotonic()
        await write_events(db, renamed_event())
        await eventually(lambda: all_published(db), timeout=20)
        assert time.monotonic() - began < 5


async def test_rows_of_other_processes_are_found_by_polling(db: OwnDatabase, settings: Settings) -> None:
    async with running(relay_for(db, settings).run):
        db.on_outbox = lambda: None
        await write_events(db, renamed_event())
        await eventually(lambda: all_published(db), timeout=20)


async def test_late_commit_is_not_skipped(db: OwnDatabase, settings: Settings) -> None:
    """Its id is lower than those of 500 rows that are published before its commit."""
    async with running(relay_for(db, settings).run):
        async with db.transaction() as tx:
            late = await outbox.add(tx, renamed_event())
            await write_events(db, *(renamed_event() for _ in range(500)))
            await eventually(lambda: all_published(db), timeout=20)
        await eventually(lambda: all_published(db), timeout=20)
    assert str(late) in {header(record, "ce_id") for record in await records(settings)}


async def test_more_rows_than_a_batch_stay_in_order(db: OwnDatabase, settings: Settings) -> None:
    person = uuid4()
    small = settings.model_copy(update={"relay_batch": 7})
    await write_events(db, *(renamed_event(person, version) for version in range(100)))
    async with running(relay_for(db, small).run):
        await eventually(lambda: all_published(db), timeout=20)
    assert await versions(settings, person) == list(range(100))


async def test_no_transaction_is_open_during_a_send(db: OwnDatabase, settings: Settings) -> None:
    fake = FakeProducer()
    async with running(relay_for(db, settings, fake).run):
        await write_events(db, renamed_event())
        await eventually(lambda: fake.calls)

        async def is_idle() -> bool:  # the server says so a moment after its answer; a transaction would stay open
            async with db.reader() as reader:
                rows = await reader.fetch(
                    "select state, xact_start, backend_xmin from pg_stat_activity "
                    "where application_name = 'relay' and datname = current_database()"
                )
            return [tuple(row) for row in rows] == [("idle", None, None)]

        await eventually(is_idle)
        fake.open.set()
        await eventually(lambda: all_published(db))


async def test_unacknowledged_rows_are_sent_again(db: OwnDatabase, settings: Settings) -> None:
    fake = FakeProducer()
    fake.open.set()
    fake.refuse = {2, 4}
    await write_events(db, *(renamed_event() for _ in range(5)))
    async with running(relay_for(db, settings, fake).run):
        await eventually(lambda: len(fake.calls) > 2)
        assert sorted(fake.calls[0]) == [1, 2, 3, 4, 5]
        assert sorted(fake.calls[1]) == [2, 4]
        assert await unpublished(db) == 2
        fake.refuse.clear()
        await eventually(lambda: all_published(db))


async def test_one_batch_is_read_while_kafka_is_unavailable(db: OwnDatabase, settings: Settings) -> None:
    fake = FakeProducer()
    async with running(relay_for(db, settings, fake).run):
        for _ in range(3):
            await write_events(db, *(renamed_event() for _ in range(500)))
        await eventually(lambda: fake.calls)
        assert max(len(call) for call in fake.calls) <= settings.relay_batch
        assert len(fake.calls) == 1
        fake.open.set()
        await eventually(lambda: all_published(db))


async def test_stopped_relay_publishes_the_remaining_rows(db: OwnDatabase, settings: Settings) -> None:
    await write_events(db, *(renamed_event() for _ in range(1200)))
    async with running(relay_for(db, settings.model_copy(update={"relay_batch": 64})).run):
        await eventually(lambda: owners(db))
    assert await all_published(db)


async def test_relays_share_the_outbox_and_hand_over_at_once(
    db: OwnDatabase, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By notifications alone: nobody looks again unasked here."""
    monkeypatch.setattr("services.chassis.messaging.outbox_slices.LOOK_SECONDS", 600)
    slow = settings.model_copy(update={"relay_poll_seconds": 600.0})
    fakes = [FakeProducer() for _ in range(3)]
    for fake in fakes:
        fake.open.set()
    first, second, third = (relay_for(db, slow, fake) for fake in fakes)

    async def has_shares(*expected: int) -> bool:
        return await shares(db) == list(expected)

    async with running(first.run):
        await eventually(lambda: has_shares(SLICES))
        async with running(second.run):
            await eventually(lambda: has_shares(8, 8))
            async with running(third.run):
                await eventually(lambda: has_shares(6, 5, 5))
                await write_events(db, *(renamed_event(key_in(number)) for number in range(SLICES)))
                for relay in (first, second, third):
                    relay.wake()
                await eventually(lambda: all_published(db))
            await eventually(lambda: has_shares(8, 8))
        await eventually(lambda: has_shares(SLICES))
    assert sorted(len(fake.sent) for fake in fakes) == [5, 5, 6]
    assert len({number for fake in fakes for number in fake.sent}) == SLICES  # nobody sent what another one sent


async def test_the_slices_of_a_lost_relay_are_taken_over(db: OwnDatabase, settings: Settings) -> None:
    """A relay whose session has ended may still send what it has read; it cannot mark it."""
    first, second = FakeProducer(), FakeProducer()
    second.open.set()
    async with running(relay_for(db, settings, first).run):
        await eventually(lambda: owners(db))
        [lost] = await owners(db)
        await write_events(db, *(renamed_event(key_in(number)) for number in range(SLICES)))
        await eventually(lambda: first.calls)
        async with running(relay_for(db, settings, second).run):
            await eventually(lambda: joined(db, 2))
            assert not second.calls  # the owner gives nothing up before its batch is done
            await end_sessions(db, lost)
            await eventually(lambda: all_published(db))
            assert sorted(second.sent) == sorted(first.calls[0])
            first.open.set()
            await eventually(lambda: has_owners(db, {8}, 2))
            assert len(first.calls) == 1


async def joined(db: OwnDatabase, count: int) -> bool:
    return len(await owners(db)) == count


async def has_owners(db: OwnDatabase, expected: set[int], count: int) -> bool:
    found = await shares(db)
    return len(found) == count and set(found) == expected


async def test_a_relay_waits_for_one_of_a_version_without_slices(
    db: OwnDatabase, settings: Settings, watcher: asyncpg.Connection
) -> None:
    """That one owned the whole outbox by the lock that relays share now; it waits for them in the same way."""
    await watcher.fetchval("select pg_advisory_lock($1)", RELAYS)
    relay = relay_for(db, settings)
    async with running(relay.run):
        await eventually(relay.ready)
        assert await owners(db) == {}
        await watcher.fetchval("select pg_advisory_unlock($1)", RELAYS)
        await eventually(lambda: has_owners(db, {SLICES}, 1))
        assert not await watcher.fetchval("select pg_try_advisory_lock($1)", RELAYS)


async def test_a_busy_aggregate_does_not_hold_up_others(db: OwnDatabase, settings: Settings) -> None:
    fake = FakeProducer()
    busy = key_in(3)
    await write_events(db, *(renamed_event(busy, version) for version in range(200)))
    await write_events(db, *(renamed_event(key_in(number)) for number in range(SLICES)))
    async with running(relay_for(db, settings.model_copy(update={"relay_batch": 4 * SLICES}), fake).run):
        await eventually(lambda: fake.calls)
        assert len(fake.calls[0]) == 4 + SLICES - 1
        fake.open.set()
        await eventually(lambda: all_published(db))
    sent = [number for number in fake.sent if number <= 200]
    assert sent == sorted(sent)


async def test_relay_survives_a_lost_session(db: OwnDatabase, settings: Settings) -> None:
    async with running(relay_for(db, settings).run):
        await write_events(db, renamed_event())
        await eventually(lambda: all_published(db))
        await end_sessions(db, *await owners(db))
        await write_events(db, renamed_event())
        await eventually(lambda: all_published(db), timeout=15)


@pytest.mark.parametrize("since", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)])
async def test_republish_time_is_bounded(db: OwnDatabase, since: datetime) -> None:
    with pytest.raises(Problem, match="invalid"):
        await outbox.republish(db, since)


async def test_published_rows_are_republished(db: OwnDatabase, settings: Settings) -> None:
    ids = await write_events(db, renamed_event(), renamed_event())
    async with running(relay_for(db, settings).run):
        await eventually(lambda: all_published(db))
        assert (await outbox.republish(db, datetime.now(UTC)))["count"] == 0
        since = datetime.now(UTC) - timedelta(minutes=1)
        assert (await outbox.republish(db, since, dry_run=True))["count"] == 2
        assert await outbox.republish(db, since) == {"count": 2, "next": None, "is_full": False, "kept_since": None}
        await eventually(lambda: all_published(db))
    found = [header(record, "ce_id") for record in await records(settings)]
    assert sorted(found) == sorted(2 * list(map(str, ids)))


async def test_paused_relay_loses_its_slices_within_15_seconds(db: OwnDatabase, settings: Settings) -> None:
    """SIGSTOP; a second relay takes over; SIGCONT: the first marks no row, no event is lost or out of order."""
    person = uuid4()
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "KAFKA_PREFIX": settings.kafka_prefix,
    }
    paused = subprocess.Popen(  # noqa: ASYNC220  # returns at once
        [sys.executable, "-m", "tests.integration.relay_process", db.url], env=environment
    )
    try:
        await eventually(lambda: has_owners(db, {SLICES}, 1), timeout=20)
        await write_events(db, renamed_event(person, 1))
        await eventually(lambda: all_published(db), timeout=20)
        paused.send_signal(signal.SIGSTOP)
        await write_events(db, renamed_event(person, 2))
        began = time.monotonic()
        async with running(relay_for(db, settings).run):
            await eventually(lambda: all_published(db), timeout=20)
            assert time.monotonic() - began < 15
            paused.send_signal(signal.SIGCONT)
            await write_events(db, renamed_event(person, 3))
            await eventually(lambda: all_published(db))
            await eventually(lambda: has_owners(db, {8}, 2), timeout=20)
        await eventually(lambda: has_owners(db, {SLICES}, 1), timeout=20)
        await write_events(db, renamed_event(person, 4))
        await eventually(lambda: all_published(db))
    finally:
        paused.kill()
        paused.wait()
    assert await versions(settings, person) == [1, 2, 3, 4]


@pytest.fixture
async def watcher(db: OwnDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(db.url)
    yield connection
    await connection.close()


@pytest.mark.parametrize("published", [20_000, 0])
async def test_read_uses_the_index_of_slices(db: OwnDatabase, watcher: asyncpg.Connection, published: int) -> None:
    """With many published rows, and while the statistics still tell of a backlog that is published now."""
    await watcher.execute(
        "insert into outbox (event_id, topic, type, source, subject, key, time, payload, published_at) "
        "select gen_random_uuid(), 't', 't', 's', gen_random_uuid(), gen_random_uuid(), now(), '', "
        "case when number <= $1 then now() end from generate_series(1, 20000) as number",
        published,
    )
    await watcher.execute("analyze outbox")
    await watcher.execute("update outbox set published_at = now()")

    async def plan(statement: str, *arguments: object) -> str:
        return "\n".join(row[0] for row in await watcher.fetch("explain " + statement, *arguments))

    read = await plan(SELECT_UNPUBLISHED, [0, 7], 100)
    assert "Index Scan using outbox_slices" in read
    assert "Sort" not in read
    assert "outbox_slices" in await plan(SELECT_BACKLOG, [0, 7])


async def test_a_relay_is_ready_once_it_has_reached_kafka(
    db: OwnDatabase, settings: Settings, free_port: Callable[[], int]
) -> None:
    away = settings.model_copy(
        update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}", "kafka_timeout_seconds": 2}
    )
    relay = relay_for(db, away)
    sentence = f"Kafka at {away.kafka_bootstrap_servers} does not answer: check KAFKA_BOOTSTRAP_SERVERS"
    with structlog.testing.capture_logs() as logged:
        async with running(relay.run):
            await eventually(lambda: any(one["event"] == sentence for one in logged), timeout=20)
            assert not await relay.ready()
    relay = relay_for(db, settings)
    async with running(relay.run):
        await eventually(relay.ready, timeout=20)  # although there is nothing to publish


async def test_a_consumer_is_ready_once_it_has_reached_kafka(
    db: OwnDatabase, settings: Settings, free_port: Callable[[], int]
) -> None:
    away = settings.model_copy(
        update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}", "kafka_timeout_seconds": 2}
    )
    consumer = Consumer("comments", [PEOPLE], Handlers(), db, away)
    sentence = f"Kafka at {away.kafka_bootstrap_servers} does not answer: check KAFKA_BOOTSTRAP_SERVERS"
    with structlog.testing.capture_logs() as logged:
        async with running(consumer.run):
            await eventually(lambda: any(one["event"] == sentence for one in logged), timeout=20)
            assert not await consumer.ready()
    consumer = Consumer("comments", [PEOPLE], Handlers(), db, settings)
    async with running(consumer.run):
        await eventually(consumer.ready, timeout=30)


@pytest.fixture
async def silent(settings: Settings) -> AsyncIterator[tuple[Settings, asyncio.Event]]:
    """Settings with a broker that answers nothing for 30 s, and an event that is set when somebody asks it."""
    asked = asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            asked.set()
            await reader.read()
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield (
            settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{port}", "kafka_timeout_seconds": 30.0}),
            asked,
        )


STOP_SECONDS = 8.0  # the broker is asked for up to 60; the drain of a process ends after 15


async def test_a_relay_that_waits_for_kafka_stops_when_asked(
    db: OwnDatabase, silent: tuple[Settings, asyncio.Event]
) -> None:
    settings, asked = silent
    async with running(relay_for(db, settings).run):
        await asyncio.wait_for(asked.wait(), 20)
        stopping = time.monotonic()
    assert time.monotonic() - stopping < STOP_SECONDS


@pytest.mark.parametrize("topics_exist", [False, True])
async def test_a_consumer_that_waits_for_kafka_stops_when_asked(
    db: OwnDatabase, silent: tuple[Settings, asyncio.Event], monkeypatch: pytest.MonkeyPatch, topics_exist: bool
) -> None:
    settings, asked = silent
    if topics_exist:

        async def nothing_to_do(*_: object, **__: object) -> None:
            pass

        monkeypatch.setattr("services.chassis.messaging.consumer.create_topics", nothing_to_do)
    async with running(Consumer("comments", [PEOPLE], Handlers(), db, settings).run):
        await asyncio.wait_for(asked.wait(), 20)
        stopping = time.monotonic()
    assert time.monotonic() - stopping < STOP_SECONDS
