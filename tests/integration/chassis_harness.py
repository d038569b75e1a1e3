"""What the tests of relay and consumer share: events about nobody, a look into topics, roles that run meanwhile."""

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


def renamed(person_id: UUID | None = None, version: int = 1) -> PersonRenamed:
    return PersonRenamed(person_id=person_id or uuid4(), roles=(), version=version, occurred_at=datetime.now(UTC))


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


async def write(database: Database, *events: PersonRenamed) -> list[UUID]:
    """Commit events to the outbox in one transaction; returns their ids."""
    async with database.transaction() as tx:
        return [await outbox.add(tx, event) for event in events]


async def unpublished(database: Database) -> int:
    async with database.reader() as reader:
        return int(await reader.fetchval("select count(*) from outbox where published_at is null"))


async def all_published(database: Database) -> bool:
    return await unpublished(database) == 0


async def records(settings: Settings, topic: Topic = PEOPLE) -> list[Any]:
    """Everything on a topic now, each partition in its order."""
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
    """Roles that run while the block does, and are asked to stop after it. Their errors are raised here."""
    stop = asyncio.Event()

    async def guarded(role: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        try:
            await role(stop)
        except Exception as error:
            print(f"a role ended: {error!r}")  # shown when the test fails for want of it
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
