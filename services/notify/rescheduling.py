"""Give claimed notifications back to the queue: those whose mail does not go now. Each write filters on the lease."""

from datetime import timedelta

from services.chassis.database.pool import Database, Transaction
from services.notify.domain import Claimed
from services.notify.endings import End, end_rows

LONGEST_RETRY = timedelta(hours=3)


def retry_delay(tried_for: timedelta | None, first: timedelta) -> timedelta:
    """Return how long to wait for the next attempt: a quarter of the time since the first one, at most 3 h.

    So a mail that was rescheduled during an outage goes soon after it, however long it lasted.
    """
    return first if tried_for is None else min(max(first, tried_for / 4), LONGEST_RETRY)


RESCHEDULE = """
update notifications set
    lease_token = null, lease_until = null, due_at = coalesce(now() + $4::interval, due_at), attempts = attempts + $5,
    first_tried_at = case when $5 > 0 then coalesce(first_tried_at, now()) else first_tried_at end,
    smtp_answer = coalesce($6, smtp_answer),
    frozen = case when $7 then frozen end, frozen_for = case when $7 then frozen_for end
where person_id = $1 and comment_id = $2 and lease_token = $3 and state = 'waiting'
"""


async def reschedule(
    db: Database,
    claimed: Claimed,
    delay: timedelta | None = None,
    *,
    counts: bool = False,
    keep_frozen: bool,
    smtp_answer: str | None = None,
) -> None:
    """End the lease, and make the row due after `delay` (None: as before).

    Args:
        counts: whether this was an attempt at this mail, and not an outage of something else.
    """
    key = claimed.person_id, claimed.comment_id, claimed.lease_token
    async with db.statement() as tx:
        await tx.execute(RESCHEDULE, *key, delay, int(counts), smtp_answer, keep_frozen)


LOCK_COMMENT = "select epoch, version from comments where comment_id = $1 for share"


async def skip_not_visible(db: Database, claimed: Claimed, why: str, checked_state: tuple[int, int]) -> bool:
    """Skip a row whose comment is not visible at this (epoch, version); give it back if notify knows a later state.

    Otherwise an approval that was handled while the upstreams were asked would be lost: its handler found the row
    waiting and changed nothing.
    """
    async with db.transaction() as tx:
        known = await tx.fetchrow(LOCK_COMMENT, claimed.comment_id)
        assert known is not None
        if (known["epoch"], known["version"]) > checked_state:
            key = claimed.person_id, claimed.comment_id, claimed.lease_token
            await tx.execute(RESCHEDULE, *key, None, 0, None, claimed.frozen is not None)
            return False
        (has_ended,) = await end_rows(tx, [End(claimed, "skipped", why)])
        return has_ended


RELEASE_LEASES = "update notifications set lease_token = null, lease_until = null where lease_token is not null"


async def release_leases(tx: Transaction) -> int:
    """End every lease: after a restore nobody holds them. Returns how many there were."""
    return await tx.execute(RELEASE_LEASES)
