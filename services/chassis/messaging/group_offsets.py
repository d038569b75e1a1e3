"""Offsets of a consumer group: how far it is in each partition."""

import contextlib
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.chassis.messaging.connection import connection
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.timeouts import wait_at_most
from services.contracts.topics import Topic


async def read_offsets(
    settings: Settings, group: str, topics: Sequence[Topic]
) -> dict[TopicPartition, tuple[int, int]]:
    """Return for each partition the next offset of the group, and the end, with a client of its own.

    Raises:
        KafkaError: the broker is unavailable or refuses.
    """
    client = AIOKafkaConsumer(
        **connection(settings),
        group_id=settings.kafka_prefix + group,
        enable_auto_commit=False,
        request_timeout_ms=5_000,
    )
    try:
        await client.start()
        parts = [
            TopicPartition(settings.kafka_prefix + topic.name, number)
            for topic in topics
            for number in range(topic.partitions)
        ]
        begins, ends = await client.beginning_offsets(parts), await client.end_offsets(parts)
        done = {part: await client.committed(part) for part in parts}
        return {part: (max(done[part] or 0, begins[part]), ends[part]) for part in parts}
    finally:
        with contextlib.suppress(Exception):
            await wait_at_most(5, client.stop())
