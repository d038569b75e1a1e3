"""Schemas of notifications and of what is sent by mail."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, WithJsonSchema

from services.gateway.apidocs.schemas.shared import CREATED, NEXT, Uri
from services.gateway.apidocs.vocabulary import values

NotificationState = Annotated[str, WithJsonSchema(values("NotificationState"))]
ExplanationState = Annotated[str, WithJsonSchema(values("ExplanationState"))]
NotificationReason = Annotated[str, WithJsonSchema(values("NotificationReason"))]
MailScope = Annotated[str, WithJsonSchema(values("MailScope"))]
ModerationMail = Annotated[str, WithJsonSchema(values("ModerationMail"))]
WhyNot = Annotated[str, WithJsonSchema(values("WhyNot"))]


class Mail(BaseModel):
    """Which mail you get. Sign-in mail always goes on."""

    notifications: bool = Field(description="Whether you are told by mail of comments that concern you.")
    scope: MailScope = Field(description="Of which comments.")
    moderation: ModerationMail = Field(description="For moderators: how often you are told of what waits for approval.")


class Notification(BaseModel):
    """One comment that you are told of."""

    id: UUID = Field(description="The id of the notification.")
    comment_id: UUID = Field(description="The comment that it is about.")
    post_id: UUID = Field(description="The post that the comment is about.")
    reasons: list[NotificationReason] = Field(description="Why you are told.")
    state: NotificationState = Field(description="How far its mail is.")
    why: WhyNot | None = Field(description="Why there was no mail; null while it is waiting, and when it was sent.")
    created_at: AwareDatetime = Field(description=CREATED)
    sent_at: AwareDatetime | None = Field(description="When the mail server took the mail; null before.")
    read: bool = Field(description="Whether you have marked it as read.")


class Unread(BaseModel):
    """How many notifications are left."""

    unread: int = Field(ge=0, le=1000, description="How many you have not read; 1,000 stands for more, too.")


class SecretFeed(BaseModel):
    """The feed of answers to you. Whoever has the address reads it, so give it to nobody but your reader of feeds."""

    url: Uri = Field(description="Its address, which is shown this once.")


class Notifications(BaseModel):
    """A page of your notifications, newest first."""

    items: list[Notification] = Field(description="The notifications of this page.")
    next: str | None = Field(description=NEXT)


class Explanation(BaseModel):
    """Why you were, or were not, told of a comment by mail."""

    comment_id: UUID = Field(description="The comment that you asked about.")
    post_id: UUID | None = Field(description="The post that the comment is about; null if it is not known.")
    state: ExplanationState = Field(description="How far the mail is.")
    reasons: list[NotificationReason] = Field(description="Why you would be told.")
    why: WhyNot | None = Field(description="Why there was no mail; null while it is waiting, and when it was sent.")
    text: str = Field(description="All of it in one sentence, for people.")
    created_at: AwareDatetime | None = Field(description="When the notification was created; null if there is none.")
    sent_at: AwareDatetime | None = Field(description="When the mail server took the mail; null before.")
