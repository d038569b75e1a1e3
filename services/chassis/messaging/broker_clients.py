"""Clients of the broker for one question, closed when it is answered."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from services.chassis.messaging.connection import connection
from services.chassis.messaging.unreachable import unreachable
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.timeouts import wait_at_most
from services.contracts.topics import Topic

REQUEST_MS = 5_000


def partitions_of(settings: Settings, topic: Topic) -> list[TopicPartition]:
    """Return the partitions of a topic as the broker names them."""
    return [TopicPartition(settings.kafka_prefix + topic.name, number) for number in range(topic.partitions)]


@asynccontextmanager
async def reading(settings: Settings, group: str | None = None) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a consumer that has no partitions; as a member of no group, or only to ask for the offsets of one.

    Raises:
        KafkaError: the broker is unavailable or refuses.
    """
    client = AIOKafkaConsumer(
        **connection(settings),
        group_id=None if group is None else settings.kafka_prefix + group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # where retention deletes what is being read, it goes on with what is left
        request_timeout_ms=REQUEST_MS,
    )
    try:
        await client.start()
        yield client
    finally:
        with contextlib.suppress(Exception):
            await wait_at_most(5, client.stop())


@asynccontextmanager
async def administering(settings: Settings, request_ms: int = REQUEST_MS) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield an administration client.

    Raises:
        Unreachable: no broker answers or accepts the credential.
    """
    admin = AIOKafkaAdminClient(**connection(settings), request_timeout_ms=request_ms)
    try:
        try:
            await admin.start()
        except (KafkaConnectionError, OSError):
            raise await unreachable(connection(settings)) from None
        yield admin
    finally:
        with contextlib.suppress(Exception):
            await wait_at_most(5, admin.close())
