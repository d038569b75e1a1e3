"""What the upstreams say that a mail depends on, and what of it forbids the mail."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.notify.domain import WHY_NOT_VISIBLE


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
