"""The read side of notify: a person's notifications, the explanation of one, and the settings of mail."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.http import cursors
from services.chassis.messaging.stating import known_rows
from services.contracts.event import rfc3339
from services.contracts.services import STATED
from services.notify import choices, store
from services.notify.domain import WAITS, WHY_NOT_VISIBLE, Comment, concerned
from services.notify.explanations import in_words, moderation_in_words
from services.notify.pausing import MailState, find_state


def _view(row: Any) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "comment_id": str(row["comment_id"]),
        "post_id": str(row["post_id"]),
        "reasons": list(row["reasons"]),
        "state": row["state"],
        "why": row["why"],
        "created_at": rfc3339(row["created_at"]),
        "sent_at": rfc3339(row["sent_at"]) if row["sent_at"] else None,
    }


def _listed(row: Any) -> dict[str, Any]:
    return _view(row) | {"read": row["read"]}


async def notifications(db: Database, person_id: UUID, cursor: str | None, limit: int) -> dict[str, Any]:
    """Return the page of a person's notifications behind the cursor, newest first.

    Raises:
        Problem: `malformed-cursor`.
    """
    name = f"notifications/{person_id}"
    place = cursors.decode(cursor, name, UUID)
    async with db.reader() as reader:
        rows = await store.notifications(reader, person_id, place[0] if place else None, limit + 1)
    shown = rows[:limit]
    return {
        "items": [_listed(row) for row in shown],
        "next": cursors.encode(name, shown[-1]["id"]) if len(rows) > limit else None,
    }


async def explanation(
    db: Database, person_id: UUID, comment_id: UUID, *, moderates: bool = False
) -> dict[str, Any] | None:
    """Explain why a person got, or did not get, a mail about a comment; None if notify has no event of the comment.

    The field `heard` says whether the person may know of the comment, whatever its state is now; if not, the caller
    must check that they may see it now.

    Args:
        moderates: whether the person moderates: then it says too whether a mail named the comment as one that waits.
    """
    async with db.reader() as reader:
        row = await store.find_notification(reader, person_id, comment_id)
        told = await store.find_moderation_mail(reader, person_id, comment_id)
        comment = await store.find_comment(reader, comment_id, person_id)
        settings = await choices.mail_settings(reader, person_id)
    if row is None and comment is None:
        return None
    if row is not None:
        view = _view(row) | {"heard": row["announced"]}
        del view["id"]
        view["text"] = in_words(row["state"], row["why"], tuple(row["reasons"]))
    else:
        assert comment is not None
        view = _without_row(comment, person_id, why_no_row="unrecorded")
    if told is None and not (moderates and comment is not None and comment.state == "held" and not comment.imported):
        return view
    return _with_moderation(view, told, off=settings.moderation == "off")


def _with_moderation(view: dict[str, Any], told: Any | None, *, off: bool) -> dict[str, Any]:
    """Add what a moderator was told of the comment; it is the whole answer where the comment does not concern them."""
    state, why = "none", None
    if told is not None:
        state, why = told["state"], told["why"]
    elif off:
        state, why = "skipped", "moderation_off"
    text, is_concerned = moderation_in_words(state, why), bool(view["reasons"]) or view["why"] == "own_comment"
    is_told = state == "sent"
    if is_concerned:
        return view | {"text": f"{view['text']} {text}", "heard": view["heard"] or is_told}
    sent_at = rfc3339(told["sent_at"]) if told is not None and told["sent_at"] else None
    return view | {
        "reasons": [WAITS],
        "state": state,
        "why": why,
        "created_at": None if told is None else rfc3339(told["created_at"]),
        "sent_at": sent_at,
        "text": text,
        "heard": is_told,
    }


def explanation_before_event(comment: Comment, person_id: UUID) -> dict[str, Any]:
    """Explain the same about a comment whose event has not arrived here yet."""
    return _without_row(comment, person_id, why_no_row=WHY_NOT_VISIBLE.get(comment.state))


def _without_row(comment: Comment, person_id: UUID, *, why_no_row: str | None) -> dict[str, Any]:
    """Explain without a row.

    Args:
        why_no_row: why a recipient of the comment has no row; None if it will be inserted soon.
    """
    reasons = concerned(comment).get(person_id, ())
    state, why = "none", why_no_row
    if comment.author_id == person_id:
        why = "own_comment"
    elif not reasons:
        why = "not_concerned"
    elif comment.imported:
        state, why = "skipped", "imported"
    elif why_no_row is None:
        state = "waiting"
    elif why_no_row != "unrecorded":
        state = "skipped"
    return {
        "comment_id": str(comment.comment_id),
        "post_id": str(comment.post_id),
        "reasons": list(reasons),
        "state": state,
        "why": why,
        "created_at": None,
        "sent_at": None,
        "text": in_words(state, why, reasons),
        "heard": comment.author_id == person_id,
    }


async def mail_settings(db: Database, person_id: UUID) -> dict[str, Any]:
    """Return which mail a person gets."""
    async with db.reader() as reader:
        return choices.as_json(await choices.mail_settings(reader, person_id))


async def attention(db: Database, person_id: UUID, post_id: UUID | None) -> dict[str, Any]:
    """Return how many notifications a person has not read, and whether they follow the discussion of a post."""
    async with db.reader() as reader:
        follows = post_id is not None and await choices.follows_post(reader, person_id, post_id)
        return {"unread": await choices.unread(reader, person_id), "follows": follows}


async def known_comments(db: Database, after: UUID, ids: Sequence[UUID] | None) -> dict[str, Any]:
    """Return what this service knows of the next comments behind `after`, or of those with these ids."""
    async with db.reader() as reader:
        rows = await store.known_comments(reader, after, ids, STATED)
    return known_rows(rows, is_page=ids is None)


async def mail_state(db: Database) -> MailState:
    """Return whether mail is paused, and how many notifications wait."""
    async with db.reader() as reader:
        return await find_state(reader)
