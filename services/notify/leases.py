"""What the mailer holds: rows under a lease, the message frozen into them, and how they end.

Every write filters on the lease's token, so a mailer that was paused past its lease changes nothing.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from services.chassis.database import Reader, Transaction
from services.notify.domain import State

LEASE = timedelta(seconds=30)


@dataclass(frozen=True)
class Claimed:
    """A due notification under a lease.

    Attributes:
        frozen: the message of an earlier attempt whose outcome is unknown, built for the address of `frozen_for`.
        attempts: how many were made before and count.
        tried_for: how long ago the first of them was; None before the first.
    """

    person_id: UUID
    comment_id: UUID
    post_id: UUID
    author_id: UUID
    reasons: tuple[str, ...]
    token: UUID
    attempts: int
    tried_for: timedelta | None
    frozen: bytes | None
    frozen_for: int | None
    correlation_id: str | None
    causation_id: UUID | None


CLAIM = """
with due as materialized (
    select person_id, comment_id
    from notifications
    where state = 'waiting' and due_at <= now() and (lease_until is null or lease_until < now())
    order by due_at
    limit $1
    for update skip locked
)
update notifications as n
set lease_token = $2, lease_until = now() + $3::interval
from due, comments as c
where n.person_id = due.person_id and n.comment_id = due.comment_id and c.comment_id = n.comment_id
returning n.person_id, n.comment_id, n.post_id, c.author_id, n.reasons, n.attempts,
          now() - n.first_tried_at as tried_for, n.frozen, n.frozen_for, n.correlation_id, n.causation_id
"""


async def claim(tx: Transaction, token: UUID, limit: int) -> list[Claimed]:
    """Take up to `limit` due rows that nobody holds."""
    rows = await tx.fetch(CLAIM, limit, token, LEASE)
    return [Claimed(**{**row, "reasons": tuple(row["reasons"])}, token=token) for row in rows]


RENEW = """
update notifications set lease_until = now() + $2::interval
where lease_token = any($1::uuid[]) and lease_until > now()
"""


async def renew(tx: Transaction, tokens: list[UUID]) -> int:
    """Hold on to what is held, but not to what was lost already."""
    return await tx.execute(RENEW, tokens, LEASE)


SELECT_STANDING = """
select n.lease_token = $3 and n.lease_until > now() as held,
       coalesce(m.notifications, true) as wanted,
       exists (select from suppressions s where s.person_id = $1 and s.address_version = $4) as suppressed
from notifications n left join mail_choices m on m.person_id = n.person_id
where n.person_id = $1 and n.comment_id = $2 and n.state = 'waiting'
"""

Standing = Literal["ready", "lost", "unsubscribed", "address_suppressed"]


async def standing(reader: Reader, claimed: Claimed, address_version: int) -> Standing:
    """What notify itself knows at this moment: is the row still held, the mail wanted, the address good?"""
    row = await reader.fetchrow(SELECT_STANDING, claimed.person_id, claimed.comment_id, claimed.token, address_version)
    if row is None or not row["held"]:
        return "lost"
    if not row["wanted"]:
        return "unsubscribed"
    return "address_suppressed" if row["suppressed"] else "ready"


FREEZE = """
update notifications set frozen = $4, frozen_for = $5, message_id = $6, message_sha256 = $7
where person_id = $1 and comment_id = $2 and lease_token = $3 and state = 'waiting' and lease_until > now()
  and not exists (select from mail_choices m where m.person_id = $1 and not m.notifications)
  and not exists (select from suppressions s where s.person_id = $1 and s.address_version = $5)
"""


async def freeze(
    tx: Transaction, claimed: Claimed, message: bytes, address_version: int, message_id: str, sha256: bytes
) -> bool:
    """Keep the bytes that are about to be sent. False when `standing` is not ready."""
    return bool(
        await tx.execute(
            FREEZE,
            claimed.person_id,
            claimed.comment_id,
            claimed.token,
            message,
            address_version,
            message_id,
            sha256,
        )
    )


PUT_OFF = """
update notifications set
    lease_token = null, lease_until = null, due_at = coalesce(now() + $4::interval, due_at), attempts = attempts + $5,
    first_tried_at = case when $5 > 0 then coalesce(first_tried_at, now()) else first_tried_at end,
    smtp_answer = coalesce($6, smtp_answer),
    frozen = case when $7 then frozen end, frozen_for = case when $7 then frozen_for end
where person_id = $1 and comment_id = $2 and lease_token = $3 and state = 'waiting'
"""


async def put_off(
    tx: Transaction,
    claimed: Claimed,
    delay: timedelta | None,
    *,
    counts: bool,
    keep_frozen: bool,
    smtp_answer: str | None = None,
) -> bool:
    """Give the row back, due after `delay` (None: as before); `counts`: it was an attempt at the mail itself."""
    return bool(
        await tx.execute(
            PUT_OFF,
            claimed.person_id,
            claimed.comment_id,
            claimed.token,
            delay,
            int(counts),
            smtp_answer,
            keep_frozen,
        )
    )


LOCK_COMMENT = "select version from comments where comment_id = $1 for share"


async def known_version(tx: Transaction, comment_id: UUID) -> int:
    """The comment's version as notify knows it, which stands still until the transaction ends."""
    return int(await tx.fetchval(LOCK_COMMENT, comment_id))


FINISH = """
update notifications set
    state = $4, why = $5, smtp_answer = coalesce($6, smtp_answer), version = version + 1,
    sent_at = case when $4 = 'sent' then now() end,
    due_at = null, lease_token = null, lease_until = null, frozen = null, frozen_for = null
where person_id = $1 and comment_id = $2 and lease_token = $3 and state = 'waiting'
returning person_id, comment_id, id, post_id, reasons, version, why
"""


async def finish(
    tx: Transaction, claimed: Claimed, state: State, why: str | None, smtp_answer: str | None
) -> Any | None:
    """End the row and forget the bytes. None when the lease is lost."""
    return await tx.fetchrow(FINISH, claimed.person_id, claimed.comment_id, claimed.token, state, why, smtp_answer)


INSERT_SUPPRESSION = """
insert into suppressions (person_id, address_version, smtp_answer) values ($1, $2, $3) on conflict do nothing
"""


async def suppress(tx: Transaction, person_id: UUID, address_version: int, smtp_answer: str) -> None:
    """Send nothing more to this version of the person's address."""
    await tx.execute(INSERT_SUPPRESSION, person_id, address_version, smtp_answer)
