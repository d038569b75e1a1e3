"""Relay and consumer while Kafka or PostgreSQL is away or mute: they come back by themselves and lose nothing."""

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
from tests.integration.chassis_harness import header, records, renamed, running, unpublished, write
from tests.servers import PrivateServers
from tests.waiting import eventually


class Bench:
    """A database, a broker that may be killed, and one relay and one consumer between them."""

    def __init__(self, database: Database, url: str, settings: Settings) -> None:
        self.database, self.url, self.settings = database, url, settings
        self.handlers = Handlers()
        self.handlers.on(PersonRenamed)(self.note)
        self.person = uuid4()
        self.written = 0
        self.hang = asyncio.Event()

    async def note(self, tx: Transaction, event: PersonRenamed, envelope: Envelope) -> None:
        await tx.execute("insert into effects (event_id, version) values ($1, $2)", envelope.id, event.version)

    def relay(self) -> Relay:
        return Relay(self.database, self.url, Producer(self.settings), self.settings)

    def consumer(self) -> Consumer:
        return Consumer("comments", [PEOPLE], self.handlers, self.database, self.settings)

    def impatient(self) -> None:
        """Let a stall be one after 3 s."""
        self.settings = self.settings.model_copy(update={"consumer_stall_seconds": 3.0})

    async def write(self, count: int = 1) -> None:
        """Commit the next versions of one person, so that their order can be told."""
        for _ in range(count):
            await write(self.database, renamed(self.person, self.written))
            self.written += 1

    async def effects(self) -> list[int]:
        async with self.database.reader() as reader:
            return [row["version"] for row in await reader.fetch("select version from effects order by id")]

    async def all_applied(self) -> bool:
        with contextlib.suppress(Problem):
            return len(await self.effects()) >= self.written
        return False

    async def verdict(self) -> None:
        """Every event had its effect once and in order; on the topic, first occurrences are in order too."""
        await eventually(self.all_applied, timeout=40)
        assert await self.effects() == list(range(self.written))
        seen: dict[str, int] = {}
        for record in await records(self.settings):
            seen.setdefault(header(record, "ce_id"), PersonRenamed.model_validate_json(record.value).version)
        assert list(seen.values()) == list(range(self.written))
        assert await dead_letter.entries(self.settings, "comments") == []


@pytest.fixture
async def bench(private_servers: PrivateServers, kafka_prefix: str) -> AsyncIterator[Bench]:
    await asyncio.to_thread(lambda: (private_servers.postgres, private_servers.broker))
    name = f"outages_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(private_servers.postgres_url("postgres"))
    await admin.execute(f'create database "{name}"')
    await admin.close()
    url = private_servers.postgres_url(name)
    await migrate(url, ["services.chassis"])
    database = await Database.connect(url, name="test")
    async with database.transaction() as tx:
        await tx.execute("create table effects (id bigint generated always as identity, event_id uuid, version int)")
    settings = Settings(
        kafka_bootstrap_servers=private_servers.kafka,
        kafka_prefix=kafka_prefix,
        kafka_timeout_seconds=2,
    )
    yield Bench(database, url, settings)
    await database.close()


async def disturbed(bench: Bench, away: Callable[[], Awaitable[None]], back: Callable[[], Awaitable[None]]) -> float:
    """Write before, during and after an outage; returns the seconds from its end to the first effect."""
    async with running(bench.relay().run, bench.consumer().run):
        await bench.write(5)
        await eventually(bench.all_applied, timeout=40)
        await away()
        with contextlib.suppress(Problem):
            await bench.write(5)
        await asyncio.sleep(6)  # longer than any timeout, so that every client is thrown away meanwhile
        await back()
        began = time.monotonic()
        await eventually(bench.all_applied, timeout=40)
        recovered = time.monotonic() - began
        await bench.write(5)
        await bench.verdict()
    return recovered


async def test_kafka_is_killed(bench: Bench, private_servers: PrivateServers) -> None:
    broker = private_servers.broker
    recovered = await disturbed(bench, lambda: asyncio.to_thread(broker.kill), lambda: asyncio.to_thread(broker.start))
    assert recovered < 15


async def test_kafka_is_mute(bench: Bench, private_servers: PrivateServers) -> None:
    """It takes connections and bytes, and answers nothing."""
    assert private_servers.broker.process is not None
    pid = private_servers.broker.process.pid

    async def send(number: signal.Signals) -> None:
        os.kill(pid, number)

    try:
        recovered = await disturbed(bench, lambda: send(signal.SIGSTOP), lambda: send(signal.SIGCONT))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert recovered < 15


async def test_postgres_is_killed(bench: Bench, private_servers: PrivateServers) -> None:
    """An event that has come waits for the database; nothing is put aside, the process does not end."""
    server = private_servers.postgres
    recovered = await disturbed(bench, lambda: asyncio.to_thread(server.kill), lambda: asyncio.to_thread(server.start))
    assert recovered < 15


async def test_a_database_that_is_away_for_the_handlers_is_no_stall(
    bench: Bench, private_servers: PrivateServers
) -> None:
    """Events wait on the topic far longer than the stall limit; the consumer stays and applies them afterwards."""
    bench.impatient()
    async with running(bench.relay().run):
        await bench.write(5)
        await eventually(lambda: nothing_unpublished(bench), timeout=40)
    await asyncio.to_thread(private_servers.postgres.kill)
    async with running(bench.consumer().run) as stop:
        await asyncio.sleep(7)  # more than twice the limit
        assert not stop.is_set()
        await asyncio.to_thread(private_servers.postgres.start)
        await bench.verdict()


async def nothing_unpublished(bench: Bench) -> bool:
    return await unpublished(bench.database) == 0


async def test_a_handler_that_hangs_is_a_stall(bench: Bench) -> None:
    bench.impatient()

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    handlers = Handlers()
    handlers.on(PersonRenamed)(hang)
    async with running(bench.relay().run):
        await bench.write(1)
        await eventually(lambda: nothing_unpublished(bench), timeout=40)
    consumer = Consumer("comments", [PEOPLE], handlers, bench.database, bench.settings)
    with pytest.raises(Stalled, match="nothing has moved"):
        await asyncio.wait_for(consumer.run(asyncio.Event()), 40)
    assert not await consumer.ready()


async def test_an_idle_topic_is_no_stall(bench: Bench) -> None:
    bench.impatient()
    async with running(bench.relay().run, bench.consumer().run) as stop:
        await bench.write(1)
        await eventually(bench.all_applied, timeout=40)
        await asyncio.sleep(5)  # the limit, and more than one look
        assert not stop.is_set()
        await bench.write(1)
        await bench.verdict()
