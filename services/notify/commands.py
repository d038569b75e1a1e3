"""Commands of notify: one function, one transaction; each end of a row adds its event to the outbox."""

from datetime import timedelta
from uuid import UUID

from services.chassis.database.pool import Transaction
from services.chassis.messaging import outbox
from services.chassis.runtime import context
from services.contracts.comments import CommentApproved, CommentFact, CommentGone, CommentPosted, CommentStated
from services.contracts.notify import NotificationSkipped
from services.notify import store
from services.notify.domain import WHY_NOT_VISIBLE, Comment, Notification, concerned, fact


async def record(tx: Transaction, event: CommentFact, settle: timedelta, epoch: int = 0) -> None:
    """Record one event about a comment, in the consumer's transaction.

    Events may come in any order: the newest (epoch, version) determines the comment's state now, a posting or an
    approval makes the notifications, and these follow the state now. An event that only states a row, or one about an
    imported comment, makes no mail.
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
        return
    if isinstance(event, CommentPosted | CommentApproved) and await _insert_notifications(tx, comment, settle):
        return
    why = WHY_NOT_VISIBLE.get(comment.state)
    if why is not None:
        await _skip_waiting(tx, comment.comment_id, why)
    elif not isinstance(event, CommentStated):
        here = context.current()
        await store.revive(tx, comment.comment_id, settle, here.correlation_id, here.causation_id)


async def record_gone(tx: Transaction, event: CommentGone, epoch: int) -> None:
    """Record that a comment is not there, in the consumer's transaction: what waits about it ends as skipped."""
    if await store.mark_gone(tx, event.comment_id, epoch, event.version):
        await _skip_waiting(tx, event.comment_id, WHY_NOT_VISIBLE["removed"])


async def _skip_waiting(tx: Transaction, comment_id: UUID, why: str) -> None:
    for notification in await store.skip_waiting(tx, comment_id, why):
        await outbox.add(tx, fact(NotificationSkipped, notification, why))


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
        for person_id, notification_id in made.items():
            reasons = recipients[person_id]
            skipped = Notification(notification_id, 1, person_id, comment.comment_id, comment.post_id, reasons)
            await outbox.add(tx, fact(NotificationSkipped, skipped, why))
    return len(made) == len(recipients)
