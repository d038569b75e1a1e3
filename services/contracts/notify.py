"""Events of the notify service: how each notification ended, and who wants no mail or cannot get any."""

from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, StrictBool, StrictStr, model_validator

from services.contracts.event import Event, Moment, published
from services.contracts.text import Body, LeftOut, left_out
from services.contracts.topics import NOTIFY, Topic

MailScope = Literal["all", "replies"]
ModerationMail = Literal["off", "hourly", "daily"]


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
class ModerationMailEnded(Event):
    """A mail that was to tell a moderator what waits for approval was sent, skipped, or failed for good."""

    type: ClassVar[str] = "dev.rapport.notify.moderation-mail-ended.v1"
    topic: ClassVar[Topic] = NOTIFY

    mail_id: UUID = Field(description="The mail; also the subject.")
    person_id: UUID = Field(description="The moderator; also the record key.")
    state: Literal["sent", "skipped", "failed"] = Field(description="How it ended.")
    why: str | None = Field(description="Why it was not sent, such as `nothing_waits`; null when it was.")
    version: int = Field(description="Grows by one with every change of the mail.")
    occurred_at: Moment = Field(description="When it ended.")

    @property
    def subject(self) -> UUID:
        return self.mail_id

    @property
    def key(self) -> UUID:
        return self.person_id


@published
class MailChoiceChanged(Event):
    """A person chose anew which mail they get."""

    type: ClassVar[str] = "dev.rapport.notify.mail-choice-changed.v1"
    topic: ClassVar[Topic] = NOTIFY

    person_id: UUID = Field(description="The person; also the subject and the record key.")
    notifications: bool = Field(description="Whether they get mail about comments after the change.")
    scope: MailScope = Field(
        default="all", description="About which comments: all that concern them, or replies alone."
    )
    moderation: ModerationMail = Field(
        default="hourly", description="How often they hear, as a moderator, of what waits for approval."
    )
    version: int = Field(description="Grows by one with every change of the choice.")
    occurred_at: Moment = Field(description="When the choice was made.")

    @property
    def subject(self) -> UUID:
        return self.person_id

    @property
    def key(self) -> UUID:
        return self.person_id


@published
class FollowChanged(Event):
    """A person began to follow a discussion, or follows it no more."""

    type: ClassVar[str] = "dev.rapport.notify.follow-changed.v1"
    topic: ClassVar[Topic] = NOTIFY

    follow_id: UUID = Field(description="The following of this person of this discussion; also the subject.")
    person_id: UUID = Field(description="The person; also the record key.")
    post_id: UUID = Field(description="The post whose discussion it is.")
    follows: bool = Field(description="Whether they follow it after the change.")
    version: int = Field(description="Grows by one with every change of the same following.")
    occurred_at: Moment = Field(description="When the person chose it.")

    @property
    def subject(self) -> UUID:
        return self.follow_id

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
    """Command: choose which mail to get; fields that are left out stay as they are."""

    notifications: LeftOut[StrictBool] = Field(
        default_factory=left_out, description="Whether to tell you by mail of comments that concern you."
    )
    scope: LeftOut[MailScope] = Field(
        default_factory=left_out, description="Of which: `all` that concern you, or `replies` to you alone."
    )
    moderation: LeftOut[ModerationMail] = Field(
        default_factory=left_out,
        description="For moderators: how often to tell you by mail of what waits for approval.",
    )

    @model_validator(mode="after")
    def _chooses_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must name at least one of notifications, scope and moderation")
        return self


MailChoice = Literal["all", "replies", "none"]


class ChooseMail(Body):
    """Command by a link in a mail: get mail about all comments that concern the person, replies alone, or none.

    By a link in a mail to a moderator: how often such mails come.
    """

    choice: MailChoice | ModerationMail


class MarkRead(Body):
    """Command: mark notifications as read, up to one and all that are older."""

    read_until: UUID = Field(description="The id of the newest notification that was read.")


class PauseMail(Body):
    """Command of an operator: mail no notification until mail is resumed."""

    why: Annotated[StrictStr, Field(min_length=1, max_length=200)]


class ResumeMail(Body):
    """Command of an operator: mail notifications again."""

    dry_run: StrictBool = Field(default=False, description="Only answer how many wait.")
