"""The common shape of all events, and the envelope they travel in.

An event carries ids, structure, flags, versions and times. It never carries users' text, a name, an address or an IP:
a reader that needs those asks the owner, which is at the same time the check that they still exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer

from services.contracts.topics import Topic


def rfc3339(moment: datetime) -> str:
    """Format a time in UTC with three fraction digits, the only form in which Rapport writes a time."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    milliseconds = utc.microsecond // 1000
    fields = (utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, milliseconds)
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % fields  # noqa: UP031  # takes half the time of `isoformat`


Moment = Annotated[AwareDatetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]


class Event(BaseModel):
    """A fact in the past tense about one subject, published by its owner.

    Unknown fields are ignored and every later field must be optional, so that any reader understands any writer.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    topic: ClassVar[Topic]

    @property
    def subject(self) -> UUID:
        """Return the id of the thing that `version` counts: a post, comment, person or notification."""
        raise NotImplementedError

    @property
    def key(self) -> UUID:
        """Return the record key: events of one post, or of one person, keep their order."""
        raise NotImplementedError


@dataclass(frozen=True)
class Envelope:
    """CloudEvents 1.0 context around one event, as stored in the outbox and sent on the wire.

    `source` and `id` together identify duplicates (CloudEvents 1.0, section 3.1). `correlation_id` is the id of the
    first HTTP request; `causation_id` is the id of the event that caused this one. `epoch` counts how often the owner's
    rows went back in time: readers compare (epoch, version).
    """

    id: UUID
    source: str
    type: str
    subject: UUID
    time: datetime
    key: UUID
    data: bytes
    correlation_id: str | None = None
    causation_id: UUID | None = None
    traceparent: str | None = None
    epoch: int = 0


REGISTRY: dict[str, type[Event]] = {}


def published(cls: type[Event]) -> type[Event]:
    """Register an event class by its type. A class decorator.

    Raises:
        ValueError: another class has the same type.
    """
    if cls.type in REGISTRY:
        raise ValueError(f"two events are called {cls.type}")
    REGISTRY[cls.type] = cls
    return cls


def registry() -> Mapping[str, type[Event]]:
    """Return all event types by CloudEvents type, from every module of the contracts."""
    from services.contracts import comments, notify, people, posts  # noqa: F401  # their import fills the registry

    return REGISTRY
