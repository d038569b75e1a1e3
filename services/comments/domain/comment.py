"""One comment: its states, who may see what of it, and its representation."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

from services.chassis.errors import Problem, invalid
from services.chassis.identity import Caller
from services.contracts.comments import (
    DEEPEST,
    CommentApproved,
    CommentFact,
    CommentHeld,
    CommentRejected,
    CommentRestored,
)
from services.contracts.event import rfc3339
from services.contracts.people import is_moderator

State = Literal["visible", "held", "removed"]
Step = Literal["hold", "approve", "reject", "restore", "put-back"]
TWINS_WITHIN = timedelta(minutes=10)
NO_INDENTATION = re.compile(r"\A {1,3}(?=\S)")  # four make a code block


@dataclass(frozen=True)
class Discussion:
    """What comments knows of a post.

    Attributes:
        mode: whether comments are accepted and wait for a moderator; `discussion` in the events of posts.
        epoch: that of the comments: the present one of this service's own database.
        revision: the newest text of the post that comments has heard of; None until its next event.
        post_epoch, post_version: which state of the post this is.
    """

    post_id: UUID
    post_author_id: UUID
    status: Literal["draft", "published", "withdrawn"]
    mode: Literal["open", "held", "closed"]
    epoch: int = 0
    revision: int | None = None
    post_epoch: int = 0
    post_version: int = 0


class Comment(NamedTuple):
    """A row of `comments`; a tuple, because a page makes a hundred of them.

    Attributes:
        path: the ids from the top level down to itself, 16 bytes each, so byte order is depth-first order.
        removed_by_author: its text is deleted and it cannot be restored.
        version: counts changes of its own text or state.
        reply_count: visible direct replies.
        shown_replies: direct replies that are `shown`.
        all_replies: direct replies in any state.
        shown: it is visible or has a shown reply, so everybody finds it, whole or as a tombstone.
        imported: it never causes a mail.
        answered_revision: the revision of the post that it is about; None where that is not known.
    """

    id: UUID
    post_id: UUID
    parent_id: UUID | None
    path: bytes
    depth: int
    author_id: UUID
    parent_author_id: UUID | None
    body: str | None
    format: str
    body_html: str | None
    state: State
    removed_by_author: bool
    created_at: datetime
    edited_at: datetime | None
    version: int
    reply_count: int
    shown_replies: int
    all_replies: int
    shown: bool
    imported: bool
    answered_revision: int | None = None

    @property
    def ancestors(self) -> list[UUID]:
        """The ids from the top level down to the parent."""
        return ids_of(self.path)[:-1]


def new_comment(
    parent: Comment | None,
    *,
    id: UUID,
    post_id: UUID,
    author_id: UUID,
    body: str,
    format: str,
    body_html: str,
    state: State,
    created_at: datetime,
    imported: bool = False,
    answered_revision: int | None = None,
) -> Comment:
    """Return a new comment at its place: below its parent, or at the top level."""
    return Comment(
        id=id,
        post_id=post_id,
        parent_id=parent.id if parent else None,
        path=(parent.path if parent else b"") + id.bytes,
        depth=parent.depth + 1 if parent else 0,
        author_id=author_id,
        parent_author_id=parent.author_id if parent else None,
        body=body,
        format=format,
        body_html=body_html,
        state=state,
        removed_by_author=False,
        created_at=created_at,
        edited_at=None,
        version=1,
        reply_count=0,
        shown_replies=0,
        all_replies=0,
        shown=state == "visible",
        imported=imported,
        answered_revision=answered_revision,
    )


def answered_revision(discussion: Discussion, read: int | None) -> int | None:
    """Return the revision that a new comment is about: the newest that is known, or an earlier one that was read."""
    if discussion.revision is None or read is None:
        return discussion.revision
    return min(discussion.revision, read)


def text_key(body: str) -> int:
    """Return a number of 64 bits that is the same for the same text, whatever white space around and behind its lines.

    It is signed, as PostgreSQL keeps it.
    """
    lines = [line.rstrip() for line in body.rstrip().replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    text = NO_INDENTATION.sub("", "\n".join(lines), count=1)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


def ids_of(path: bytes) -> list[UUID]:
    """Return the ids that a path holds, from the top level down."""
    return [UUID(bytes=path[start : start + 16]) for start in range(0, len(path), 16)]


def check_depth(parent: Comment, field: str) -> None:
    """Refuse a reply to a comment at the greatest depth.

    Raises:
        Problem: `invalid` naming `field`.
    """
    if parent.depth >= DEEPEST:
        raise invalid(
            field, f"stands at depth {DEEPEST}, below which there are no replies; answer the comment above it"
        )


def is_own(comment: Comment, caller: Caller) -> bool:
    """Return whether the caller wrote the comment."""
    return caller.person_id is not None and comment.author_id == caller.person_id


def first_state(discussion: Discussion, author_id: UUID, *, by_moderator: bool) -> State:
    """Return the state in which a new comment begins.

    Raises:
        Problem: `discussion-closed`.
    """
    if discussion.mode == "closed":
        raise Problem("discussion-closed")
    waits = discussion.mode == "held" and not by_moderator and author_id != discussion.post_author_id
    return "held" if waits else "visible"


FACTS: Mapping[Step, type[CommentFact]] = {
    "hold": CommentHeld,
    "approve": CommentApproved,
    "reject": CommentRejected,
    "restore": CommentRestored,
    "put-back": CommentHeld,
}
STEPS: Mapping[Step, tuple[frozenset[State], State]] = {
    "hold": (frozenset({"visible"}), "held"),
    "approve": (frozenset({"held"}), "visible"),
    "reject": (frozenset({"held", "visible"}), "removed"),
    "restore": (frozenset({"removed"}), "visible"),
    "put-back": (frozenset({"removed"}), "held"),  # takes a rejection back: nobody saw the comment, and nobody does now
}


def state_after(step: Step, comment: Comment) -> State:
    """Return the state that a moderator's step leads to; the present one when the step was taken before.

    Raises:
        Problem: `wrong-state`.
    """
    sources, target = STEPS[step]
    if comment.state == target:
        return target
    if comment.state not in sources:
        raise Problem("wrong-state", f"A comment that is {comment.state} does not take this step: {step}.")
    if comment.removed_by_author:
        raise Problem("wrong-state", "Its author removed it, and its text with it.")
    return target


def is_tombstone(comment: Comment, caller: Caller) -> bool:
    """Return whether this caller sees only that a comment was there."""
    if comment.state == "visible" or is_moderator(caller.roles):
        return False
    return comment.state == "removed" or not is_own(comment, caller)


def representation(comment: Comment, caller: Caller) -> dict[str, Any]:
    """Return the comment as this caller sees it, without replies.

    The order is that of the public representation, so that the gateway can make one from the other's bytes
    (`splicing`).
    """
    gone = is_tombstone(comment, caller)
    seen: dict[str, Any] = {
        "id": str(comment.id),
        "post_id": str(comment.post_id),
        "parent_id": None if comment.parent_id is None else str(comment.parent_id),
        "depth": comment.depth,
        "version": comment.version,
        "author_id": None if gone else str(comment.author_id),
    }
    if not gone and (is_own(comment, caller) or is_moderator(caller.roles)):
        seen["body"] = comment.body
        seen["format"] = comment.format
    seen["body_html"] = None if gone else comment.body_html
    seen["state"] = "removed" if gone else comment.state
    seen["created_at"] = rfc3339(comment.created_at)
    seen["edited_at"] = None if gone or comment.edited_at is None else rfc3339(comment.edited_at)
    seen["answered_revision"] = None if gone else comment.answered_revision
    seen["reply_count"] = comment.reply_count
    seen["replies"] = {"items": [], "next": None}
    return seen


def of_discussion(discussion: Discussion) -> dict[str, Any]:
    """Return what an answer about one comment says of its discussion."""
    return {"post_author_id": str(discussion.post_author_id), "epoch": discussion.epoch}


def fact(kind: type[CommentFact], comment: Comment, discussion: Discussion) -> CommentFact:
    """Return the event of this kind about the comment as it is now."""
    return kind(
        comment_id=comment.id,
        post_id=comment.post_id,
        post_author_id=discussion.post_author_id,
        parent_id=comment.parent_id,
        parent_author_id=comment.parent_author_id,
        depth=comment.depth,
        author_id=comment.author_id,
        state=comment.state,
        version=comment.version,
        created_at=comment.created_at,
        occurred_at=datetime.now(UTC),
        imported=comment.imported,
    )
