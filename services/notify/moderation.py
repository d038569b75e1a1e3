"""Plan the mails that tell moderators what waits: a row of the queue for each, at most as often as its person chose.

Who moderates is asked of people, and what waits is known from events. Whether there is still something to tell is asked
again when the mail goes (`delivery.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database, Reader, Transaction
from services.chassis.ids import new_id
from services.chassis.runtime.waiting import Periodic
from services.contracts.notify import ModerationMail
from services.notify.domain import TOLD_WITHIN, WAITS
from services.notify.upstreams import Upstreams

PERIODS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1)}
EMPTY_PAUSE = timedelta(minutes=1)  # after a mail that had nothing to tell when it was to go
LOOK_SECONDS = 5.0
PLANNING = 0x6D6F6465  # of an advisory lock: one process plans at a time


@dataclass(frozen=True)
class LastMail:
    """The last mail that was planned for a moderator.

    Attributes:
        ended_at: when it ended; None while it waits.
        why: why it was not sent.
        is_outdated: something that waits began to wait after it was planned.
    """

    ended_at: datetime | None
    why: str | None = None
    is_outdated: bool = True


def next_mail_at(choice: ModerationMail, last: LastMail | None, restored_at: datetime | None = None) -> datetime | None:
    """Return from when on the next mail may be planned: `datetime.min` for at once, None for not now.

    A mail that was refused, or overtaken while its outcome was unknown, counts like one that was sent, and so does a
    restore: mails that went out after the backup are not known. One that had nothing to tell costs a minute, once
    something new waits: what waits below a withdrawn post is in no mail, and is not asked about every minute.
    """
    if choice == "off" or (last is not None and last.ended_at is None):
        return None
    ends = [] if restored_at is None else [restored_at + PERIODS[choice]]
    if last is not None and last.ended_at is not None:
        told_nothing = last.why == "nothing_waits" and last.is_outdated
        ends.append(last.ended_at + (EMPTY_PAUSE if told_nothing else PERIODS[choice]))
    return max(ends, default=datetime.min.replace(tzinfo=UTC))


ANY_WAITS = """
select exists (
    select from comments
    where state = 'held' and not imported and held_at between $1 and $2
      and held_at >= coalesce((select raised_at from epoch), held_at)
) and not exists (select from mail_pause)
"""


async def anything_waits(reader: Reader, now: datetime, settle: timedelta) -> bool:
    """Return whether moderators may have to be told of something; not while mail is paused."""
    return bool(await reader.fetchval(ANY_WAITS, now - TOLD_WITHIN, now - settle))


LOCK_PLANNING = "select pg_advisory_xact_lock($1)"
SELECT_MODERATORS = """
select moderator.person_id, coalesce(m.moderation, 'hourly') as choice, last.id as last_id, last.state, last.why,
       last.created_at, last.ended_at, (select raised_at from epoch) as restored_at,
       exists (
           select from comments c
           where c.state = 'held' and not c.imported and c.held_at > last.created_at and c.held_at <= $3
       ) as is_outdated
from unnest($1::uuid[]) as moderator (person_id)
left join mail_choices m on m.person_id = moderator.person_id
left join lateral (
    select n.id, n.state, n.why, n.created_at, n.ended_at from notifications n
    where n.person_id = moderator.person_id and n.moderation
    order by n.id desc
    limit 1
) as last on true
where exists (
    select from comments c
    where c.state = 'held' and not c.imported and c.held_at between $2 and $3
      and c.held_at >= coalesce((select raised_at from epoch), c.held_at)
      and not exists (
          select from moderation_told t join notifications told on told.id = t.mail_id
          where t.person_id = moderator.person_id and t.comment_id = c.comment_id and told.state = 'sent'
      )
)
"""
INSERT_MAILS = """
insert into notifications (person_id, comment_id, id, post_id, reasons, state, announced, moderation, due_at)
select person_id, id, id, id, array[$3], 'waiting', false, true, now()
from unnest($1::uuid[], $2::uuid[]) as mail (person_id, id)
"""


async def plan(tx: Transaction, moderators: list[UUID], now: datetime, settle: timedelta) -> int:
    """Plan a mail for each of these moderators of whom it is time, and who is to hear of something new.

    Returns:
        How many were planned.
    """
    await tx.execute(LOCK_PLANNING, PLANNING)
    rows = await tx.fetch(SELECT_MODERATORS, moderators, now - TOLD_WITHIN, now - settle)
    due = [row["person_id"] for row in rows if _is_time(row, now)]
    if due:
        await tx.execute(INSERT_MAILS, due, [new_id() for _ in due], WAITS)
    return len(due)


def _is_time(row: Any, now: datetime) -> bool:
    last = None
    if row["last_id"] is not None:
        ended_at = None if row["state"] == "waiting" else row["ended_at"] or row["created_at"]
        last = LastMail(ended_at, row["why"], row["is_outdated"])
    at = next_mail_at(row["choice"], last, row["restored_at"])
    return at is not None and at <= now


class ModerationMails:
    """Plans mails to moderators when comments wait.

    Args:
        settle: how long a comment waits before a mail, so that a decision in that time overtakes it.
        planned: called when mails are due.
        clock: the present time.
    """

    def __init__(
        self,
        db: Database,
        upstreams: Upstreams,
        settle: timedelta,
        planned: Callable[[], None],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._db = db
        self._upstreams = upstreams
        self._settle = settle
        self._planned = planned
        self._clock = clock

    def periodic(self) -> Periodic:
        """Return the work that looks again and again whether moderators are to be told."""
        return Periodic("plan mails to moderators", LOOK_SECONDS, self.look)

    async def look(self) -> int:
        """Plan what is due; return how many mails that are.

        Raises:
            Problem: people or the database cannot be asked.
        """
        now = self._clock()
        async with self._db.reader() as reader:
            if not await anything_waits(reader, now, self._settle):
                return 0
        moderators = await self._upstreams.moderators()
        async with self._db.transaction() as tx:
            count = await plan(tx, moderators, now, self._settle)
        if count:
            self._planned()
        return count
