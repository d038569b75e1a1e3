"""Rows of comments from events, and of the notifications about them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.chassis.runtime.context import Context
from services.notify.domain import FIRST_FOLLOWERS, Comment, Notification, Reason

UPSERT_COMMENTS = """
insert into comments as known (
    comment_id, post_id, post_author_id, parent_id, parent_author_id, author_id, state, imported, version, created_at,
    epoch, held_at
)
select comment_id, post_id, post_author_id, parent_id, parent_author_id, author_id, state, imported, version,
       created_at, epoch, case when state = 'held' and not stated then now() end
from unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[], $8::boolean[], $9::integer[],
    $10::timestamptz[], $11::bigint[], $12::boolean[]
) as reported (
    comment_id, post_id, post_author_id, parent_id, parent_author_id, author_id, state, imported, version, created_at,
    epoch, stated
)
order by comment_id
on conflict (comment_id) do update set
    post_id = excluded.post_id, post_author_id = excluded.post_author_id, parent_id = excluded.parent_id,
    parent_author_id = excluded.parent_author_id, author_id = excluded.author_id, state = excluded.state,
    imported = known.imported or excluded.imported, version = excluded.version, epoch = excluded.epoch, gone = false,
    held_at = case when excluded.state <> 'held' then null
                   when known.state = 'held' then known.held_at
                   else excluded.held_at end
where (known.epoch, known.version) < (excluded.epoch, excluded.version)
returning comment_id, post_id, post_author_id, parent_id, parent_author_id, author_id, state, imported, version,
          array(
              select person_id from follows f where f.post_id = known.post_id and f.follows order by person_id limit $13
          ) as followers
"""


async def upsert_comments(
    tx: Transaction, reported: Sequence[tuple[Comment, datetime, int, bool]]
) -> dict[UUID, Comment]:
    """Upsert each comment unless a newer (epoch, version) is known; return the newest ones. Their rows stay locked.

    They have the first `FIRST_FOLLOWERS` of their followers.

    Args:
        reported: each comment once, when it was written, its epoch, and whether its event only states the row: a
            comment that waits by it alone is nothing to tell moderators of.
    """
    comments, created_at, epochs, stated = zip(*reported, strict=True)
    rows = await tx.fetch(
        UPSERT_COMMENTS,
        [one.comment_id for one in comments],
        [one.post_id for one in comments],
        [one.post_author_id for one in comments],
        [one.parent_id for one in comments],
        [one.parent_author_id for one in comments],
        [one.author_id for one in comments],
        [one.state for one in comments],
        [one.imported for one in comments],
        [one.version for one in comments],
        created_at,
        epochs,
        stated,
        FIRST_FOLLOWERS,
    )
    found = {row["comment_id"]: _comment(row) for row in rows}
    newer = [one.comment_id for one in comments if one.comment_id not in found]
    if newer:
        rows = await tx.fetch(SELECT_COMMENTS, newer, None, FIRST_FOLLOWERS)
        found |= {row["comment_id"]: _comment(row) for row in rows}
    return found


def _comment(row: Any) -> Comment:
    return Comment(**{**row, "followers": tuple(row["followers"])})


SELECT_COMMENTS = """
select comment_id, post_id, post_author_id, parent_id, parent_author_id, author_id, state, imported, version,
       array(
           select person_id from follows f
           where f.post_id = comments.post_id and f.follows and f.person_id = coalesce($2::uuid, f.person_id)
           order by person_id
           limit $3
       ) as followers
from comments
where comment_id = any($1::uuid[])
"""


async def find_comment(reader: Reader, comment_id: UUID, person_id: UUID) -> Comment | None:
    """Return a comment as its newest event reported it, with the person as its follower if they follow it."""
    row = await reader.fetchrow(SELECT_COMMENTS, [comment_id], person_id, 1)
    return _comment(row) if row else None


MARK_GONE = """
update comments set state = 'removed', gone = true, held_at = null, epoch = $2, version = $3
where comment_id = $1 and (epoch, version) < ($2, $3)
"""


async def mark_gone(tx: Transaction, comment_id: UUID, epoch: int, version: int) -> bool:
    """Store that a comment is not there; return False if it is unknown, or a newer (epoch, version) is known."""
    return await tx.execute(MARK_GONE, comment_id, epoch, version) == 1


SELECT_KNOWN = """
select comment_id as id, post_id as key, epoch, version, gone from comments
where comment_id > $1
order by comment_id
limit $2
"""
SELECT_KNOWN_OF = """
select comment_id as id, post_id as key, epoch, version, gone from comments where comment_id = any($1::uuid[])
"""


async def known_comments(reader: Reader, after: UUID, ids: Sequence[UUID] | None, limit: int) -> list[Any]:
    """Return what is known of the next comments, or of those with these ids: id, key, epoch, version, gone."""
    if ids is not None:
        return await reader.fetch(SELECT_KNOWN_OF, ids)
    return await reader.fetch(SELECT_KNOWN, after, limit)


INSERT_NOTIFICATIONS = """
insert into notifications (
    person_id, comment_id, id, post_id, reasons, state, why, announced, follower, due_at, correlation_id, causation_id
)
select person_id, comment_id, id, post_id, string_to_array(reasons, ' '),
       case when why is null then 'waiting' else 'skipped' end, why, why is null, reasons = $9,
       case when why is null then now() + $10::interval end, correlation_id, causation_id
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::uuid[])
         as new (person_id, comment_id, id, post_id, reasons, why, correlation_id, causation_id)
on conflict (person_id, comment_id) do nothing
returning id
"""


async def insert_notifications(
    tx: Transaction, new: Sequence[tuple[Notification, str | None, Context]], settle: timedelta
) -> set[UUID]:
    """Insert notifications, waiting, or skipped if there is a reason; return the ids of those that were not there."""
    notifications, why, contexts = zip(*new, strict=True)
    rows = await tx.fetch(
        INSERT_NOTIFICATIONS,
        [one.person_id for one in notifications],
        [one.comment_id for one in notifications],
        [one.id for one in notifications],
        [one.post_id for one in notifications],
        [" ".join(one.reasons) for one in notifications],
        why,
        [context.correlation_id for context in contexts],
        [context.causation_id for context in contexts],
        Reason.FOLLOWED_THREAD.value,
        settle,
    )
    return {row["id"] for row in rows}


REVIVE = """
update notifications set
    state = 'waiting', why = null, announced = true, due_at = now() + $2::interval, attempts = 0,
    first_tried_at = null, version = version + 1, correlation_id = $3, causation_id = $4
where comment_id = $1 and state = 'skipped' and why in ('comment_held', 'comment_removed')
"""


async def revive(
    tx: Transaction, comment_id: UUID, settle: timedelta, correlation_id: str | None, causation_id: UUID | None
) -> None:
    """Make rows wait again that were skipped only because the comment was not visible."""
    await tx.execute(REVIVE, comment_id, settle, correlation_id, causation_id)


SKIP_WAITING = """
update notifications set
    state = 'skipped', why = $2, due_at = null, lease_token = null, lease_until = null, frozen = null,
    frozen_for = null, version = version + 1
where comment_id = $1
  and ((state = 'waiting' and (lease_until is null or lease_until < now()))
       or (state = 'skipped' and why in ('comment_held', 'comment_removed') and why <> $2))
returning id, version, person_id, comment_id, post_id, reasons
"""


async def skip_waiting(tx: Transaction, comment_id: UUID, why: str) -> list[Notification]:
    """Skip the waiting notifications about a comment that is no longer visible, and correct why others were skipped.

    A leased row is left to its mailer, which asks the upstreams before it sends and may just have sent it.

    Returns:
        The changed notifications.
    """
    rows = await tx.fetch(SKIP_WAITING, comment_id, why)
    return [Notification(**{**row, "reasons": tuple(row["reasons"])}) for row in rows]


SELECT_NOTIFICATION = """
select id, comment_id, post_id, reasons, state, why, announced, created_at, sent_at
from notifications
where person_id = $1 and comment_id = $2
"""


async def find_notification(reader: Reader, person_id: UUID, comment_id: UUID) -> Any | None:
    """Return the notification of one person about one comment."""
    return await reader.fetchrow(SELECT_NOTIFICATION, person_id, comment_id)


SELECT_MODERATION_MAIL = """
select mail.state, mail.why, mail.created_at, mail.sent_at
from moderation_told t join notifications mail on mail.id = t.mail_id
where t.person_id = $1 and t.comment_id = $2
"""


async def find_moderation_mail(reader: Reader, person_id: UUID, comment_id: UUID) -> Any | None:
    """Return the mail that told a moderator of a waiting comment, or was to tell it."""
    return await reader.fetchrow(SELECT_MODERATION_MAIL, person_id, comment_id)


SELECT_NOTIFICATIONS = """
select id, comment_id, post_id, reasons, state, why, created_at, sent_at,
       coalesce(id <= (select read_until from reading_marks m where m.person_id = $1), false) as read
from notifications
where person_id = $1 and announced and ($2::uuid is null or id < $2)
order by id desc
limit $3
"""


async def notifications(reader: Reader, person_id: UUID, before: UUID | None, limit: int) -> list[Any]:
    """Return a person's notifications, newest first, without those about comments that were never visible."""
    return await reader.fetch(SELECT_NOTIFICATIONS, person_id, before, limit)


SELECT_BACKLOG = """
select count(*) as waiting,
       count(*) filter (where due_at <= now()) as due,
       coalesce(extract(epoch from now() - min(due_at) filter (where due_at <= now())), 0)::float8 as age
from (values (false), (true)) as line (follower), lateral (
    select due_at from notifications n
    where n.state = 'waiting' and n.follower = line.follower
    order by due_at
    limit 10000
) as first
"""


async def backlog(reader: Reader) -> Any:
    """Return how many wait, how many are due (both counted up to 20,000), and for how many seconds the oldest is."""
    return await reader.fetchrow(SELECT_BACKLOG)
