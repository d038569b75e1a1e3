"""Kafka topics: created from the list in the contracts, never automatically by the broker."""

import asyncio
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError, for_code

from services.chassis.messaging.topic_settings import wanted_settings
from services.chassis.messaging.unreachable import Unreachable, unreachable
from services.contracts.topics import TOPICS, Topic

log = structlog.get_logger(__name__)


async def create_topics(
    bootstrap: str,
    prefix: str = "",
    *,
    replication_factor: int = 1,
    min_insync_replicas: int | None = None,
    topics: Iterable[Topic] = TOPICS,
    seconds: float = 30.0,
    credential: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Create missing topics, and wait until their partitions have leaders.

    Args:
        min_insync_replicas: None for one less than the replicas, at least one.
        credential: the other arguments of a client, as `connection` returns them.

    Raises:
        Unreachable: no broker answers; a KafkaError.
        KafkaError: the broker refuses.
        TimeoutError: it took longer than `seconds`.
    """
    wanted = {prefix + topic.name: topic for topic in topics}
    async with asyncio.timeout(seconds):
        # half of the time, in ms, for one request: aiokafka leaks a connection if its creation is cancelled
        arguments = {**credential, "bootstrap_servers": bootstrap}
        admin = AIOKafkaAdminClient(**arguments, request_timeout_ms=int(seconds * 500))
        try:
            try:
                async with asyncio.timeout(seconds * 0.9):
                    await admin.start()
            except TimeoutError:
                raise Unreachable(bootstrap, "sasl_mechanism" in arguments) from None
            except (KafkaConnectionError, OSError):
                raise await unreachable(arguments) from None
            missing = wanted.keys() - set(await admin.list_topics())
            if missing:
                answer = await admin.create_topics(
                    [
                        _new_topic(name, wanted[name], replication_factor, min_insync_replicas)
                        for name in sorted(missing)
                    ]
                )
                for name, code, *_ in answer.topic_errors:
                    if for_code(code) not in (for_code(0), TopicAlreadyExistsError):
                        raise for_code(code)(name)
                while not await _have_leaders(admin, missing):  # noqa: ASYNC110  # the broker sends no notification
                    await asyncio.sleep(0.05)
                log.info("topics created", topics=sorted(missing))

        finally:
            await admin.close()


async def _have_leaders(admin: AIOKafkaAdminClient, names: Iterable[str]) -> bool:
    """Return whether every partition has a leader. A topic is listed a moment before that."""
    described = await admin.describe_topics(sorted(names))
    return all(
        topic["error_code"] == 0
        and all(part["error_code"] == 0 and part["leader"] >= 0 for part in topic["partitions"])
        for topic in described
    )


def _new_topic(name: str, topic: Topic, replication_factor: int, min_insync_replicas: int | None) -> NewTopic:
    configs = wanted_settings(topic, replication_factor, min_insync_replicas)
    return NewTopic(name, topic.partitions, replication_factor, topic_configs=configs)
