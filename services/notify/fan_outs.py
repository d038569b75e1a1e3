"""Tell the followers of a discussion of a comment when they are many: a piece of them at a time.

The first ones are told in the transaction of the comment's event (`commands.py`). The row of `fan_outs` that it writes
says after whom the others follow; each piece is one transaction with the next place, so a crash loses nothing.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import asyncpg
import structlog

from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem
from services.chassis.ids import new_id
from services.chassis.runtime.waiting import first_set
from services.notify.domain import TOLD_WITHIN, Reason

log = structlog.get_logger(__name__)

PIECE = 500
LOOK_SECONDS = 5.0  # when nothing wakes it: after a crash, or from another process

BEGIN = """
insert into fan_outs (comment_id, after_person, due_at, correlation_id, causation_id)
values ($1, $2, now() + $3::interval, $4, $5)
on conflict (comment_id) do nothing
"""


async def begin(
    tx: Transaction,
    comment_id: UUID,
    after_person: UUID,
    settle: timedelta,
    correlation_id: str | None,
    causation_id: UUID | None,
) -> None:
    """Have the followers behind this one told of the comment."""
    await tx.execute(BEGIN, comment_id, after_person, settle, correlation_id, causation_id)


# The comment stays as it is until the piece is committed: then an event that hides it finds the rows.
NEXT = """
select f.comment_id, f.after_person, f.due_at, f.correlation_id, f.causation_id, c.post_id, c.author_id
from fan_outs f join comments c on c.comment_id = f.comment_id
where c.state = 'visible'
order by f.told_at
limit 1
for update of f skip locked
for share of c
"""
TELL = """
with piece as materialized (
    select person_id, row_number() over (order by person_id) as place
    from (
        select person_id from follows
        where post_id = $2 and follows and person_id > $3
        order by person_id
        limit cardinality($4::uuid[])
    ) as next
), told as (
    insert into notifications (
        person_id, comment_id, id, post_id, reasons, state, announced, follower, due_at, correlation_id, causation_id
    )
    select piece.person_id, $1, given.id, $2, array[$5], 'waiting', true, true, $6, $7, $8
    from piece join unnest($4::uuid[]) with ordinality as given (id, place) using (place)
    where piece.person_id <> $9
    on conflict (person_id, comment_id) do nothing
), moved as (
    update fan_outs
    set after_person = (select person_id from piece order by place desc limit 1), told_at = clock_timestamp()
    where comment_id = $1 and exists (select from piece)
)
select count(*) from piece
"""
END = "delete from fan_outs where comment_id = $1"


async def tell_piece(db: Database) -> bool:
    """Insert the notifications of the next followers, of the comment that has waited longest; false if none waits."""
    async with db.transaction() as tx:
        row = await tx.fetchrow(NEXT)
        if row is None:
            return False
        count = await tx.fetchval(
            TELL,
            row["comment_id"],
            row["post_id"],
            row["after_person"],
            [new_id() for _ in range(PIECE)],
            Reason.FOLLOWED_THREAD.value,
            row["due_at"],
            row["correlation_id"],
            row["causation_id"],
            row["author_id"],
        )
        if count < PIECE:
            await tx.execute(END, row["comment_id"])
    return True


END_OLD = """
delete from fan_outs f using comments c
where c.comment_id = f.comment_id and c.created_at < now() - $1::interval
"""


async def end_old(db: Database) -> None:
    """End what nobody would be mailed about any more: comments that were hidden before all followers were told."""
    async with db.transaction() as tx:
        await tx.execute(END_OLD, TOLD_WITHIN)


END_ALL = "delete from fan_outs"


async def end_all(tx: Transaction) -> None:
    """Have nobody told any more of a comment whose followers are being told."""
    await tx.execute(END_ALL)


class FanOuts:
    """Tells followers, piece by piece, until it is stopped.

    Args:
        told: called when notifications are committed, those of an event or of a piece; wakes the mailer of the process.
    """

    def __init__(self, db: Database, told: Callable[[], None] | None) -> None:
        self._db = db
        self._told = told or (lambda: None)
        self._woken = asyncio.Event()
        self._expected = False

    def expect(self) -> None:
        """Note that a transaction under way begins to tell followers."""
        self._expected = True

    def committed(self) -> None:
        """Note that a transaction was committed: look now, if followers are expected, instead of at the next look."""
        self._told()
        if self._expected:
            self._expected = False
            self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work through every outage of the database, until `stop` is set."""
        while not stop.is_set():
            self._woken.clear()
            if not await self._tell():
                await first_set(self._woken, stop, within=LOOK_SECONDS)

    async def _tell(self) -> bool:
        try:
            if await tell_piece(self._db):
                self._told()
                return True
            await end_old(self._db)
        except (Problem, asyncpg.PostgresError) as error:
            log.warning("followers cannot be told now", error=repr(error))
        return False
