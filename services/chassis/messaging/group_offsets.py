"""Where a consumer group is in its topics, and how many members it has; asked without joining it."""

from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.errors import NoError, for_code

from services.chassis.messaging.broker_clients import administering, partitions_of, reading
from services.chassis.runtime.settings import Settings
from services.contracts.topics import Topic


async def read_offsets(
    settings: Settings, group: str, topics: Sequence[Topic]
) -> dict[TopicPartition, tuple[int, int]]:
    """Return for each partition the next offset of the group, and the end.

    Raises:
        KafkaError: the broker is unavailable or refuses.
    """
    parts = [part for topic in topics for part in partitions_of(settings, topic)]
    async with reading(settings, group) as client:
        begins, ends = await client.beginning_offsets(parts), await client.end_offsets(parts)
        done = {part: await client.committed(part) for part in parts}
        return {part: (max(done[part] or 0, begins[part]), ends[part]) for part in parts}


async def committed(settings: Settings, group: str, topics: Sequence[Topic]) -> dict[str, dict[int, int]]:
    """Return by topic and partition how far the group is; partitions where it committed nothing are absent.

    Raises:
        KafkaError: the broker is unavailable or refuses.
    """
    async with reading(settings, group) as client:
        found: dict[str, dict[int, int]] = {}
        for topic in topics:
            offsets = [(part, await client.committed(part)) for part in partitions_of(settings, topic)]
            found[topic.name] = {part.partition: offset for part, offset in offsets if offset is not None}
        return found


async def member_count(settings: Settings, group: str) -> int:
    """Return how many live members the group has; one that was killed counts until its session ends.

    Raises:
        Unreachable: no broker answers or accepts the credential.
        KafkaError: the broker refuses.
    """
    async with administering(settings) as admin:
        answers = await admin.describe_consumer_groups([settings.kafka_prefix + group])
        groups = [found for answer in answers for found in answer.groups]
        for code, *_ in groups:
            if for_code(code) is not NoError:
                raise for_code(code)(f"the broker does not tell the members of {group}")
        return sum(len(members) for _, _, _, _, _, members, *_ in groups)
