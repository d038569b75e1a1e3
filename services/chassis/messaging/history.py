"""What a service has said on its own topic since a moment, so that a restored database can catch up with it."""

import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError
from pydantic import ValidationError

from services.chassis.messaging.broker_clients import administering, partitions_of, reading
from services.chassis.messaging.cloudevents import Undecodable, from_record
from services.chassis.runtime.settings import Settings
from services.contracts.event import Envelope, Event, registry
from services.contracts.topics import Topic

SILENCE_SECONDS = 60.0  # without a record, although the log has more

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class LoggedEvent(Generic[E]):
    """An event of the log, with the epoch in which its owner published it."""

    event: E
    epoch: int

    def is_newer_than(self, epoch: int, version: int) -> bool:
        """Return whether it tells of a later state than that of a row of this epoch and version."""
        return (self.epoch, _version(self.event)) > (epoch, version)


@dataclass
class History:
    """The newest events of each subject, by (epoch, version), whatever their order in the log.

    Attributes:
        kept_since: None if the log has everything since the moment that was asked for; else the first moment of which
            it still has all.
        undecodable: how many records nobody can read.
        epoch: the greatest of all records.
        states: by family of events and subject, the newest event.
        of_type: the same by the type of the event.
    """

    kept_since: datetime | None = None
    undecodable: int = 0
    epoch: int = 0
    states: dict[type[Event], dict[UUID, LoggedEvent[Any]]] = field(default_factory=dict)
    of_type: dict[type[Event], dict[UUID, LoggedEvent[Any]]] = field(default_factory=dict)

    def newest(self, family: type[E]) -> Mapping[UUID, LoggedEvent[E]]:
        """Return the newest event of each subject, in the order of ids; `family` is a class directly below `Event`."""
        return dict(sorted(self.states.get(family, {}).items()))

    def subjects(self, kind: type[Event]) -> Collection[UUID]:
        """Return the ids that have an event of this type."""
        return self.of_type.get(kind, {}).keys()

    def has_newer(self, kind: type[Event], subject: UUID, epoch: int, version: int) -> bool:
        """Return whether an event of this type tells of a later state than that of a row of this epoch and version.

        The history begins before the backup, because clocks differ: it has events that the rows know.
        """
        said = self.of_type.get(kind, {}).get(subject)
        return said is not None and said.is_newer_than(epoch, version)

    def add(self, event: Event, epoch: int) -> None:
        """Note an event; of a family, and of a type, the newest of each subject is kept."""
        kind, said = type(event), LoggedEvent(event, epoch)
        for place in (self.states.setdefault(_family(kind), {}), self.of_type.setdefault(kind, {})):
            known = place.get(event.subject)
            if known is None or said.is_newer_than(known.epoch, _version(known.event)):
                place[event.subject] = said


def _version(event: Any) -> int:
    return int(event.version)


def _family(kind: type[Event]) -> type[Event]:
    """Return the class directly below `Event`: its events tell different changes of the same state."""
    return next(each for each in kind.__mro__ if Event in each.__bases__)


async def read_history(settings: Settings, topic: Topic, since: datetime) -> History:
    """Read a topic from a moment up to its present end, as its owner.

    Raises:
        KafkaError: the broker is unavailable or refuses.
    """
    async with administering(settings) as admin:
        if settings.kafka_prefix + topic.name not in await admin.list_topics():
            return History(kept_since=datetime.now(UTC))
    parts = partitions_of(settings, topic)
    async with reading(settings) as client:
        client.assign(parts)
        begins, ends = await client.beginning_offsets(parts), await client.end_offsets(parts)
        found = await client.offsets_for_times(dict.fromkeys(parts, int(since.timestamp() * 1000)))
        starts = {part: ends[part] if at is None else at.offset for part, at in found.items()}
        history = await _read(client, starts, ends)
        history.kept_since = await _kept_since(client, topic, begins, ends, since)
    return history


async def _read(
    client: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> History:
    types = registry()
    history = History()
    async for record in _records(client, starts, ends):
        try:
            envelope: Envelope = from_record(record)
            kind = types.get(envelope.type)
            if kind is not None:
                history.add(kind.model_validate_json(envelope.data), envelope.epoch)
            history.epoch = max(history.epoch, envelope.epoch)
        except (Undecodable, ValidationError):
            history.undecodable += 1
    return history


async def _records(
    client: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> AsyncIterator[Any]:
    """Yield the records between these offsets, partition by partition in their order.

    Raises:
        KafkaTimeoutError: the broker went silent.
    """
    left = {part for part, end in ends.items() if starts[part] < end}
    client.assign(list(left))
    for part in left:
        client.seek(part, starts[part])
    heard = time.monotonic()
    while left:
        for part, records in (await client.getmany(timeout_ms=500)).items():
            heard = time.monotonic()
            for record in records:
                if record.offset < ends[part]:
                    yield record
            if await client.position(part) >= ends[part]:
                left.discard(part)
                client.pause(part)
        if time.monotonic() - heard > SILENCE_SECONDS:
            raise KafkaTimeoutError(f"{', '.join(sorted({part.topic for part in left}))} could not be read to its end")


async def _kept_since(
    client: AIOKafkaConsumer,
    topic: Topic,
    begins: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    since: datetime,
) -> datetime | None:
    """Return since when the log has everything; None if that is before `since`.

    A log whose first record is younger, though nothing of it was deleted, may be another one under the same name.
    """
    at = await client.offsets_for_times(dict.fromkeys(begins, 0))
    first = {part: None if found is None else _moment(found.timestamp) for part, found in at.items()}
    retained = datetime.now(UTC) - timedelta(milliseconds=topic.retention_ms)
    cut = [first[part] or retained for part, begin in begins.items() if begin > 0]
    if not any(begins.values()):
        cut = [min((moment for moment in first.values() if moment is not None), default=datetime.now(UTC))]
    latest = max(cut)
    return latest if latest > since else None


def _moment(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp / 1000, UTC)
