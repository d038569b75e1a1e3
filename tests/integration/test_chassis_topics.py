"""Creation of topics on a real broker."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from structlog.testing import capture_logs

from services.chassis.messaging.consumer import Consumer
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.topics import COMMENTS, TOPICS, dead_letter_topic

NAMES = sorted(topic.name for topic in TOPICS)


async def configured(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}


async def test_topics_are_created_once(kafka: str, kafka_prefix: str) -> None:
    """Also by concurrent processes."""
    with capture_logs() as logs:
        await asyncio.gather(*(create_topics(kafka, kafka_prefix) for _ in range(4)))
    created = [name for entry in logs if entry["event"] == "topics created" for name in entry["topics"]]
    assert set(created) == {kafka_prefix + name for name in NAMES}
    with capture_logs() as logs:
        await create_topics(kafka, kafka_prefix)
    assert logs == []
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        found: list[dict[str, Any]] = await admin.describe_topics([kafka_prefix + name for name in NAMES])
        partitions = {topic["topic"].removeprefix(kafka_prefix): len(topic["partitions"]) for topic in found}
        assert partitions == {topic.name: topic.partitions for topic in TOPICS}
        assert all(part["leader"] >= 0 for topic in found for part in topic["partitions"])
        for topic in (COMMENTS, dead_letter_topic("notify")):
            configs = await configured(admin, kafka_prefix + topic.name)
            assert configs["retention.ms"] == str(topic.retention_ms)
            assert configs["cleanup.policy"] == "delete"
    finally:
        await admin.close()


async def test_unreachable_broker_is_an_error_in_time(free_port: Callable[[], int]) -> None:
    began = time.monotonic()
    with pytest.raises((KafkaError, OSError)):
        await create_topics(f"127.0.0.1:{free_port()}", seconds=1)
    assert time.monotonic() - began < 5


async def test_unknown_group_is_refused() -> None:
    db: Any = None
    with pytest.raises(ValueError, match="nobody is not one of the groups"):
        Consumer("nobody", [COMMENTS], Handlers(), db, Settings())
