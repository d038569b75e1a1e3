"""Dead letters: records that a group could not handle, kept on `<group>.dead-letter` for an operator.

A dead letter is the original record with unchanged key, value and headers, and five more headers: `dlq_topic`,
`dlq_partition`, `dlq_offset`, `dlq_error`, `dlq_attempts`. A redrive publishes the original record again on its topic
and partition; groups that have handled it drop it by its id.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.chassis.messaging.cloudevents import Headers
from services.chassis.messaging.connection import connection
from services.chassis.messaging.producer import Producer
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.timeouts import wait_at_most
from services.contracts.topics import dead_letter_topic

HEADER_PREFIX = "dlq_"
MAX_ERROR_LENGTH = 1000


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter.

    Attributes:
        position: its offset on the dead-letter topic, which identifies it for a redrive.
        topic: the original topic, with partition and offset there.
        redriven: a redrive of all has included it.
    """

    position: int
    topic: str
    partition: int
    offset: int
    error: str
    attempts: int
    put_at: datetime
    key: bytes | None
    value: bytes | None
    headers: Headers
    redriven: bool

    @property
    def type(self) -> str:
        """Return the event type, or `?` without one."""
        return dict(self.headers).get("ce_type", b"?").decode("utf-8", "replace")


async def publish(producer: Producer, group: str, prefix: str, record: Any, error: Exception, attempts: int) -> None:
    """Publish a record as a dead letter of the group.

    Raises:
        Unacknowledged: Kafka did not acknowledge it; the record must not be skipped.
    """
    reason = f"{type(error).__name__}: {error}"[:MAX_ERROR_LENGTH]
    headers: Headers = [
        *record.headers,
        ("dlq_topic", record.topic.removeprefix(prefix).encode()),
        ("dlq_partition", str(record.partition).encode()),
        ("dlq_offset", str(record.offset).encode()),
        ("dlq_error", reason.encode("utf-8", "replace")),
        ("dlq_attempts", str(attempts).encode()),
    ]
    await producer.send_record(prefix + dead_letter_topic(group).name, 0, record.key, record.value, headers)


async def entries(settings: Settings, group: str) -> list[DeadLetter]:
    """Return all retained dead letters of a group, oldest first."""
    client, partition = await _open(settings, group)
    try:
        return await wait_at_most(60, _read(client, partition))
    finally:
        await wait_at_most(10, client.stop())


async def redrive(
    settings: Settings, group: str, chosen: Callable[[DeadLetter], bool] | None = None
) -> list[DeadLetter]:
    """Publish dead letters again on their original topic and partition, and return them.

    Args:
        chosen: selects dead letters, redriven or not. None selects all that were not redriven, and marks them redriven.

    Raises:
        Unacknowledged: Kafka did not acknowledge one; those before it are published. Calling again is safe.
    """
    client, partition = await _open(settings, group)
    producer = Producer(settings)
    try:
        letters = await wait_at_most(60, _read(client, partition))
        selected = [letter for letter in letters if (chosen(letter) if chosen else not letter.redriven)]
        for letter in selected:
            await producer.send_record(
                settings.kafka_prefix + letter.topic, letter.partition, letter.key, letter.value, letter.headers
            )
        if selected and chosen is None:
            await wait_at_most(settings.kafka_timeout_seconds, client.commit({partition: selected[-1].position + 1}))
        return selected
    finally:
        await producer.close()
        await wait_at_most(10, client.stop())


async def _open(settings: Settings, group: str) -> tuple[AIOKafkaConsumer, TopicPartition]:
    name = settings.kafka_prefix + dead_letter_topic(group).name
    client = AIOKafkaConsumer(
        **connection(settings),
        group_id=f"{settings.kafka_prefix}{group}.redrive",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    partition = TopicPartition(name, 0)
    client.assign([partition])
    try:
        await wait_at_most(30, client.start())
    except BaseException:
        await wait_at_most(10, client.stop())
        raise
    return client, partition


async def _read(client: AIOKafkaConsumer, partition: TopicPartition) -> list[DeadLetter]:
    redriven_up_to = await client.committed(partition) or 0
    end = (await client.end_offsets([partition]))[partition]
    await client.seek_to_beginning(partition)
    letters = []
    while await client.position(partition) < end:
        for records in (await client.getmany(partition, timeout_ms=500)).values():
            letters += [_decode(record, redriven_up_to) for record in records if record.offset < end]
    return letters


def _decode(record: Any, redriven_up_to: int) -> DeadLetter:
    own = {name: value.decode("utf-8", "replace") for name, value in record.headers if name.startswith(HEADER_PREFIX)}
    return DeadLetter(
        position=record.offset,
        topic=own["dlq_topic"],
        partition=int(own["dlq_partition"]),
        offset=int(own["dlq_offset"]),
        error=own["dlq_error"],
        attempts=int(own["dlq_attempts"]),
        put_at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        key=record.key,
        value=record.value,
        headers=[(name, value) for name, value in record.headers if not name.startswith(HEADER_PREFIX)],
        redriven=record.offset < redriven_up_to,
    )
