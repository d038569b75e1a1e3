"""What changes at notify. One function, one transaction; each end of a row puts its event into the outbox."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database, Transaction
from services.chassis.ids import new_id
from services.chassis.messaging import outbox
from services.chassis.runtime import context
from services.contracts.comments import CommentApproved, CommentFact, CommentPosted, CommentStated
from services.contracts.notify import NotificationFact, NotificationFailed, NotificationSent, NotificationSkipped
from services.notify import delivery_queue, store
from services.notify.delivery_queue import Claimed, Draft, Standing
from services.notify.domain import WHY_NOT_VISIBLE, Comment, State, concerned

ENDS: dict[str, type[NotificationFact]] = {
    "sent": NotificationSent,
    "skipped": NotificationSkipped,
    "failed": NotificationFailed,
}


async def record(tx: Transaction, event: CommentFact, settle: timedelta) -> None:
    """Take in one fact about a comment, in the consumer's transaction.

    Whatever the order in which facts come, the newest version decides what the comment is now; that it was posted
    or approved makes the rows; and rows follow what the comment is now. What only states a row, or was imported,
    makes no mail.
    """
    told = Comment(
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
    comment = await store.upsert_comment(tx, told, event.created_at)
    if comment.imported:
        return
    if isinstance(event, CommentPosted | CommentApproved) and await _announce(tx, comment, settle):
        return
    why = WHY_NOT_VISIBLE.get(comment.state)
    if why is not None:
        for row in await store.withhold(tx, comment.comment_id, why):
            await _tell(tx, "skipped", row)
    elif not isinstance(event, CommentStated):
        here = context.current()
        await store.revive(tx, comment.comment_id, settle, here.correlation_id, here.causation_id)


async def _announce(tx: Transaction, comment: Comment, settle: timedelta) -> bool:
    """One row for each person who must hear; those about a comment nobody sees are skipped for now.

    Returns:
        True when every row is new, and so as the comment is now.
    """
    why = WHY_NOT_VISIBLE.get(comment.state)
    here = context.current()
    told = concerned(comment)
    if not told:
        return True
    made = await store.insert_notifications(
        tx,
        comment,
        told,
        why=why,
        settle=settle,
        correlation_id=here.correlation_id,
        causation_id=here.causation_id,
    )
    if why is not None:
        for person_id, notification_id in made.items():
            skipped = {
                "id": notification_id,
                "person_id": person_id,
                "comment_id": comment.comment_id,
                "post_id": comment.post_id,
                "reasons": told[person_id],
                "why": why,
                "version": 1,
            }
            await _tell(tx, "skipped", skipped)
    return len(made) == len(told)


async def _tell(tx: Transaction, state: State, row: Any) -> None:
    """Write the event about a row that has just ended."""
    await outbox.add(tx, _fact(state, row))


def _end_of(claimed: Claimed, state: State, why: str | None) -> NotificationFact:
    """What is told when a row under a lease ends."""
    return _fact(state, {**vars(claimed), "version": claimed.version + 1, "why": why})


def _fact(state: State, row: Any) -> NotificationFact:
    return ENDS[state](
        notification_id=row["id"],
        person_id=row["person_id"],
        comment_id=row["comment_id"],
        post_id=row["post_id"],
        reasons=tuple(row["reasons"]),
        why=row["why"],
        version=row["version"],
        occurred_at=datetime.now(UTC),
    )


async def choose_mail(database: Database, person_id: UUID, notifications: bool) -> None:
    """Hear of answers by mail, or not. The mailer reads it last, so it holds for what is claimed already."""
    async with database.transaction() as tx:
        await store.choose_mail(tx, person_id, notifications)


async def claim(database: Database, limit: int) -> list[Claimed]:
    """Take up to `limit` due rows under one fresh lease."""
    async with database.statement() as tx:
        return await delivery_queue.claim(tx, new_id(), limit)


async def renew(database: Database, held: Sequence[Claimed]) -> int:
    """Prolong the leases that still hold."""
    async with database.statement() as tx:
        return await delivery_queue.renew(tx, held)


async def freeze(database: Database, drafts: Sequence[Draft]) -> list[Standing]:
    """Keep the bytes to be sent, all but those of which notify itself knows why they must not be."""
    async with database.statement() as tx:
        kept = await delivery_queue.freeze(tx, drafts)
    standings: list[Standing] = []
    for draft in drafts:
        if (draft.claimed.person_id, draft.claimed.comment_id) in kept:
            standings.append("ready")
            continue
        async with database.reader() as reader:
            standing = await delivery_queue.standing(reader, draft.claimed, draft.address_version)
        standings.append("lost" if standing == "ready" else standing)
    return standings


async def put_off(
    database: Database,
    claimed: Claimed,
    delay: timedelta | None = None,
    *,
    counts: bool = False,
    keep_frozen: bool,
    smtp_answer: str | None = None,
) -> None:
    """Give a row back to be tried later. `counts`: it was an attempt at this mail, not an outage around it."""
    async with database.statement() as tx:
        await delivery_queue.put_off(
            tx, claimed, delay, counts=counts, keep_frozen=keep_frozen, smtp_answer=smtp_answer
        )


async def finish(
    database: Database,
    claimed: Claimed,
    state: State,
    why: str | None = None,
    *,
    smtp_answer: str | None = None,
    bad_address_version: int | None = None,
) -> bool:
    """End a row, tell it, and forget its bytes. False when the lease is lost and nothing was changed."""
    end = _end_of(claimed, state, why)
    if bad_address_version is None:
        async with database.statement() as tx:
            return await delivery_queue.finish(tx, claimed, state, smtp_answer, end)
    async with database.transaction() as tx:
        ended = await delivery_queue.finish(tx, claimed, state, smtp_answer, end)
        if ended:
            await delivery_queue.suppress(tx, claimed.person_id, bad_address_version, smtp_answer or "")
        return ended


async def skip_unseen(database: Database, claimed: Claimed, why: str, seen_version: int) -> bool:
    """End a row because its comment is not visible at `seen_version`, unless notify has heard of a later version.

    Without that look an approval that was handled while the owner was being asked would be lost: its handler found
    the row waiting and had nothing to do.
    """
    async with database.transaction() as tx:
        if await delivery_queue.known_version(tx, claimed.comment_id) > seen_version:
            await delivery_queue.put_off(tx, claimed, None, counts=False, keep_frozen=claimed.frozen is not None)
            return False
        return await delivery_queue.finish(tx, claimed, "skipped", None, _end_of(claimed, "skipped", why))
