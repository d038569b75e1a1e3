"""What the notify service says about one notification: who was, or was not, told of which comment."""

from typing import ClassVar
from uuid import UUID

from pydantic import StrictBool

from services.contracts.event import Event, Moment, published
from services.contracts.text import Body
from services.contracts.topics import NOTIFY, Topic


class NotificationFact(Event):
    """How one notification ended. `why` is null when it was sent, else an open value such as `unsubscribed`."""

    topic: ClassVar[Topic] = NOTIFY

    notification_id: UUID
    person_id: UUID
    comment_id: UUID
    post_id: UUID
    reasons: tuple[str, ...]
    why: str | None
    version: int
    occurred_at: Moment

    @property
    def subject(self) -> UUID:
        return self.notification_id

    @property
    def key(self) -> UUID:
        return self.person_id


@published
class NotificationSent(NotificationFact):
    type: ClassVar[str] = "dev.rapport.notify.sent.v1"


@published
class NotificationSkipped(NotificationFact):
    type: ClassVar[str] = "dev.rapport.notify.skipped.v1"


@published
class NotificationFailed(NotificationFact):
    type: ClassVar[str] = "dev.rapport.notify.failed.v1"


class EditMail(Body):
    """Command: hear of answers by mail, or not."""

    notifications: StrictBool
