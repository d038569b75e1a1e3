"""What the mailer holds: rows under a lease, the message frozen into them, and how they end.

Every write filters on the lease's token, so a mailer that was paused past its lease changes nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.chassis.messaging import outbox
from services.contracts.notify import NotificationFact
from services.notify.domain import State

LEASE = timedelta(seconds=30)


@dataclass(frozen=True)
class Claimed:
    """A due notification under a lease.

    Attributes:
        id: of the notification, as it is told outside.
        version: of the row; nothing but its end changes it while the lease holds.
        frozen: the message of an earlier attempt whose outcome is unknown, built for the address of `frozen_for`.
        attempts: how many were made before and count.
        tried_for: how long ago the first of them was; None before the first.
    """

    id: UUID
    version: int
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
returning n.id, n.version, n.person_id, n.comment_id, n.post_id, c.author_id, n.reasons, n.attempts,
          now() - n.first_tried_at as tried_for, n.frozen, n.frozen_for, n.correlation_id, n.causation_id
"""


async def claim(tx: Transaction, token: UUID, limit: int) -> list[Claimed]:
    """Take up to `limit` due rows that nobody holds."""
    rows = await tx.fetch(CLAIM, limit, token, LEASE)
    return [Claimed(**{**row, "reasons": tuple(row["reasons"])}, token=token) for row in rows]


RENEW = """
with held as materialized (
    select n.person_id, n.comment_id
    from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as h (person_id, comment_id, token)
    join notifications n on n.person_id = h.person_id and n.comment_id = h.comment_id and n.lease_token = h.token
    where n.lease_until > now()
    order by n.person_id, n.comment_id
    for update of n
)
update notifications as n
set lease_until = now() + $4::interval
from held
where n.person_id = held.person_id and n.comment_id = held.comment_id
"""


async def renew(tx: Transaction, held: Sequence[Claimed]) -> int:
    """Hold on to what is held, but not to what was lost already."""
    keys = [one.person_id for one in held], [one.comment_id for one in held], [one.token for one in held]
    return await tx.execute(RENEW, *keys, LEASE)


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


@dataclass(frozen=True)
class Draft:
    """A message that is about to be sent, built for one version of the person's address."""

    claimed: Claimed
    content: bytes
    address_version: int
    message_id: str


# In the order of their keys, as `RENEW` takes them: two statements that lock many rows never wait for each other.
FREEZE = """
with held as materialized (
    select n.person_id, n.comment_id, d.content, d.address_version, d.message_id, d.sha256
    from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[], $5::integer[], $6::text[], $7::bytea[])
             as d (person_id, comment_id, token, content, address_version, message_id, sha256)
    join notifications n on n.person_id = d.person_id and n.comment_id = d.comment_id and n.lease_token = d.token
    where n.state = 'waiting' and n.lease_until > now()
      and not exists (select from mail_choices m where m.person_id = d.person_id and not m.notifications)
      and not exists (
          select from suppressions s where s.person_id = d.person_id and s.address_version = d.address_version
      )
    order by n.person_id, n.comment_id
    for update of n
)
update notifications as n
set frozen = held.content, frozen_for = held.address_version, message_id = held.message_id,
    message_sha256 = held.sha256
from held
where n.person_id = held.person_id and n.comment_id = held.comment_id
returning n.person_id, n.comment_id
"""


async def freeze(tx: Transaction, drafts: Sequence[Draft]) -> set[tuple[UUID, UUID]]:
    """Keep the bytes of all whose `standing` is ready; returns person and comment of these."""
    rows = await tx.fetch(
        FREEZE,
        [draft.claimed.person_id for draft in drafts],
        [draft.claimed.comment_id for draft in drafts],
        [draft.claimed.token for draft in drafts],
        [draft.content for draft in drafts],
        [draft.address_version for draft in drafts],
        [draft.message_id for draft in drafts],
        [hashlib.sha256(draft.content).digest() for draft in drafts],
    )
    return {(row["person_id"], row["comment_id"]) for row in rows}


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
    state = $4, why = $5, smtp_answer = coalesce($6, smtp_answer), version = $7,
    sent_at = case when $4 = 'sent' then now() end,
    due_at = null, lease_token = null, lease_until = null, frozen = null, frozen_for = null
where person_id = $1 and comment_id = $2 and lease_token = $3 and state = 'waiting'
returning id
"""


async def finish(
    tx: Transaction, claimed: Claimed, state: State, smtp_answer: str | None, end: NotificationFact
) -> bool:
    """End the row as `end` tells it, in one statement, and forget the bytes. False when the lease is lost."""
    row = (claimed.person_id, claimed.comment_id, claimed.token, state, end.why, smtp_answer, end.version)
    return await outbox.add_with(tx, FINISH, row, end)


INSERT_SUPPRESSION = """
insert into suppressions (person_id, address_version, smtp_answer) values ($1, $2, $3) on conflict do nothing
"""


async def suppress(tx: Transaction, person_id: UUID, address_version: int, smtp_answer: str) -> None:
    """Send nothing more to this version of the person's address."""
    await tx.execute(INSERT_SUPPRESSION, person_id, address_version, smtp_answer)
