"""Relay and consumer in outages of Kafka and PostgreSQL: they recover by themselves and lose no event."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest

from services.chassis.database.migrations import migrate
from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem
from services.chassis.messaging import dead_letter
from services.chassis.messaging.consumer import Consumer
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.messaging.watchdog import Stalled
from services.chassis.runtime.settings import Settings
from services.contracts.event import Envelope
from services.contracts.people import PersonRenamed
from services.contracts.topics import PEOPLE
from tests.integration.chassis_harness import header, records, renamed_event, running, unpublished, write_events
from tests.servers import PrivateServers
from tests.waiting import eventually


class Harness:
    """A database and a broker that may be killed, with one relay and one consumer."""

    def __init__(self, db: Database, url: str, settings: Settings) -> None:
        self.db, self.url, self.settings = db, url, settings
        self.handlers = Handlers()
        self.handlers.on(PersonRenamed)(self.record)
        self.person = uuid4()
        self.written = 0
        self.hang = asyncio.Event()

    async def record(self, tx: Transaction, event: PersonRenamed, envelope: Envelope) -> None:
        await tx.execute("insert into effects (event_id, version) values ($1, $2)", envelope.id, event.version)

    def relay(self) -> Relay:
        return Relay(self.db, self.url, Producer(self.settings), self.settings)

    def consumer(self) -> Consumer:
        return Consumer("comments", [PEOPLE], self.handlers, self.db, self.settings)

    def shorten_stall_limit(self) -> None:
        self.settings = self.settings.model_copy(update={"consumer_stall_seconds": 3.0})

    async def write(self, count: int = 1) -> None:
        """Commit the next versions of one person, whose order can be checked."""
        for _ in range(count):
            await write_events(self.db, renamed_event(self.person, self.written))
            self.written += 1

    async def effects(self) -> list[int]:
        async with self.db.reader() as reader:
            return [row["version"] for row in await reader.fetch("select version from effects order by id")]

    async def all_applied(self) -> bool:
        with contextlib.suppress(Problem):
            return len(await self.effects()) >= self.written
        return False

    async def check(self) -> None:
        """Assert that each event had its effect once and in order; on the topic, first occurrences are in order too."""
        await eventually(self.all_applied, timeout=40)
        assert await self.effects() == list(range(self.written))
        seen: dict[str, int] = {}
        for record in await records(self.settings):
            seen.setdefault(header(record, "ce_id"), PersonRenamed.model_validate_json(record.value).version)
        assert list(seen.values()) == list(range(self.written))
        assert await dead_letter.entries(self.settings, "comments") == []


@pytest.fixture
async def harness(private_servers: PrivateServers, kafka_prefix: str) -> AsyncIterator[Harness]:
    await asyncio.to_thread(lambda: (private_servers.postgres, private_servers.broker))
    name = f"outages_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(private_servers.postgres_url("postgres"))
    await admin.execute(f'create database "{name}"')
    await admin.close()
    url = private_servers.postgres_url(name)
    await migrate(url, ["services.chassis"])
    db = await Database.connect(url, name="test")
    async with db.transaction() as tx:
        await tx.execute("create table effects (id bigint generated always as identity, event_id uuid, version int)")
    settings = Settings(
        kafka_bootstrap_servers=private_servers.kafka,
        kafka_prefix=kafka_prefix,
        kafka_timeout_seconds=2,
    )
    yield Harness(db, url, settings)
    await db.close()


async def run_through_outage(
    harness: Harness, away: Callable[[], Awaitable[None]], back: Callable[[], Awaitable[None]]
) -> float:
    """Write before, during and after an outage; return the seconds from its end to the last pending effect."""
    async with running(harness.relay().run, harness.consumer().run):
        await harness.write(5)
        await eventually(harness.all_applied, timeout=40)
        await away()
        with contextlib.suppress(Problem):
            await harness.write(5)
        await asyncio.sleep(6)  # longer than any timeout, so that every client is discarded meanwhile
        await back()
        began = time.monotonic()
        await eventually(harness.all_applied, timeout=40)
        recovered = time.monotonic() - began
        await harness.write(5)
        await harness.check()
    return recovered


async def test_killed_kafka_broker(harness: Harness, private_servers: PrivateServers) -> None:
    broker = private_servers.broker
    recovered = await run_through_outage(
        harness, lambda: asyncio.to_thread(broker.kill), lambda: asyncio.to_thread(broker.start)
    )
    assert recovered < 15


async def test_unresponsive_kafka_broker(harness: Harness, private_servers: PrivateServers) -> None:
    """It accepts connections and bytes, and sends no response."""
    assert private_servers.broker.process is not None
    pid = private_servers.broker.process.pid

    async def send(number: signal.Signals) -> None:
        os.kill(pid, number)

    try:
        recovered = await run_through_outage(harness, lambda: send(signal.SIGSTOP), lambda: send(signal.SIGCONT))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert recovered < 15


async def test_killed_postgres(harness: Harness, private_servers: PrivateServers) -> None:
    """A polled event waits for the database; there is no dead letter and the process does not end."""
    server = private_servers.postgres
    recovered = await run_through_outage(
        harness, lambda: asyncio.to_thread(server.kill), lambda: asyncio.to_thread(server.start)
    )
    assert recovered < 15


async def test_unavailable_database_of_handlers_is_no_stall(harness: Harness, private_servers: PrivateServers) -> None:
    """Events wait on the topic for longer than the stall limit; the consumer keeps running and handles them."""
    harness.shorten_stall_limit()
    async with running(harness.relay().run):
        await harness.write(5)
        await eventually(lambda: nothing_unpublished(harness), timeout=40)
    await asyncio.to_thread(private_servers.postgres.kill)
    async with running(harness.consumer().run) as stop:
        await asyncio.sleep(7)  # more than twice the limit
        assert not stop.is_set()
        await asyncio.to_thread(private_servers.postgres.start)
        await harness.check()


async def nothing_unpublished(harness: Harness) -> bool:
    return await unpublished(harness.db) == 0


async def test_hanging_handler_is_a_stall_and_another_run_of_the_same_consumer_goes_on(harness: Harness) -> None:
    harness.shorten_stall_limit()
    hung = asyncio.Event()

    async def hang_at_first(tx: Transaction, event: PersonRenamed, envelope: Envelope) -> None:
        if not hung.is_set():
            hung.set()
            await asyncio.Event().wait()
        await harness.record(tx, event, envelope)

    handlers = Handlers()
    handlers.on(PersonRenamed)(hang_at_first)
    async with running(harness.relay().run):
        await harness.write(1)
        await eventually(lambda: nothing_unpublished(harness), timeout=40)
    consumer = Consumer("comments", [PEOPLE], handlers, harness.db, harness.settings)
    with pytest.raises(Stalled, match="nothing has moved"):
        await asyncio.wait_for(consumer.run(asyncio.Event()), 40)
    assert not await consumer.ready()
    async with running(consumer.run):
        await harness.check()
        assert await consumer.ready()


async def test_idle_topic_is_no_stall(harness: Harness) -> None:
    harness.shorten_stall_limit()
    async with running(harness.relay().run, harness.consumer().run) as stop:
        await harness.write(1)
        await eventually(harness.all_applied, timeout=40)
        await asyncio.sleep(5)  # longer than the limit and than two checks
        assert not stop.is_set()
        await harness.write(1)
        await harness.check()
