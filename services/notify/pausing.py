"""Pause and resume all mail about answers: one row in notify's database, which every claim of a mailer looks at."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.chassis.database.pool import Database, Reader, Transaction
from services.contracts.event import rfc3339

SELECT_PAUSE = """
select since, why, (select count(*) from notifications where state = 'waiting') as waiting,
       (select count(*) from notifications where state = 'waiting' and due_at <= now()) as due
from (select) as always left join mail_pause on true
"""


@dataclass(frozen=True)
class MailState:
    """Whether mail is paused, and how many notifications wait.

    Attributes:
        since: when it was paused; None while mail goes out.
        due: those that would be mailed now.
    """

    since: datetime | None
    why: str | None
    waiting: int
    due: int

    def as_json(self) -> dict[str, Any]:
        """Return it for the operator."""
        since = None if self.since is None else rfc3339(self.since)
        return {"paused": since is not None, "since": since, "why": self.why, "waiting": self.waiting, "due": self.due}


async def find_state(reader: Reader) -> MailState:
    """Return whether mail is paused, and how many notifications wait."""
    return MailState(**await reader.fetchrow(SELECT_PAUSE))  # type: ignore[arg-type]  # there is always one row


INSERT_PAUSE = "insert into mail_pause (why) values ($1) on conflict do nothing"


async def pause_within(tx: Transaction, why: str) -> bool:
    """Pause mail; return False if it was paused before. Mails that are claimed already may still go out."""
    return await tx.execute(INSERT_PAUSE, why) == 1


async def pause(db: Database, why: str) -> MailState:
    """Pause mail, and return the state after that."""
    async with db.transaction() as tx:
        await pause_within(tx, why)
        return await find_state(tx)


DELETE_PAUSE = "delete from mail_pause"


async def resume(db: Database, *, dry_run: bool) -> MailState:
    """Let mail go out again, or only look; return the state before."""
    async with db.transaction() as tx:
        before = await find_state(tx)
        if not dry_run:
            await tx.execute(DELETE_PAUSE)
        return before


IS_PAUSED = "select exists (select from mail_pause)"


async def is_paused(reader: Reader) -> bool:
    """Return whether mail is paused."""
    return bool(await reader.fetchval(IS_PAUSED))
