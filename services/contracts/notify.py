"""Events of the notify service: how each notification ended."""

from typing import ClassVar
from uuid import UUID

from pydantic import StrictBool

from services.contracts.event import Event, Moment, published
from services.contracts.text import Body
from services.contracts.topics import NOTIFY, Topic


class NotificationFact(Event):
    """The result of one notification. `why` is null when it was sent, else an open value such as `unsubscribed`."""

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
    """A notification was sent by mail."""

    type: ClassVar[str] = "dev.rapport.notify.sent.v1"


@published
class NotificationSkipped(NotificationFact):
    """A notification was skipped; no mail was sent."""

    type: ClassVar[str] = "dev.rapport.notify.skipped.v1"


@published
class NotificationFailed(NotificationFact):
    """A notification failed for good; its mail was not accepted."""

    type: ClassVar[str] = "dev.rapport.notify.failed.v1"


class EditMailSettings(Body):
    """Command: turn notification mails on or off."""

    notifications: StrictBool
