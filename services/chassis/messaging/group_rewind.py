"""After a restore: set a consumer group back to the offsets of the snapshot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.chassis.messaging.broker_clients import administering, partitions_of, reading
from services.chassis.messaging.connection import connection
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.topics import Topic

CLOCKS_DIFFER = timedelta(minutes=5)  # those of the database and of the producers


@dataclass(frozen=True)
class Rewind:
    """Where a group is to go on.

    Attributes:
        lost_topics: topics, without prefix, whose log does not have everything since then: their owners must state what
            they own.
    """

    offsets: Mapping[TopicPartition, int]
    lost_topics: tuple[str, ...]


async def plan(
    settings: Settings,
    group: str,
    topics: Sequence[Topic],
    offsets: Mapping[str, Mapping[int, int]] | None,
    taken_at: datetime,
) -> Rewind:
    """Return where the group goes on that was there when its database was read at this time.

    The log may have lost records since, or be another one with the same name: then it is read from its beginning.

    Args:
        offsets: as `group_offsets.committed` returns them; None if they are unknown.

    Raises:
        KafkaError: the broker is unavailable or refuses.
    """
    async with administering(settings) as admin:
        present = set(await admin.list_topics())
    found: dict[TopicPartition, int] = {}
    lost: list[str] = []
    async with reading(settings, group) as client:
        for topic in topics:
            if settings.kafka_prefix + topic.name not in present:
                found |= dict.fromkeys(partitions_of(settings, topic), 0)
                lost.append(topic.name)
                continue
            goes_on, misses = await _plan(
                client, partitions_of(settings, topic), (offsets or {}).get(topic.name), taken_at
            )
            found |= goes_on
            if misses:
                lost.append(topic.name)
    return Rewind(found, tuple(lost))


async def _plan(
    client: AIOKafkaConsumer,
    parts: Sequence[TopicPartition],
    offsets: Mapping[int, int] | None,
    taken_at: datetime,
) -> tuple[dict[TopicPartition, int], bool]:
    begins, ends = await client.beginning_offsets(parts), await client.end_offsets(parts)
    later = int((taken_at + CLOCKS_DIFFER).timestamp() * 1000)
    after = await client.offsets_for_times(dict.fromkeys(parts, later))
    found, misses = {}, offsets is None
    for part in parts:
        begin, known, first_after = begins[part], (offsets or {}).get(part.partition), after.get(part)
        # a record that was handled then cannot have been written later
        is_new = known is not None and (known > ends[part] or (first_after is not None and first_after.offset < known))
        found[part] = begin if known is None or is_new else max(known, begin)
        misses = misses or is_new or begin > (known or 0)
    return found, misses


async def rewind(settings: Settings, group: str, topics: Sequence[Topic], to: Rewind) -> None:
    """Commit these offsets for a group without members. Missing topics are created.

    Raises:
        KafkaError: the broker is unavailable or refuses, as it does when the group has got a member.
    """
    await create_topics(
        settings.kafka_bootstrap_servers,
        settings.kafka_prefix,
        replication_factor=settings.kafka_replication_factor,
        min_insync_replicas=settings.kafka_min_insync_replicas,
        topics=topics,
        credential=connection(settings),
    )
    async with reading(settings, group) as client:
        client.assign(list(to.offsets))
        await client.commit(dict(to.offsets))
