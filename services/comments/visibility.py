"""Visibility: everybody sees the shown comments, a person also their own held ones, a moderator all."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.chassis.errors import not_found
from services.chassis.identity import Caller
from services.comments.domain.comment import Comment, Discussion
from services.comments.domain.tree import NO_HIDDEN, SeenHidden
from services.comments.store import comment_rows, discussion_rows
from services.contracts.people import is_moderator


async def seen_hidden_by(reader: Reader, caller: Caller, post_id: UUID) -> SeenHidden:
    """Return the hidden comments below a post that this person sees; none for moderators, who see all of them."""
    if caller.person_id is None or is_moderator(caller.roles):
        return NO_HIDDEN
    hidden = await comment_rows.hidden_seen_by(reader, caller.person_id, post_id)
    return SeenHidden(frozenset(comment_id for comment_id, _ in hidden), Counter(list_id for _, list_id in hidden))


async def seen_hidden_in(reader: Reader, caller: Caller, post_ids: Sequence[UUID]) -> SeenHidden:
    """Return the same of several posts."""
    if caller.person_id is None or is_moderator(caller.roles):
        return NO_HIDDEN
    hidden = await comment_rows.hidden_seen_in(reader, caller.person_id, post_ids)
    return SeenHidden(frozenset(comment_id for comment_id, _ in hidden), Counter(list_id for _, list_id in hidden))


def _sees(caller: Caller, comment: Comment, hidden: SeenHidden) -> bool:
    return comment.shown or is_moderator(caller.roles) or comment.id in hidden.ids


async def can_see(reader: Reader, comment: Comment, caller: Caller) -> bool:
    """Return whether this caller sees the comment below a published post, whole or as a tombstone."""
    hidden = NO_HIDDEN if comment.shown else await seen_hidden_by(reader, caller, comment.post_id)
    return _sees(caller, comment, hidden)


async def find_visible(reader: Reader, comment_id: UUID, caller: Caller) -> tuple[Discussion, Comment, SeenHidden]:
    """Return the discussion of a published post, a comment in it, and the hidden ones there that this caller sees.

    Raises:
        Problem: `not-found` when this caller does not see it.
    """
    comment = await comment_rows.find(reader, comment_id)
    if comment is None:
        raise not_found()
    discussion = await discussion_rows.find_discussion(reader, comment.post_id)
    if discussion is None or discussion.status != "published":
        raise not_found()
    hidden = await seen_hidden_by(reader, caller, comment.post_id)
    if not _sees(caller, comment, hidden):
        raise not_found()
    return discussion, comment, hidden


async def lock_visible(tx: Transaction, comment_id: UUID, caller: Caller) -> tuple[Discussion, Comment]:
    """Lock the discussion of a comment below a published post, and return both.

    Raises:
        Problem: `not-found` when this caller does not see it.
    """
    locked = await comment_rows.lock(tx, comment_id)
    if locked is None or locked[0].status != "published" or not await can_see(tx, locked[1], caller):
        raise not_found()
    return locked
