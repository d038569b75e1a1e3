"""The delivery queue: lease due notifications, freeze a message into each, and look whether it may still go.

Every write filters on the token of the lease, so a mailer that was paused past its lease changes nothing. Each function
is one transaction, and one statement where that is enough. A statement that locks several rows locks them in key order
(person_id, comment_id), so that two of them cannot deadlock.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import structlog

from services.chassis.database.pool import Database
from services.chassis.ids import new_id
from services.notify.domain import TOLD_WITHIN, Claimed

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=30)

# Comments of which one mail tells a moderator: those that wait since last, of which it is planned. What waits below
# withdrawn posts is among them, so the oldest could be none that anybody is to hear of. The rest is in the next mail.
MOST_NAMED = 100

CLAIM = """
with answers as materialized (
    select person_id, comment_id
    from notifications
    where state = 'waiting' and not follower and due_at <= now() and (lease_until is null or lease_until < now())
      and not exists (select from mail_pause)
    order by due_at
    limit $1
    for update skip locked
), followers as materialized (
    select person_id, comment_id
    from notifications
    where state = 'waiting' and follower and due_at <= now() and (lease_until is null or lease_until < now())
      and not exists (select from mail_pause)
    order by due_at
    limit least($2, $3 - (select count(*) from answers))
    for update skip locked
), due as (
    select person_id, comment_id from answers union all select person_id, comment_id from followers
)
update notifications as n
set lease_token = $4, lease_until = now() + $5::interval
from due left join comments as c on c.comment_id = due.comment_id
where n.person_id = due.person_id and n.comment_id = due.comment_id
returning n.id, n.version, n.person_id, n.comment_id, n.post_id, c.author_id, n.reasons,
          now() - n.first_tried_at as tried_for, n.frozen, n.frozen_for, n.correlation_id, n.causation_id,
          (select t.revision from mail_threads t where t.person_id = n.person_id and t.post_id = n.post_id)
              as thread_revision,
          n.first_tried_at is null and n.frozen is null
              and coalesce(c.created_at, n.created_at) < greatest(now() - $6::interval, (select raised_at from epoch))
              as too_old,
          n.moderation, n.follower,
          case when not n.moderation then '{}'
               when n.frozen is not null then array(select t.comment_id from moderation_told t where t.mail_id = n.id)
               else array(
                   select w.comment_id from comments w
                   where w.state = 'held' and not w.imported and not exists (
                       select from moderation_told t join notifications told on told.id = t.mail_id
                       where t.person_id = n.person_id and t.comment_id = w.comment_id and told.state = 'sent'
                   )
                   order by w.held_at desc nulls last, w.comment_id desc
                   limit $7
               ) end as waiting
"""


async def claim(db: Database, limit: int, *, answers: int | None = None, followers: int | None = None) -> list[Claimed]:
    """Claim up to `limit` due rows that are not leased, under one new lease; none while mail is paused.

    Args:
        answers: how many of them may be for other people than followers.
        followers: how many may be for followers; they get what is left by the others.
    """
    lease_token = new_id()
    lines = limit if answers is None else answers, limit if followers is None else followers
    async with db.statement() as tx:
        rows = await tx.fetch(CLAIM, *lines, limit, lease_token, LEASE, TOLD_WITHIN, MOST_NAMED)
    return [
        Claimed(**{**row, "reasons": tuple(row["reasons"]), "waiting": tuple(row["waiting"])}, lease_token=lease_token)
        for row in rows
    ]


RENEW = """
with leased as materialized (
    select n.person_id, n.comment_id
    from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as l (person_id, comment_id, token)
    join notifications n on n.person_id = l.person_id and n.comment_id = l.comment_id and n.lease_token = l.token
    where n.lease_until > now()
    order by n.person_id, n.comment_id
    for update of n
)
update notifications as n
set lease_until = now() + $4::interval
from leased
where n.person_id = leased.person_id and n.comment_id = leased.comment_id
"""


async def renew(db: Database, rows: Sequence[Claimed]) -> None:
    """Prolong the leases of these rows, except those that have expired."""
    keys = [row.person_id for row in rows], [row.comment_id for row in rows], [row.lease_token for row in rows]
    async with db.statement() as tx:
        await tx.execute(RENEW, *keys, LEASE)


SELECT_OWN_PARTS = """
select n.person_id, n.comment_id, n.lease_token = asked.token and n.lease_until > now() as leased,
       coalesce(m.notifications, true) as wanted,
       coalesce(m.scope, 'all') = 'all' or 'reply_to_you' = any(n.reasons) as in_scope,
       n.moderation, coalesce(m.moderation, 'hourly') <> 'off' as moderation_wanted,
       exists (
           select from suppressions s where s.person_id = asked.person_id and s.address_version = asked.address_version
       ) as suppressed
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::integer[]) as asked (person_id, comment_id, token, address_version)
join notifications n on n.person_id = asked.person_id and n.comment_id = asked.comment_id
left join mail_choices m on m.person_id = n.person_id
where n.state = 'waiting'
"""

OwnRefusal = Literal["lease_lost", "unsubscribed", "replies_only", "moderation_off", "address_suppressed"]


async def own_refusals(db: Database, asked: Sequence[tuple[Claimed, int]]) -> list[OwnRefusal | None]:
    """Return why notify itself refuses each mail now, by its lease, the person's choice and the suppressions.

    Args:
        asked: rows, each with the version of the address that its mail is to go to.
    """
    async with db.reader() as reader:
        rows = await reader.fetch(
            SELECT_OWN_PARTS,
            [claimed.person_id for claimed, _ in asked],
            [claimed.comment_id for claimed, _ in asked],
            [claimed.lease_token for claimed, _ in asked],
            [address_version for _, address_version in asked],
        )
    parts = {(row["person_id"], row["comment_id"]): row for row in rows}
    return [_own_refusal(parts.get((claimed.person_id, claimed.comment_id))) for claimed, _ in asked]


def _own_refusal(part: Any | None) -> OwnRefusal | None:
    if part is None or not part["leased"]:
        return "lease_lost"
    if part["moderation"]:
        if not part["moderation_wanted"]:
            return "moderation_off"
    elif not part["wanted"]:
        return "unsubscribed"
    elif not part["in_scope"]:
        return "replies_only"
    return "address_suppressed" if part["suppressed"] else None


@dataclass(frozen=True)
class Draft:
    """A message that is about to be sent, built for one version of the person's address.

    Attributes:
        named: the waiting comments that it names to a moderator.
        message_id: None where the bytes are those of an earlier attempt, which have their own.
        revision: of the post, whose title names the thread if this is its first mail.
    """

    claimed: Claimed
    content: bytes
    address_version: int
    message_id: str | None
    revision: int | None = None
    named: frozenset[UUID] = frozenset()


# locks in key order, as RENEW does
FREEZE = """
with leased as materialized (
    select n.id, n.person_id, n.comment_id, n.post_id, d.content, d.address_version, d.message_id, d.sha256, d.revision
    from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[], $5::integer[], $6::text[], $7::bytea[], $8::integer[])
             as d (person_id, comment_id, token, content, address_version, message_id, sha256, revision)
    join notifications n on n.person_id = d.person_id and n.comment_id = d.comment_id and n.lease_token = d.token
    where n.state = 'waiting' and n.lease_until > now()
      and not exists (
          select from mail_choices m
          where m.person_id = d.person_id
            and case when n.moderation then m.moderation = 'off'
                     else not m.notifications or m.scope = 'replies' and not 'reply_to_you' = any(n.reasons) end
      )
      and not exists (
          select from suppressions s where s.person_id = d.person_id and s.address_version = d.address_version
      )
      and not exists (
          select from mail_threads t
          where t.person_id = n.person_id and t.post_id = n.post_id and t.revision <> d.revision
      )
    order by n.person_id, n.comment_id
    for update of n
), begun as (
    insert into mail_threads (person_id, post_id, revision)
    select distinct on (person_id, post_id) person_id, post_id, revision
    from leased
    where revision is not null
    order by person_id, post_id, revision
    on conflict do nothing
), named as (
    insert into moderation_told as known (person_id, comment_id, mail_id)
    select leased.person_id, one.comment_id, leased.id
    from unnest($9::uuid[], $10::uuid[]) as one (mail_id, comment_id) join leased on leased.id = one.mail_id
    order by leased.person_id, one.comment_id
    on conflict (person_id, comment_id) do update set mail_id = excluded.mail_id
    where not exists (select from notifications told where told.id = known.mail_id and told.state = 'sent')
), named_no_more as (
    delete from moderation_told as known using leased
    where known.mail_id = leased.id and leased.person_id = known.person_id
      and not exists (
          select from unnest($9::uuid[], $10::uuid[]) as one (mail_id, comment_id)
          where one.mail_id = leased.id and one.comment_id = known.comment_id
      )
)
update notifications as n
set frozen = leased.content, frozen_for = leased.address_version,
    message_id = coalesce(leased.message_id, n.message_id), message_sha256 = leased.sha256
from leased
where n.person_id = leased.person_id and n.comment_id = leased.comment_id
returning n.person_id, n.comment_id
"""


async def freeze(db: Database, drafts: Sequence[Draft]) -> list[OwnRefusal | None]:
    """Freeze the bytes of each draft that notify itself does not refuse; return each refusal, None for a frozen one.

    The first mail of a person about a post names their thread in the same transaction. A draft that was built as the
    first, and is not any more, is left as after a lost lease.
    """
    async with db.statement() as tx:
        rows = await tx.fetch(
            FREEZE,
            [draft.claimed.person_id for draft in drafts],
            [draft.claimed.comment_id for draft in drafts],
            [draft.claimed.lease_token for draft in drafts],
            [draft.content for draft in drafts],
            [draft.address_version for draft in drafts],
            [draft.message_id for draft in drafts],
            [hashlib.sha256(draft.content).digest() for draft in drafts],
            [draft.revision if draft.claimed.thread_revision is None else None for draft in drafts],
            [draft.claimed.id for draft in drafts for _ in draft.named],
            [comment_id for draft in drafts for comment_id in draft.named],
        )
    frozen = {(row["person_id"], row["comment_id"]) for row in rows}
    left = [draft for draft in drafts if (draft.claimed.person_id, draft.claimed.comment_id) not in frozen]
    if not left:
        return [None] * len(drafts)
    why = await own_refusals(db, [(draft.claimed, draft.address_version) for draft in left])
    # a refusal may stand no more; then the row is left as after a lost lease, and is claimed again
    refusals = {draft.claimed.id: refusal or "lease_lost" for draft, refusal in zip(left, why, strict=True)}
    return [refusals.get(draft.claimed.id) for draft in drafts]
