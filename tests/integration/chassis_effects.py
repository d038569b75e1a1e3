"""Handlers that record events in a table, and helpers that publish to their topic."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from aiokafka.admin import AIOKafkaAdminClient

from services.chassis.database.pool import Transaction
from services.chassis.messaging.cloudevents import Headers, to_headers, to_key
from services.chassis.messaging.consumer import Consumer
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.producer import Producer
from services.chassis.runtime.settings import Settings
from services.contracts.event import Envelope
from services.contracts.people import PersonRenamed
from services.contracts.topics import PEOPLE, dead_letter_topic
from tests.conftest import OwnDatabase
from tests.integration.chassis_harness import envelope_of, records
from tests.waiting import eventually

GROUP = "comments"


class Effects:
    """Handlers that insert each event into a table, after a hook of the test."""

    def __init__(self, db: OwnDatabase) -> None:
        self.db = db
        self.handlers = Handlers()
        self.handlers.on(PersonRenamed)(self.record)
        self.before: Callable[[PersonRenamed], Awaitable[None]] | None = None
        self.calls = 0

    async def record(self, tx: Transaction, event: PersonRenamed, envelope: Envelope) -> None:
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
        async with self.db.reader() as reader:
            rows = await reader.fetch(
                "select version from effects where $1::uuid is null or person_id = $1 order by id", person_id
            )
        return [row["version"] for row in rows]


def consumer_for(effects: Effects, settings: Settings) -> Consumer:
    return Consumer(GROUP, [PEOPLE], effects.handlers, effects.db, settings)


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


async def publish(settings: Settings, *events: PersonRenamed, partition: int = 0) -> list[Envelope]:
    """Publish events on one partition, in this order."""
    producer = Producer(settings)
    envelopes = [envelope_of(event) for event in events]
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
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(settings.kafka_prefix + group)
        return sum(entry.offset for entry in offsets.values())
    finally:
        await admin.close()


async def has_committed(settings: Settings, count: int) -> bool:
    return await committed(settings) == count


async def effects_are(effects: Effects, versions: list[int], person: UUID | None = None, timeout: float = 20) -> None:
    async def all_there() -> bool:
        return len(await effects.versions(person)) >= len(versions)

    await eventually(all_there, timeout=timeout)
    assert await effects.versions(person) == versions


async def has_dead_letters(settings: Settings, count: int) -> bool:
    return len(await records(settings, dead_letter_topic(GROUP))) >= count
