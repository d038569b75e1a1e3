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
from uuid import uuid4

import asyncpg
import pytest
import structlog

from services.chassis.errors import Problem
from services.chassis.messaging import outbox
from services.chassis.messaging.consumer import Consumer
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.outbox import OutboxRow
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
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

OWNER = """
select pid from pg_stat_activity
where application_name = 'relay' and datname = current_database()
  and pid in (select pid from pg_locks where locktype = 'advisory' and granted)
"""


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> Settings:
    return Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)


@pytest.fixture
async def db(new_database: NewDatabase) -> OwnDatabase:
    return await new_database("services.chassis")


def relay_for(db: OwnDatabase, settings: Settings, producer: Any = None) -> Relay:
    return Relay(db, db.url, producer or Producer(settings), settings)


async def owner(db: OwnDatabase) -> int | None:
    async with db.reader() as reader:
        return await reader.fetchval(OWNER)  # type: ignore[no-any-return]  # a query's value is Any


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

    async def connect(self) -> bool:
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


async def test_commit_wakes_the_relay(db: OwnDatabase, settings: Settings) -> None:
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
        assert fake.calls[0] == [1, 2, 3, 4, 5]
        assert fake.calls[1] == [2, 4]
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
    async with running(relay_for(db, settings).run):
        await eventually(lambda: owner(db))
    assert await all_published(db)


async def test_second_relay_takes_over(db: OwnDatabase, settings: Settings) -> None:
    first, second = FakeProducer(), FakeProducer()
    first.open.set()
    second.open.set()
    async with running(relay_for(db, settings, first).run):
        await eventually(lambda: owner(db))
        async with running(relay_for(db, settings, second).run):
            for _ in range(5):
                await write_events(db, renamed_event())
            await eventually(lambda: all_published(db))
            assert first.calls
            assert not second.calls
            first.open.clear()  # the owner waits in a send ...
            await write_events(db, renamed_event())
            await eventually(lambda: first.calls[-1] == [6])
            async with db.reader() as reader:
                await reader.fetchval("select pg_terminate_backend($1)", await owner(db))
            await eventually(lambda: second.calls == [[6]])
            await eventually(lambda: all_published(db))
            first.open.set()  # ... and returns from it: it may have sent the row, but it cannot mark it
            await eventually(lambda: owner(db))


async def test_relay_survives_a_lost_session(db: OwnDatabase, settings: Settings) -> None:
    async with running(relay_for(db, settings).run):
        await write_events(db, renamed_event())
        await eventually(lambda: all_published(db))
        async with db.reader() as reader:
            await reader.fetchval(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                "where application_name = 'relay' and datname = current_database()"
            )
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


async def test_paused_relay_loses_the_lock_within_15_seconds(db: OwnDatabase, settings: Settings) -> None:
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
        await eventually(lambda: owner(db), timeout=20)
        await write_events(db, renamed_event(person, 1))
        await eventually(lambda: all_published(db), timeout=20)
        first = await owner(db)
        paused.send_signal(signal.SIGSTOP)
        await write_events(db, renamed_event(person, 2))
        began = time.monotonic()
        async with running(relay_for(db, settings).run):
            await eventually(lambda: all_published(db), timeout=20)
            assert time.monotonic() - began < 15
            assert await owner(db) != first
            paused.send_signal(signal.SIGCONT)
            await write_events(db, renamed_event(person, 3))
            await eventually(lambda: all_published(db))
        await eventually(lambda: owner(db), timeout=20)  # the first waits for the lock again
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


async def test_read_uses_the_index_of_unpublished_rows(db: OwnDatabase, watcher: asyncpg.Connection) -> None:
    """Even with many published rows."""
    await watcher.execute(
        "insert into outbox (event_id, topic, type, source, subject, key, time, payload, published_at) "
        "select gen_random_uuid(), 't', 't', 's', gen_random_uuid(), gen_random_uuid(), now(), '', now() "
        "from generate_series(1, 20000)"
    )
    await watcher.execute("analyze outbox")
    plan = "\n".join(
        row[0]
        for row in await watcher.fetch("explain select id from outbox where published_at is null order by id limit 500")
    )
    assert "outbox_unpublished" in plan


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
