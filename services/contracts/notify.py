"""Events of the notify service: how each notification ended, and who wants no mail or cannot get any."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field, StrictBool, StrictStr

from services.contracts.event import Event, Moment, published
from services.contracts.text import Body
from services.contracts.topics import NOTIFY, Topic


class NotificationFact(Event):
    """The result of one notification. `why` is null when it was sent, else an open value such as `unsubscribed`."""

    topic: ClassVar[Topic] = NOTIFY

    notification_id: UUID = Field(description="The notification; also the subject.")
    person_id: UUID = Field(description="Who was to be told; also the record key.")
    comment_id: UUID = Field(description="The comment that it is about.")
    post_id: UUID = Field(description="The post that the comment is about.")
    reasons: tuple[str, ...] = Field(description="Why the person was to be told, such as `reply_to_you`.")
    why: str | None = Field(description="Why there was no mail, such as `unsubscribed`; null when it was sent.")
    version: int = Field(description="Grows by one with every change of the notification.")
    occurred_at: Moment = Field(description="When it ended.")

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


@published
class MailChoiceChanged(Event):
    """A person unsubscribed from mail about answers, or subscribed again."""

    type: ClassVar[str] = "dev.rapport.notify.mail-choice-changed.v1"
    topic: ClassVar[Topic] = NOTIFY

    person_id: UUID = Field(description="The person; also the subject and the record key.")
    notifications: bool = Field(description="Whether they get mail about answers after the change.")
    version: int = Field(description="Grows by one with every change of the choice.")
    occurred_at: Moment = Field(description="When the choice was made.")

    @property
    def subject(self) -> UUID:
        return self.person_id

    @property
    def key(self) -> UUID:
        return self.person_id


@published
class AddressSuppressed(Event):
    """A mail server called the address of a person bad: no mail goes there any more."""

    type: ClassVar[str] = "dev.rapport.notify.address-suppressed.v1"
    topic: ClassVar[Topic] = NOTIFY

    person_id: UUID = Field(description="The person; also the subject and the record key.")
    version: int = Field(description="The version of their address at people; a new address is tried again.")
    occurred_at: Moment = Field(description="When the server said so.")

    @property
    def subject(self) -> UUID:
        return self.person_id

    @property
    def key(self) -> UUID:
        return self.person_id


class EditMailSettings(Body):
    """Command: turn notification mails on or off."""

    notifications: StrictBool = Field(description="Whether to tell you by mail of answers to you.")


class PauseMail(Body):
    """Command of an operator: mail no notification until mail is resumed."""

    why: Annotated[StrictStr, Field(min_length=1, max_length=200)]


class ResumeMail(Body):
    """Command of an operator: mail notifications again."""

    dry_run: StrictBool = Field(default=False, description="Only answer how many wait.")
