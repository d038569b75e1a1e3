"""How a command finds the comment it is about, with the right refusal where it does not."""

from uuid import UUID

from services.chassis.database.pool import Transaction
from services.chassis.errors import not_found
from services.chassis.identity import Caller
from services.comments import pages, store
from services.comments.domain.comment import Comment, Discussion
from services.contracts.people import is_moderator


async def found(tx: Transaction, comment_id: UUID, caller: Caller) -> tuple[Discussion, Comment]:
    """The comment and its discussion, locked.

    Raises:
        Problem: `not-found` when this caller does not find it.
    """
    locked = await store.lock(tx, comment_id)
    if locked is None or locked[0].status != "published" or not await sees(tx, locked[1], caller):
        raise not_found()
    return locked


async def sees(tx: Transaction, comment: Comment, caller: Caller) -> bool:
    """Whether this caller finds the comment below a published post, be it as a tombstone."""
    if comment.shown or is_moderator(caller.roles):
        return True
    return comment.id in (await pages.own_of(tx, caller, comment.post_id)).ids
