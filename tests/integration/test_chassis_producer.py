"""Why a failed Kafka client is discarded: the faults of aiokafka's producer, and ours without them."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import LeaderNotAvailableError, OutOfOrderSequenceNumber

from services.chassis.messaging.outbox import OutboxRow
from services.chassis.messaging.producer import Producer, Unacknowledged
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.event import Envelope
from services.contracts.topics import PEOPLE
from tests.integration.chassis_harness import header, records


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> Settings:
    return Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix, kafka_timeout_seconds=2)


def row(number: int, key: str = "00000000-0000-7000-8000-000000000001", size: int = 10) -> OutboxRow:
    subject = uuid4()
    envelope = Envelope(
        id=uuid4(),
        source="/services/people",
        type="dev.rapport.people.renamed.v1",
        subject=subject,
        time=datetime.now(UTC),
        key=subject if key == "own" else UUID(key),
        data=b"{" + b" " * size + b"}",
    )
    return OutboxRow(number, PEOPLE.name, envelope)


def lose_leader(client: Any) -> None:
    """Hide the leaders from the client, as a broker does that has just started."""
    client.client.cluster.leader_for_partition = lambda _: -1


def find_leader(client: Any) -> None:
    del client.client.cluster.leader_for_partition


async def raw(settings: Settings) -> AIOKafkaProducer:
    client = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, enable_idempotence=True, request_timeout_ms=300
    )
    await client.start()
    return client


async def test_aiokafka_is_wedged_by_a_missing_leader(settings: Settings) -> None:
    """The fault of the library; when this test fails, it is fixed and `Producer` may become simpler."""
    await create_topics(settings.kafka_bootstrap_servers, settings.kafka_prefix)
    topic = settings.kafka_prefix + PEOPLE.name
    client = await raw(settings)
    await client.send_and_wait(topic, b"known to the broker", partition=0)
    lose_leader(client)
    with pytest.raises(LeaderNotAvailableError):
        await client.send_and_wait(topic, b"never sent", partition=0)
    find_leader(client)
    for _ in range(3):
        with pytest.raises(OutOfOrderSequenceNumber):
            await client.send_and_wait(topic, b"refused for ever", partition=0)
    await client.stop()


async def test_aiokafka_lets_a_record_overtake_a_failed_one(settings: Settings) -> None:
    """A broker that does not know the producer yet accepts the batch after the failed one."""
    await create_topics(settings.kafka_bootstrap_servers, settings.kafka_prefix)
    topic = settings.kafka_prefix + PEOPLE.name
    client = await raw(settings)
    await client.partitions_for(topic)
    lose_leader(client)
    first = await client.send(topic, b"first", partition=0)
    with pytest.raises(LeaderNotAvailableError):
        await first
    find_leader(client)
    await client.send_and_wait(topic, b"second", partition=0)
    await client.stop()
    assert [record.value for record in await records(settings)] == [b"second"]


async def test_producer_continues_with_a_new_client(settings: Settings) -> None:
    producer = Producer(settings)
    assert await producer.send([row(1)]) == [1]
    wedged = producer._client
    lose_leader(wedged)
    assert await producer.send([row(2), row(3)]) == []
    assert producer._client is not wedged
    assert await producer.send([row(2), row(3)]) == [2, 3]
    await producer.close()


async def test_batch_is_acknowledged_as_a_whole(settings: Settings) -> None:
    """Rows beyond a partition's batch are left for the next call, so no row overtakes them."""
    producer = Producer(settings)
    big = [row(number, size=200_000) for number in range(5)] + [row(5, key="00000000-0000-7000-8000-000000000002")]
    first = await producer.send(big)
    assert first == [0, 1, 5]
    assert await producer.send([r for r in big if r.id not in first]) == [2, 3]
    assert await producer.send(big[4:5]) == [4]
    await producer.close()
    own = [r for r in await records(settings) if len(r.value) > 1000]
    assert [header(r, "ce_id") for r in own] == [str(r.envelope.id) for r in big[:5]]


async def test_client_with_an_ended_sender_task_is_replaced(settings: Settings) -> None:
    producer = Producer(settings)
    await producer.send([row(1)])
    client: Any = producer._client
    client._sender.sender_task.cancel()
    began = time.monotonic()
    assert await producer.send([row(2)]) == []
    assert time.monotonic() - began < 8
    assert await producer.send([row(2)]) == [2]
    await producer.close()


async def test_unreachable_broker_takes_bounded_time_and_leaves_no_task(
    free_port: Callable[[], int],
) -> None:
    before = asyncio.all_tasks()
    port = free_port()
    producer = Producer(Settings(kafka_bootstrap_servers=f"127.0.0.1:{port}", kafka_timeout_seconds=1))
    began = time.monotonic()
    for _ in range(3):
        assert await producer.send([row(1)]) == []
    with pytest.raises(Unacknowledged):
        await producer.send_record("topic", 0, None, b"x", [])
    assert time.monotonic() - began < 12
    await producer.close()
    assert asyncio.all_tasks() - before == set()


async def test_unresponsive_broker_takes_bounded_time(settings: Settings) -> None:
    """The connection is open without responses: sender and flush would wait for ever."""
    producer = Producer(settings)
    await producer.send([row(1)])
    client: Any = producer._client
    requested = asyncio.Event()

    async def never(*_: object, **__: object) -> object:
        requested.set()
        return await asyncio.Event().wait()

    client.client.send = never
    before = asyncio.all_tasks()
    began = time.monotonic()
    assert await producer.send([row(2)]) == []
    assert requested.is_set()
    assert time.monotonic() - began < 7
    await asyncio.sleep(0)
    assert {t for t in asyncio.all_tasks() - before if not t.done()} == set()
    assert await producer.send([row(2)]) == [2]
    await producer.close()


async def test_partitions_are_those_of_other_clients(settings: Settings) -> None:
    producer = Producer(settings)
    rows = [row(number, key="own") for number in range(50)]
    await producer.send(rows)
    await producer.close()
    client = await raw(settings)
    topic = settings.kafka_prefix + PEOPLE.name
    for r in rows[:10]:
        await client.send_and_wait(topic, b"{}", key=str(r.envelope.key).encode())
    await client.stop()
    places: dict[bytes, set[int]] = {}
    for record in await records(settings):
        places.setdefault(record.key, set()).add(record.partition)
    assert all(len(found) == 1 for found in places.values())
    assert len(set().union(*places.values())) > 1
