"""Commands of notify: one function, one transaction; each end of a row adds its event to the outbox."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.chassis.database.pool import Transaction
from services.chassis.ids import new_id
from services.chassis.messaging import outbox
from services.chassis.runtime.context import Context, bound
from services.contracts.comments import CommentApproved, CommentFact, CommentGone, CommentPosted, CommentStated
from services.contracts.notify import NotificationSkipped
from services.notify import fan_outs, store
from services.notify.domain import FIRST_FOLLOWERS, WHY_NOT_VISIBLE, Comment, Notification, concerned, fact


@dataclass(frozen=True)
class Reported:
    """An event about a comment, the epoch of its owner, and the context of what it causes."""

    event: CommentFact
    epoch: int
    context: Context

    @property
    def comment(self) -> Comment:
        """The comment as the event reports it."""
        event = self.event
        return Comment(
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


async def record(tx: Transaction, reports: Sequence[Reported], settle: timedelta) -> bool:
    """Record events about comments in this order, in the consumer's transaction.

    Events may come in any order: the newest (epoch, version) determines a comment's state now, a posting or an
    approval makes the notifications, and these follow the state now. An event that only states a row, or one about an
    imported comment, makes no mail.

    Returns:
        Whether a comment has more followers than are told here: the others are told after it.
    """
    has_left = False
    for part in _without_repetition(reports):
        comments = await store.upsert_comments(
            tx, [(one.comment, one.event.created_at, one.epoch, isinstance(one.event, CommentStated)) for one in part]
        )
        part = [one for one in part if not comments[one.event.comment_id].imported]
        telling = [one for one in part if isinstance(one.event, CommentPosted | CommentApproved)]
        for one in telling:
            has_left |= await _leave_followers(tx, comments[one.event.comment_id], settle, one.context)
        all_new = await _insert_notifications(tx, telling, comments, settle)
        for one in part:
            if one.event.comment_id not in all_new:
                await _follow_state(tx, one, comments[one.event.comment_id], settle)
    return has_left


def _without_repetition(reports: Sequence[Reported]) -> Iterator[list[Reported]]:
    """Cut the events into parts in which no comment occurs twice."""
    part: dict[UUID, Reported] = {}
    for one in reports:
        if one.event.comment_id in part:
            yield list(part.values())
            part = {}
        part[one.event.comment_id] = one
    if part:
        yield list(part.values())


async def _leave_followers(tx: Transaction, comment: Comment, settle: timedelta, context: Context) -> bool:
    """Have those told later who are not among the first followers, if there are more; none of a hidden comment."""
    if comment.state != "visible" or len(comment.followers) < FIRST_FOLLOWERS:
        return False
    last = comment.followers[-1]
    await fan_outs.begin(tx, comment.comment_id, last, settle, context.correlation_id, context.causation_id)
    return True


async def _insert_notifications(
    tx: Transaction, reports: Sequence[Reported], comments: Mapping[UUID, Comment], settle: timedelta
) -> set[UUID]:
    """Insert a notification for each recipient of each comment, skipped for now if the comment is not visible.

    Returns:
        The comments of which every row is new, and so follows their state now.
    """
    new = []
    for one in reports:
        comment = comments[one.event.comment_id]
        why = WHY_NOT_VISIBLE.get(comment.state)
        for person_id, reasons in concerned(comment).items():
            row = Notification(new_id(), 1, person_id, comment.comment_id, comment.post_id, reasons)
            new.append((row, why, one.context))
    made = await store.insert_notifications(tx, new, settle) if new else set()
    await _tell_skipped(tx, [(row, why, context) for row, why, context in new if why is not None and row.id in made])
    known = {row.comment_id for row, _, _ in new if row.id not in made}
    return {one.event.comment_id for one in reports} - known


async def _follow_state(tx: Transaction, one: Reported, comment: Comment, settle: timedelta) -> None:
    """Let the notifications about a comment that are there already follow its state now."""
    why = WHY_NOT_VISIBLE.get(comment.state)
    if why is not None:
        skipped = await store.skip_waiting(tx, comment.comment_id, why)
        await _tell_skipped(tx, [(row, why, one.context) for row in skipped])
    elif not isinstance(one.event, CommentStated):
        await store.revive(tx, comment.comment_id, settle, one.context.correlation_id, one.context.causation_id)


async def record_gone(tx: Transaction, event: CommentGone, epoch: int, context: Context) -> None:
    """Record that a comment is not there, in the consumer's transaction: what waits about it ends as skipped."""
    if await store.mark_gone(tx, event.comment_id, epoch, event.version):
        why = WHY_NOT_VISIBLE["removed"]
        skipped = await store.skip_waiting(tx, event.comment_id, why)
        await _tell_skipped(tx, [(row, why, context) for row in skipped])


async def _tell_skipped(tx: Transaction, skipped: Sequence[tuple[Notification, str, Context]]) -> None:
    events = []
    for notification, why, context in skipped:
        with bound(context):
            events.append(outbox.new_row(fact(NotificationSkipped, notification, why)))
    await outbox.add_all(tx, events)
