"""Rules of notify: who is told of a comment and why, and the events that tell how it ended."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal
from uuid import UUID

from services.contracts.notify import (
    ModerationMailEnded,
    NotificationFact,
    NotificationFailed,
    NotificationSent,
    NotificationSkipped,
)

CommentState = Literal["visible", "held", "removed"]
EndState = Literal["sent", "skipped", "failed"]
State = Literal["waiting"] | EndState

ENDS: Mapping[EndState, type[NotificationFact]] = {
    "sent": NotificationSent,
    "skipped": NotificationSkipped,
    "failed": NotificationFailed,
}


WAITS = "waits_for_approval"  # why a moderator is told of comments; no reason to tell anybody of one comment


class Reason(StrEnum):
    """Why somebody is told of a comment: the value in rows and events, and how mails and explanations say it.

    Attributes:
        deed: what the commenter did, before the title of the post.
        because: why the mail comes.
        cause: the same about one comment.
    """

    REPLY_TO_YOU = (
        *("reply_to_you", "answered you under"),
        *("somebody answered your comment", "it answers your comment"),
    )
    ON_YOUR_POST = (
        *("on_your_post", "commented on your post"),
        *("somebody commented on your post", "it was written under your post"),
    )
    FOLLOWED_THREAD = (
        *("followed_thread", "commented on"),
        *("you follow the discussion", "you follow the discussion in which it was written"),
    )
    # of rows that a newer version has written
    UNKNOWN = "unknown", "commented on", "it concerns you", "it concerns you"

    deed: str
    because: str
    cause: str

    def __new__(cls, value: str, deed: str, because: str, cause: str) -> "Reason":
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.deed, reason.because, reason.cause = deed, because, cause
        return reason

    @classmethod
    def all_of(cls, names: Iterable[str]) -> list["Reason"]:
        """Return the reasons with these names, each once, and at least one."""
        by_name = {reason.value: reason for reason in cls}
        return list(dict.fromkeys(by_name.get(name, cls.UNKNOWN) for name in names)) or [cls.UNKNOWN]


def in_mails(reasons: Sequence[str]) -> tuple[str, str]:
    """Return what the commenter did, by the first of the reasons, and why the mail comes, by all of them."""
    known = Reason.all_of(reasons)
    return known[0].deed, " and ".join(reason.because for reason in known)


# After that nobody is told of a comment for the first time (`too_old`); a mail that was tried before is tried on.
TOLD_WITHIN = timedelta(hours=72)
FIRST_FOLLOWERS = 100  # who are told in the transaction of the comment's event; the others after it (`fan_outs.py`)

WHY_NOT_VISIBLE: Mapping[str, str] = {"held": "comment_held", "removed": "comment_removed"}


@dataclass(frozen=True)
class Comment:
    """A comment as an event reported it: structure and flags. `version` counts its own changes.

    Attributes:
        followers: who follows the discussion of its post now, in the order of ids, at most `FIRST_FOLLOWERS`.
    """

    comment_id: UUID
    post_id: UUID
    post_author_id: UUID
    parent_id: UUID | None
    parent_author_id: UUID | None
    author_id: UUID
    state: CommentState
    imported: bool
    version: int
    followers: tuple[UUID, ...] = ()


def concerned(comment: Comment) -> dict[UUID, tuple[str, ...]]:
    """Return the recipients of mail about the comment, each with every reason; never its own author."""
    reasons: dict[UUID, tuple[str, ...]] = {}
    for person, reason in (
        (comment.parent_author_id, Reason.REPLY_TO_YOU),
        (comment.post_author_id, Reason.ON_YOUR_POST),
        *((follower, Reason.FOLLOWED_THREAD) for follower in comment.followers),
    ):
        if person is not None and person != comment.author_id:
            reasons[person] = (*reasons.get(person, ()), reason.value)
    return reasons


@dataclass(frozen=True)
class Notification:
    """The notification of one person about one comment. `version` counts the row's own changes."""

    id: UUID
    version: int
    person_id: UUID
    comment_id: UUID
    post_id: UUID
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Claimed(Notification):
    """A due notification under a lease; nothing but its end changes its version while the lease holds.

    Attributes:
        frozen: the message of an earlier attempt whose outcome is unknown, built for the address of `frozen_for`.
        tried_for: how long ago the first counted attempt was; None before it.
        thread_revision: the revision of the post after whose title the person's mails about it are named; None before
            the first of them.
        too_old: no attempt was made, and the comment is older than `TOLD_WITHIN` or than the restore of this database.
        moderation: it tells a moderator what waits: then it is about no comment, and has no author.
        follower: its person is told as a follower of the discussion, for no other reason.
        waiting: what such a mail is to name: the comments of which no mail has told its person, or, where it is frozen,
            those that it names.
    """

    author_id: UUID | None
    lease_token: UUID
    tried_for: timedelta | None
    frozen: bytes | None
    frozen_for: int | None
    correlation_id: str | None
    causation_id: UUID | None
    thread_revision: int | None = None
    too_old: bool = False
    moderation: bool = False
    follower: bool = False
    waiting: tuple[UUID, ...] = ()

    @property
    def about(self) -> str:
        """The kind of its subject, in message ids."""
        return "moderation" if self.moderation else "comment"


def ending(notification: Claimed, state: EndState, why: str | None) -> NotificationFact | ModerationMailEnded:
    """Return the event that tells how the mail ended."""
    if not notification.moderation:
        return fact(ENDS[state], notification, why)
    return moderation_fact(notification.id, notification.person_id, state, why, notification.version)


def moderation_fact(
    mail_id: UUID, person_id: UUID, state: EndState, why: str | None, version: int
) -> ModerationMailEnded:
    """Return the event that tells how a mail about what waits ended."""
    return ModerationMailEnded(
        mail_id=mail_id, person_id=person_id, state=state, why=why, version=version, occurred_at=datetime.now(UTC)
    )


def fact(kind: type[NotificationFact], notification: Notification, why: str | None) -> NotificationFact:
    """Return the event of that kind about the notification as it is now."""
    return kind(
        notification_id=notification.id,
        person_id=notification.person_id,
        comment_id=notification.comment_id,
        post_id=notification.post_id,
        reasons=notification.reasons,
        why=why,
        version=notification.version,
        occurred_at=datetime.now(UTC),
    )
