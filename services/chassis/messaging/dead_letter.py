"""Dead letters: records a group could not handle, kept on `<group>.dead-letter` until a person has looked.

A dead letter is the original record, key, value and headers untouched, and five headers more: `dlq_topic`,
`dlq_partition`, `dlq_offset`, `dlq_error`, `dlq_attempts`. To redrive one is to publish the original again where it
came from: whoever has handled it drops it by its id.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.chassis.messaging.cloudevents import Headers
from services.chassis.messaging.producer import Producer
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.timeouts import wait_at_most
from services.contracts.topics import dead_letter as dead_letter_topic

MARK = "dlq_"
ERROR_LENGTH = 1000


@dataclass(frozen=True)
class DeadLetter:
    """One record that was put aside.

    Attributes:
        position: its offset on the dead-letter topic, by which it is chosen for a redrive.
        topic: where it came from, with partition and offset there.
        redriven: it lies before the point up to which all were redriven.
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
        """The event type, as far as it can be told."""
        return dict(self.headers).get("ce_type", b"?").decode("utf-8", "replace")


async def put(producer: Producer, group: str, prefix: str, record: Any, error: Exception, attempts: int) -> None:
    """Publish a record as a dead letter of the group.

    Raises:
        Unsent: Kafka did not acknowledge it; it must not be passed over.
    """
    reason = f"{type(error).__name__}: {error}"[:ERROR_LENGTH]
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
    """All dead letters of a group that Kafka still has, oldest first."""
    client, place = await _open(settings, group)
    try:
        return await wait_at_most(60, _read(client, place))
    finally:
        await wait_at_most(10, client.stop())


async def redrive(
    settings: Settings, group: str, chosen: Callable[[DeadLetter], bool] | None = None
) -> list[DeadLetter]:
    """Publish dead letters again on the topic and partition they came from, and return them.

    Args:
        chosen: which ones, whether redriven before or not. Without it, all that were not, and they count as redriven.

    Raises:
        Unsent: Kafka did not acknowledge one; those before it are published. Calling again is safe.
    """
    client, place = await _open(settings, group)
    producer = Producer(settings)
    try:
        letters = await wait_at_most(60, _read(client, place))
        picked = [letter for letter in letters if (chosen(letter) if chosen else not letter.redriven)]
        for letter in picked:
            await producer.send_record(
                settings.kafka_prefix + letter.topic, letter.partition, letter.key, letter.value, letter.headers
            )
        if picked and chosen is None:
            await wait_at_most(settings.kafka_timeout_seconds, client.commit({place: picked[-1].position + 1}))
        return picked
    finally:
        await producer.close()
        await wait_at_most(10, client.stop())


async def _open(settings: Settings, group: str) -> tuple[AIOKafkaConsumer, TopicPartition]:
    name = settings.kafka_prefix + dead_letter_topic(group).name
    client = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id=f"{settings.kafka_prefix}{group}.redrive",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    place = TopicPartition(name, 0)
    client.assign([place])
    try:
        await wait_at_most(30, client.start())
    except BaseException:
        await wait_at_most(10, client.stop())
        raise
    return client, place


async def _read(client: AIOKafkaConsumer, place: TopicPartition) -> list[DeadLetter]:
    redriven_up_to = await client.committed(place) or 0
    end = (await client.end_offsets([place]))[place]
    await client.seek_to_beginning(place)
    letters = []
    while await client.position(place) < end:
        for records in (await client.getmany(place, timeout_ms=500)).values():
            letters += [_letter(record, redriven_up_to) for record in records if record.offset < end]
    return letters


def _letter(record: Any, redriven_up_to: int) -> DeadLetter:
    said = {name: value.decode("utf-8", "replace") for name, value in record.headers if name.startswith(MARK)}
    return DeadLetter(
        position=record.offset,
        topic=said["dlq_topic"],
        partition=int(said["dlq_partition"]),
        offset=int(said["dlq_offset"]),
        error=said["dlq_error"],
        attempts=int(said["dlq_attempts"]),
        put_at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        key=record.key,
        value=record.value,
        headers=[(name, value) for name, value in record.headers if not name.startswith(MARK)],
        redriven=record.offset < redriven_up_to,
    )
