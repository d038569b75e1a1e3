"""The relay on real PostgreSQL and Kafka: nothing lost, nothing out of order, through every way it can be disturbed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.chassis.errors import Problem
from services.chassis.messaging import outbox
from services.chassis.messaging.outbox import OutboxRow
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.runtime.settings import Settings
from tests.conftest import NewDatabase, OwnDatabase
from tests.integration.chassis_harness import all_published, header, records, renamed, running, unpublished, write
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
async def database(new_database: NewDatabase) -> OwnDatabase:
    return await new_database("services.chassis")


def relay_for(database: OwnDatabase, settings: Settings, producer: Any = None) -> Relay:
    return Relay(database, database.url, producer or Producer(settings), settings)


async def owner(database: OwnDatabase) -> int | None:
    async with database.reader() as reader:
        return await reader.fetchval(OWNER)  # type: ignore[no-any-return]  # a query's value is Any


async def versions(settings: Settings, person: object) -> list[int]:
    """Versions of one person's events as they came to the topic, first occurrences only."""
    seen: dict[str, int] = {}
    for record in await records(settings):
        if record.key == str(person).encode():
            seen.setdefault(header(record, "ce_id"), int(record.value.split(b'"version":')[1].split(b",")[0]))
    return list(seen.values())


class Gate:
    """A producer that does what a test says: holds a send, or acknowledges only some rows."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.open = asyncio.Event()
        self.refuse: set[int] = set()

    async def send(self, rows: Sequence[OutboxRow]) -> list[int]:
        self.calls.append([row.id for row in rows])
        await self.open.wait()
        return [row.id for row in rows if row.id not in self.refuse]

    async def close(self) -> None:
        pass


async def test_what_is_committed_is_published_once_in_order(database: OwnDatabase, settings: Settings) -> None:
    person = uuid4()
    async with running(relay_for(database, settings).run):
        ids = []
        for version in range(1, 31):
            ids += await write(database, renamed(person, version), renamed())
        await eventually(lambda: all_published(database))
    found = await records(settings)
    assert sorted(header(record, "ce_id") for record in found) == sorted(map(str, ids))
    assert await versions(settings, person) == list(range(1, 31))


async def test_a_commit_wakes_it_at_once(database: OwnDatabase, settings: Settings) -> None:
    slow = settings.model_copy(update={"relay_poll_seconds": 60.0})
    async with running(relay_for(database, slow).run):
        await write(database, renamed())
        await eventually(lambda: all_published(database), timeout=20)
        began = time.monotonic()
        await write(database, renamed())
        await eventually(lambda: all_published(database), timeout=20)
        assert time.monotonic() - began < 5


async def test_rows_of_other_processes_are_found_by_polling(database: OwnDatabase, settings: Settings) -> None:
    async with running(relay_for(database, settings).run):
        database.on_outbox = lambda: None
        await write(database, renamed())
        await eventually(lambda: all_published(database), timeout=20)


async def test_a_row_that_commits_late_is_not_skipped(database: OwnDatabase, settings: Settings) -> None:
    """Its id was drawn before those of 500 others that are published meanwhile."""
    async with running(relay_for(database, settings).run):
        async with database.transaction() as tx:
            late = await outbox.add(tx, renamed())
            await write(database, *(renamed() for _ in range(500)))
            await eventually(lambda: all_published(database), timeout=20)
        await eventually(lambda: all_published(database), timeout=20)
    assert str(late) in {header(record, "ce_id") for record in await records(settings)}


async def test_more_rows_than_a_batch(database: OwnDatabase, settings: Settings) -> None:
    person = uuid4()
    small = settings.model_copy(update={"relay_batch": 7})
    await write(database, *(renamed(person, version) for version in range(100)))
    async with running(relay_for(database, small).run):
        await eventually(lambda: all_published(database), timeout=20)
    assert await versions(settings, person) == list(range(100))


async def test_no_transaction_is_open_while_kafka_is_spoken_to(database: OwnDatabase, settings: Settings) -> None:
    gate = Gate()
    async with running(relay_for(database, settings, gate).run):
        await write(database, renamed())
        await eventually(lambda: gate.calls)
        async with database.reader() as reader:
            rows = await reader.fetch(
                "select state, xact_start, backend_xmin from pg_stat_activity "
                "where application_name = 'relay' and datname = current_database()"
            )
        assert [tuple(row) for row in rows] == [("idle", None, None)]
        gate.open.set()
        await eventually(lambda: all_published(database))


async def test_what_was_not_acknowledged_is_given_again(database: OwnDatabase, settings: Settings) -> None:
    gate = Gate()
    gate.open.set()
    gate.refuse = {2, 4}
    await write(database, *(renamed() for _ in range(5)))
    async with running(relay_for(database, settings, gate).run):
        await eventually(lambda: len(gate.calls) > 2)
        assert gate.calls[0] == [1, 2, 3, 4, 5]
        assert gate.calls[1] == [2, 4]
        assert await unpublished(database) == 2
        gate.refuse.clear()
        await eventually(lambda: all_published(database))


async def test_memory_is_bounded_while_kafka_is_away(database: OwnDatabase, settings: Settings) -> None:
    gate = Gate()
    async with running(relay_for(database, settings, gate).run):
        for _ in range(3):
            await write(database, *(renamed() for _ in range(500)))
        await eventually(lambda: gate.calls)
        assert max(len(call) for call in gate.calls) <= settings.relay_batch
        assert len(gate.calls) == 1
        gate.open.set()
        await eventually(lambda: all_published(database))


async def test_a_stop_carries_away_what_is_left(database: OwnDatabase, settings: Settings) -> None:
    await write(database, *(renamed() for _ in range(1200)))
    async with running(relay_for(database, settings).run):
        await eventually(lambda: owner(database))
    assert await all_published(database)


async def test_only_one_of_two_publishes_and_the_other_takes_over(database: OwnDatabase, settings: Settings) -> None:
    first, second = Gate(), Gate()
    first.open.set()
    second.open.set()
    async with running(relay_for(database, settings, first).run):
        await eventually(lambda: owner(database))
        async with running(relay_for(database, settings, second).run):
            for _ in range(5):
                await write(database, renamed())
            await eventually(lambda: all_published(database))
            assert first.calls
            assert not second.calls
            first.open.clear()  # the owner is in the middle of a send ...
            await write(database, renamed())
            await eventually(lambda: first.calls[-1] == [6])
            async with database.reader() as reader:
                await reader.fetchval("select pg_terminate_backend($1)", await owner(database))
            await eventually(lambda: second.calls == [[6]])
            await eventually(lambda: all_published(database))
            first.open.set()  # ... and comes back: it may have sent, but it marks nothing
            await eventually(lambda: owner(database))


async def test_a_database_that_restarts_is_survived(database: OwnDatabase, settings: Settings) -> None:
    async with running(relay_for(database, settings).run):
        await write(database, renamed())
        await eventually(lambda: all_published(database))
        async with database.reader() as reader:
            await reader.fetchval(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                "where application_name = 'relay' and datname = current_database()"
            )
        await write(database, renamed())
        await eventually(lambda: all_published(database), timeout=15)


@pytest.mark.parametrize("since", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)])
async def test_what_is_published_again_has_bounds(database: OwnDatabase, since: datetime) -> None:
    with pytest.raises(Problem, match="invalid"):
        await outbox.republish(database, since)


async def test_a_published_row_can_be_published_again(database: OwnDatabase, settings: Settings) -> None:
    ids = await write(database, renamed(), renamed())
    async with running(relay_for(database, settings).run):
        await eventually(lambda: all_published(database))
        assert await outbox.republish(database, datetime.now(UTC)) == 0
        assert await outbox.republish(database, datetime.now(UTC) - timedelta(minutes=1)) == 2
        await eventually(lambda: all_published(database))
    found = [header(record, "ce_id") for record in await records(settings)]
    assert sorted(found) == sorted(2 * list(map(str, ids)))


async def test_a_paused_relay_loses_the_lock_within_15_seconds(database: OwnDatabase, settings: Settings) -> None:
    """SIGSTOP; a second one takes over; SIGCONT: the first marks nothing, nothing is lost, order holds."""
    person = uuid4()
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "KAFKA_PREFIX": settings.kafka_prefix,
    }
    paused = subprocess.Popen(  # noqa: ASYNC220  # it returns at once
        [sys.executable, "-m", "tests.integration.relay_process", database.url], env=environment
    )
    try:
        await eventually(lambda: owner(database), timeout=20)
        await write(database, renamed(person, 1))
        await eventually(lambda: all_published(database), timeout=20)
        first = await owner(database)
        paused.send_signal(signal.SIGSTOP)
        await write(database, renamed(person, 2))
        began = time.monotonic()
        async with running(relay_for(database, settings).run):
            await eventually(lambda: all_published(database), timeout=20)
            assert time.monotonic() - began < 15
            assert await owner(database) != first
            paused.send_signal(signal.SIGCONT)
            await write(database, renamed(person, 3))
            await eventually(lambda: all_published(database))
        await eventually(lambda: owner(database), timeout=20)  # the first is back in line
        await write(database, renamed(person, 4))
        await eventually(lambda: all_published(database))
    finally:
        paused.kill()
        paused.wait()
    assert await versions(settings, person) == [1, 2, 3, 4]


@pytest.fixture
async def watcher(database: OwnDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.url)
    yield connection
    await connection.close()


async def test_reading_does_not_slow_down_with_published_rows(
    database: OwnDatabase, watcher: asyncpg.Connection
) -> None:
    """The plan goes through the index of unpublished rows, however many published ones there are."""
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
