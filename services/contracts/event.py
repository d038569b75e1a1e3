"""The shape of every event: a frozen, tolerant fact, and the envelope it travels in.

An event carries ids, structure, flags, versions and times. It never carries text somebody wrote, a name, an
address or an IP: whoever needs those asks the owner, which is at the same time the check that they still stand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer

from services.contracts.topics import Topic


def rfc3339(moment: datetime) -> str:
    """UTC with three fraction digits, the only form in which Rapport writes a time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[AwareDatetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]


class Event(BaseModel):
    """A fact in the past tense about one subject, told by its owner.

    Unknown fields are ignored and every later field must be optional, so that any reader understands any writer.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    topic: ClassVar[Topic]

    @property
    def subject(self) -> UUID:
        """The thing that `version` counts: a post, a comment, a person or a notification."""
        raise NotImplementedError

    @property
    def key(self) -> UUID:
        """What keeps its order on the topic: the post, or the person."""
        raise NotImplementedError


@dataclass(frozen=True)
class Envelope:
    """CloudEvents 1.0 context around one event, as it stands in the outbox and on the wire.

    `source` and `id` together are the identity by which duplicates are known (CloudEvents 1.0, section 3.1).
    `correlation_id` is the id of the first HTTP request; `causation_id` the id of the event that led to this one.
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


REGISTRY: dict[str, type[Event]] = {}


def published(cls: type[Event]) -> type[Event]:
    """Class decorator: make an event type known by its name.

    Raises:
        ValueError: another class has the same type already.
    """
    if cls.type in REGISTRY:
        raise ValueError(f"two events are called {cls.type}")
    REGISTRY[cls.type] = cls
    return cls


def registry() -> Mapping[str, type[Event]]:
    """All event types of Rapport by CloudEvents type, whichever module they stand in."""
    from services.contracts import comments, notify, people, posts  # noqa: F401  # their import fills the registry

    return REGISTRY
