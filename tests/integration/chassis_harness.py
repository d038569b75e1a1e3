"""Helpers of the tests of relay and consumer: events, the records of a topic, roles running in the background."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.chassis.database.pool import Database
from services.chassis.messaging import outbox
from services.chassis.runtime.settings import Settings
from services.contracts.event import Envelope
from services.contracts.people import PersonRenamed
from services.contracts.topics import PEOPLE, Topic


def renamed_event(person_id: UUID | None = None, version: int = 1) -> PersonRenamed:
    return PersonRenamed(person_id=person_id or uuid4(), roles=(), version=version, occurred_at=datetime.now(UTC))


def envelope_of(event: PersonRenamed, **changes: Any) -> Envelope:
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


async def write_events(db: Database, *events: PersonRenamed) -> list[UUID]:
    """Commit events to the outbox in one transaction; return their ids."""
    async with db.transaction() as tx:
        return [await outbox.add(tx, event) for event in events]


async def unpublished(db: Database) -> int:
    async with db.reader() as reader:
        return int(await reader.fetchval("select count(*) from outbox where published_at is null"))


async def all_published(db: Database) -> bool:
    return await unpublished(db) == 0


async def records(settings: Settings, topic: Topic = PEOPLE) -> list[Any]:
    """Return all records of a topic, each partition in its order."""
    partitions = [TopicPartition(settings.kafka_prefix + topic.name, number) for number in range(topic.partitions)]
    client = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest")
    await client.start()
    try:
        client.assign(partitions)
        ends = await client.end_offsets(partitions)
        await client.seek_to_beginning()
        found: list[Any] = []
        while any([await client.position(partition) < end for partition, end in ends.items()]):
            for batch in (await client.getmany(timeout_ms=200)).values():
                found += batch
        return found
    finally:
        await client.stop()


def header(record: Any, name: str) -> str:
    value: bytes = dict(record.headers)[name]
    return value.decode()


@contextlib.asynccontextmanager
async def running(
    *roles: Callable[[asyncio.Event], Awaitable[None]],
) -> AsyncIterator[asyncio.Event]:
    """Run roles during the block and stop them after it; raise their errors."""
    stop = asyncio.Event()

    async def guarded(role: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        try:
            await role(stop)
        except Exception as error:
            print(f"a role failed: {error!r}")  # shown if the test fails
            raise

    tasks = [asyncio.ensure_future(guarded(role)) for role in roles]
    try:
        yield stop
    finally:
        stop.set()
        async with asyncio.timeout(30):
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
