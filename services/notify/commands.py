"""Commands of notify: one function, one transaction; each end of a row adds its event to the outbox."""

from datetime import timedelta
from uuid import UUID

from services.chassis.database.pool import Transaction
from services.chassis.messaging import outbox
from services.chassis.runtime import context
from services.contracts.comments import CommentApproved, CommentFact, CommentGone, CommentPosted, CommentStated
from services.contracts.notify import NotificationSkipped
from services.notify import fan_outs, store
from services.notify.domain import FIRST_FOLLOWERS, WHY_NOT_VISIBLE, Comment, Notification, concerned, fact


async def record(tx: Transaction, event: CommentFact, settle: timedelta, epoch: int = 0) -> bool:
    """Record one event about a comment, in the consumer's transaction.

    Events may come in any order: the newest (epoch, version) determines the comment's state now, a posting or an
    approval makes the notifications, and these follow the state now. An event that only states a row, or one about an
    imported comment, makes no mail.

    Returns:
        Whether there are more followers than are told here: the others are told after it.
    """
    reported = Comment(
        event.comment_id,
        event.post_id,
        event.post_author_id,
        event.parent_id,
        event.parent_author_id,
        event.author_id,
        event.state,
        event.imported,
        event.version,
    )
    comment = await store.upsert_comment(tx, reported, event.created_at, epoch, stated=isinstance(event, CommentStated))
    if comment.imported:
        return False
    has_left = False
    if isinstance(event, CommentPosted | CommentApproved):
        has_left = await _leave_followers(tx, comment, settle)
        if await _insert_notifications(tx, comment, settle):
            return has_left
    why = WHY_NOT_VISIBLE.get(comment.state)
    if why is not None:
        await _skip_waiting(tx, comment.comment_id, why)
    elif not isinstance(event, CommentStated):
        here = context.current()
        await store.revive(tx, comment.comment_id, settle, here.correlation_id, here.causation_id)
    return has_left


async def _leave_followers(tx: Transaction, comment: Comment, settle: timedelta) -> bool:
    """Have those told later who are not among the first followers, if there are more; none of a hidden comment."""
    if comment.state != "visible" or len(comment.followers) < FIRST_FOLLOWERS:
        return False
    here = context.current()
    last = comment.followers[-1]
    await fan_outs.begin(tx, comment.comment_id, last, settle, here.correlation_id, here.causation_id)
    return True


async def record_gone(tx: Transaction, event: CommentGone, epoch: int) -> None:
    """Record that a comment is not there, in the consumer's transaction: what waits about it ends as skipped."""
    if await store.mark_gone(tx, event.comment_id, epoch, event.version):
        await _skip_waiting(tx, event.comment_id, WHY_NOT_VISIBLE["removed"])


async def _skip_waiting(tx: Transaction, comment_id: UUID, why: str) -> None:
    skipped = await store.skip_waiting(tx, comment_id, why)
    await outbox.add_all(tx, [outbox.new_row(fact(NotificationSkipped, one, why)) for one in skipped])


async def _insert_notifications(tx: Transaction, comment: Comment, settle: timedelta) -> bool:
    """Insert a notification for each recipient, skipped for now if the comment is not visible.

    Returns:
        True when every row is new, and so follows the comment's state now.
    """
    why = WHY_NOT_VISIBLE.get(comment.state)
    here = context.current()
    recipients = concerned(comment)
    if not recipients:
        return True
    made = await store.insert_notifications(
        tx,
        comment,
        recipients,
        why=why,
        settle=settle,
        correlation_id=here.correlation_id,
        causation_id=here.causation_id,
    )
    if why is not None:
        skipped = [
            Notification(made[person_id], 1, person_id, comment.comment_id, comment.post_id, recipients[person_id])
            for person_id in made
        ]
        await outbox.add_all(tx, [outbox.new_row(fact(NotificationSkipped, one, why)) for one in skipped])
    return len(made) == len(recipients)
