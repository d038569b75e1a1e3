"""Rules of notify: who gets mail about a comment, and when a mail must not go."""

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


# After that nobody is told of a comment for the first time (`too_old`); a mail that was tried before is tried on.
TELL_WITHIN = timedelta(hours=72)
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
        too_old: no attempt was made, and the comment is older than `TELL_WITHIN` or than the restore of this database.
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


@dataclass(frozen=True)
class Contact:
    """A person's address now, from people. `address_version` changes with the address."""

    email: str | None
    confirmed: bool
    address_version: int
    moderates: bool = False


@dataclass(frozen=True)
class CommentNow:
    """A comment as it is now, from comments."""

    state: str
    body_html: str
    imported: bool
    version: int
    ancestors: tuple[UUID, ...]
    epoch: int = 0


@dataclass(frozen=True)
class PostNow:
    """A post as it is now, from posts. `revision` counts its texts; an old posts does not say it."""

    status: str
    title: str
    slug: str
    revision: int | None = None


@dataclass(frozen=True)
class WaitingComment:
    """A comment that waits for a moderator now, below a published post."""

    comment_id: UUID
    author_name: str
    post: PostNow
    created_at: datetime


@dataclass(frozen=True)
class Waiting:
    """What waits for moderators.

    Attributes:
        comments: of those that were asked about, the ones that wait, oldest first.
        total: how many wait in all.
    """

    comments: tuple[WaitingComment, ...]
    total: int

    @property
    def ids(self) -> frozenset[UUID]:
        """The ids of the comments."""
        return frozenset(comment.comment_id for comment in self.comments)


@dataclass(frozen=True)
class Answers:
    """The upstreams' answers about one notification; None for what they do not know.

    Attributes:
        asked_at: the time before the first question, on the monotonic clock: the answers contain every change that was
            committed before it.
        thread_title: the title after which the person's mail thread about the post is named, if it is not the present.
        waiting: of a mail that tells a moderator what waits, this; None for one about a comment.
    """

    asked_at: float
    contact: Contact | None
    commenter_name: str | None
    comment: CommentNow | None
    post: PostNow | None
    thread_title: str | None = None
    waiting: Waiting | None = None

    @property
    def waiting_ids(self) -> frozenset[UUID]:
        """The comments that a moderator is told of; none for a mail about a comment."""
        return self.waiting.ids if self.waiting else frozenset()


def objection(answers: Answers) -> str | None:
    """Return why these answers forbid the mail; None if they do not."""
    comment, post, contact = answers.comment, answers.post, answers.contact
    if answers.waiting is not None:
        return _objection_to_moderation(answers.waiting, contact)
    if comment is None:
        return "comment_removed"
    if comment.imported:
        return "imported"
    if comment.state != "visible":
        return WHY_NOT_VISIBLE.get(comment.state, "comment_removed")
    if post is None or post.status != "published":
        return "post_withdrawn"
    if contact is None or not contact.confirmed or not contact.email:
        return "address_not_confirmed"
    return None


def _objection_to_moderation(waiting: Waiting, contact: Contact | None) -> str | None:
    if contact is None or not contact.confirmed or not contact.email:
        return "address_not_confirmed"
    if not contact.moderates:
        return "not_a_moderator"
    return None if waiting.comments else "nothing_waits"


class NotWanted(Exception):
    """A mail must not go.

    Attributes:
        why: `lease_lost`, `address_changed`, or why the notification is skipped; `overtaken` where a comment that the
            mail names waits no more.
    """

    __match_args__: tuple[str, ...] = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class NotVisible(NotWanted):
    """A mail must not go, because its comment is not visible in this state, given by epoch and version."""

    __match_args__ = ("why", "checked_state")

    def __init__(self, why: str, checked_state: tuple[int, int]) -> None:
        self.checked_state = checked_state
        super().__init__(why)


def addressee(answers: Answers) -> tuple[str, int]:
    """Return the address that the mail goes to, and its version.

    Raises:
        NotWanted: these answers forbid the mail.
    """
    why, contact, comment = objection(answers), answers.contact, answers.comment
    if why is None and contact is not None and contact.email is not None:
        return contact.email, contact.address_version
    if comment is not None and why is not None and why in WHY_NOT_VISIBLE.values():
        raise NotVisible(why, (comment.epoch, comment.version))
    raise NotWanted(why or "address_not_confirmed")
