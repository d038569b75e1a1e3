"""Dead letters: records that a group could not handle, kept on `<group>.dead-letter` for an operator.

A record there is the original one with unchanged key, value and headers, and five more headers: `dlq_topic`,
`dlq_partition`, `dlq_offset`, `dlq_error`, `dlq_attempts`. A redrive publishes the original record again on its topic
and partition, with `dlq_origin`, its first place; groups that have handled it drop it by its id. If it fails again it
is the same letter. What an operator did is a mark, a record on the same topic: `dlq_mark`, and positions as value.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.chassis.messaging.broker_clients import partitions_of, reading
from services.chassis.messaging.cloudevents import Headers
from services.chassis.messaging.producer import Producer
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.timeouts import wait_at_most
from services.contracts.topics import EVENT_TOPICS, dead_letter_topic

HEADER_PREFIX = "dlq_"
MAX_ERROR_LENGTH = 1000
MARKED_AT_ONCE = 100
READ_SECONDS = 60
SENDABLE = {topic.name for topic in EVENT_TOPICS}

State = Literal["waiting", "redriven", "dropped"]
MARKS: dict[str, State] = {"redriven": "redriven", "dropped": "dropped"}


@dataclass(frozen=True)
class Failure:
    """One record of the dead-letter topic: one time that the group gave a record up.

    Attributes:
        origin: topic, partition and offset where the record stood before any redrive.
    """

    position: int
    at: datetime
    origin: tuple[str, int, int]
    error: str
    attempts: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True)
class DeadLetter:
    """A record that the group gave up, once or, after redrives, again; everything but `first` is of the last time.

    Attributes:
        positions: its offsets on the dead-letter topic, oldest first; each of them names it.
        topic: the original topic, with partition and offset there.
        redrives: how many of its failures were followed by a redrive.
    """

    positions: tuple[int, ...]
    topic: str
    partition: int
    offset: int
    error: str
    attempts: int
    first: datetime
    last: datetime
    key: bytes | None
    value: bytes | None
    headers: Headers
    state: State
    redrives: int

    @property
    def position(self) -> int:
        return self.positions[0]

    @property
    def redriven(self) -> bool:
        return self.state == "redriven"

    @property
    def can_be_sent(self) -> bool:
        """Return whether it names a place where it came from; what others wrote on the topic may not."""
        return self.topic in SENDABLE and self.partition >= 0

    @property
    def type(self) -> str:
        """Return the event type, or `?` without one."""
        return (dict(self.headers).get("ce_type") or b"?").decode("utf-8", "replace")


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
    """Return all retained dead letters of a group, dropped ones too, in the order in which they first failed."""
    async with reading(settings, f"{group}.redrive") as client:
        [partition] = partitions_of(settings, dead_letter_topic(group))
        client.assign([partition])
        return await wait_at_most(READ_SECONDS, _read(client, partition))


async def redrive(
    settings: Settings,
    group: str,
    letters: Sequence[DeadLetter],
    on_sent: Callable[[int], object] = lambda count: None,
) -> None:
    """Publish dead letters again on their original topic and partition, and mark them; those without a place are left.

    Args:
        on_sent: is told how many have been sent and marked.

    Raises:
        Unacknowledged: Kafka did not acknowledge one; those before it are published. Calling again is safe.
    """
    sendable = [letter for letter in letters if letter.can_be_sent]
    producer = Producer(settings)
    try:
        for start in range(0, len(sendable), MARKED_AT_ONCE):
            batch = sendable[start : start + MARKED_AT_ONCE]
            for letter in batch:
                origin = ("dlq_origin", f"{letter.partition}@{letter.offset}".encode())
                name = settings.kafka_prefix + letter.topic
                await producer.send_record(name, letter.partition, letter.key, letter.value, [*letter.headers, origin])
            await _mark(producer, settings, group, "redriven", batch)
            on_sent(start + len(batch))
    finally:
        await producer.close()


async def drop(settings: Settings, group: str, letters: Sequence[DeadLetter]) -> None:
    """Mark dead letters as dealt with. They stay on the topic until its retention.

    Raises:
        Unacknowledged: Kafka did not acknowledge a mark. Calling again is safe.
    """
    producer = Producer(settings)
    try:
        for start in range(0, len(letters), MARKED_AT_ONCE):
            await _mark(producer, settings, group, "dropped", letters[start : start + MARKED_AT_ONCE])
    finally:
        await producer.close()


async def _mark(producer: Producer, settings: Settings, group: str, mark: str, letters: Iterable[DeadLetter]) -> None:
    positions = json.dumps([letter.positions[-1] for letter in letters]).encode()
    name = settings.kafka_prefix + dead_letter_topic(group).name
    await producer.send_record(name, 0, None, positions, [("dlq_mark", mark.encode())])


async def _read(client: AIOKafkaConsumer, partition: TopicPartition) -> list[DeadLetter]:
    # marks of versions before there were marks: every letter before the committed offset was sent again
    redriven_up_to = await client.committed(partition) or 0
    end = (await client.end_offsets([partition]))[partition]
    await client.seek_to_beginning(partition)
    failures: dict[object, list[Failure]] = {}
    marks: dict[int, State] = {}
    redriven: set[int] = set()
    while await client.position(partition) < end:
        for records in (await client.getmany(partition, timeout_ms=500)).values():
            for record in (record for record in records if record.offset < end):
                own = _own_headers(record)
                if (mark := MARKS.get(own.get("dlq_mark", ""))) is not None:
                    marks |= dict.fromkeys(_positions(record.value), mark)
                    redriven.update(_positions(record.value) if mark == "redriven" else ())
                    continue
                failure = _decode(record, own)
                failures.setdefault(_identity(failure), []).append(failure)
                if record.offset < redriven_up_to:
                    marks[record.offset] = "redriven"
                    redriven.add(record.offset)
    return [_letter(times, marks, redriven) for times in failures.values()]


def _letter(times: Sequence[Failure], marks: dict[int, State], redriven: set[int]) -> DeadLetter:
    last = times[-1]
    positions = tuple(failure.position for failure in times)
    return DeadLetter(
        positions,
        *last.origin,
        error=last.error,
        attempts=last.attempts,
        first=times[0].at,
        last=last.at,
        key=last.key,
        value=last.value,
        headers=last.headers,
        state=marks.get(last.position, "waiting"),
        redrives=sum(position in redriven for position in positions),
    )


def _identity(failure: Failure) -> object:
    """Return what a letter is known by: its event, published again or not; without a readable id its first place."""
    fields = dict(failure.headers)
    try:
        return failure.origin[0], fields["ce_source"], UUID(fields["ce_id"].decode()), failure.value
    except (KeyError, ValueError, AttributeError):  # AttributeError: a header may be null
        return failure.origin


def _own_headers(record: Any) -> dict[str, str]:
    own = ((name, value) for name, value in record.headers if name.startswith(HEADER_PREFIX) and value is not None)
    return {name: value.decode("utf-8", "replace") for name, value in own}


def _positions(value: bytes | None) -> list[int]:
    try:
        found = json.loads(value or b"[]")
        return [position for position in found if isinstance(position, int)] if isinstance(found, list) else []
    except ValueError:
        return []


def _decode(record: Any, own: dict[str, str]) -> Failure:
    """Return a record of the topic; what is no dead letter is one that came from nowhere, so that it can be seen."""
    try:
        partition, offset = int(own["dlq_partition"]), int(own["dlq_offset"])
        if "dlq_origin" in own:
            partition, offset = map(int, own["dlq_origin"].split("@"))
        origin, error, attempts = (own["dlq_topic"], partition, offset), own["dlq_error"], int(own["dlq_attempts"])
    except (KeyError, ValueError):
        origin, error, attempts = ("?", -1, record.offset), "this record does not say where it came from", 0
    return Failure(
        position=record.offset,
        at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        origin=origin,
        error=error,
        attempts=attempts,
        key=record.key,
        value=record.value,
        headers=[(name, value) for name, value in record.headers if not name.startswith(HEADER_PREFIX)],
    )
