"""End claimed notifications: how each ended stays in its row, the bytes go, and an event tells of it.

Every write filters on the token of the lease, as in `delivery_queue.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import structlog

from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem
from services.chassis.messaging import outbox
from services.chassis.runtime import context
from services.contracts.notify import AddressSuppressed
from services.notify.domain import Claimed, EndState, ending

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class End:
    """How a claimed row ends.

    Attributes:
        bad_address_version: the version of the person's address to suppress.
    """

    claimed: Claimed
    state: EndState
    why: str | None = None
    smtp_answer: str | None = None
    bad_address_version: int | None = None


# locks in key order, as RENEW does
FINISH = """
with leased as materialized (
    select n.person_id, n.comment_id, ended.state, ended.why, ended.smtp_answer, ended.version, ended.place
    from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::integer[])
             with ordinality as ended (person_id, comment_id, token, state, why, smtp_answer, version, place)
    join notifications n on n.person_id = ended.person_id and n.comment_id = ended.comment_id
                        and n.lease_token = ended.token
    where n.state = 'waiting'
    order by n.person_id, n.comment_id
    for update of n
)
update notifications as n set
    state = leased.state, why = leased.why, smtp_answer = coalesce(leased.smtp_answer, n.smtp_answer),
    version = leased.version, sent_at = case when leased.state = 'sent' then now() end, ended_at = now(),
    due_at = null, lease_token = null, lease_until = null, frozen = null, frozen_for = null
from leased
where n.person_id = leased.person_id and n.comment_id = leased.comment_id
returning leased.place
"""

INSERT_SUPPRESSION = """
insert into suppressions (person_id, address_version, smtp_answer) values ($1, $2, $3) on conflict do nothing
"""


async def finish(db: Database, ends: Sequence[End]) -> Sequence[bool | Exception]:
    """End rows, delete their frozen bytes, and add an event for each, all in one statement.

    Returns:
        For each row whether it ended: false, and unchanged, when its lease is lost. The exception if it failed alone.

    Raises:
        Problem: `unavailable`; whether they ended is unknown.
    """
    try:
        return await _finish_together(db, ends)
    except Problem:
        raise
    except Exception:
        if len(ends) == 1:
            raise
        log.exception("ends of mails could not share a transaction", count=len(ends))
    outcomes: list[bool | Exception] = []
    for end in ends:
        try:
            outcomes += await _finish_together(db, [end])
        except Exception as error:
            outcomes.append(error)
    return outcomes


async def _finish_together(db: Database, ends: Sequence[End]) -> list[bool]:
    suppress = any(end.bad_address_version is not None for end in ends)
    async with db.transaction() if suppress else db.statement() as tx:
        return await end_rows(tx, ends)


async def end_rows(tx: Transaction, ends: Sequence[End]) -> list[bool]:
    """End rows in this transaction and add an event for each.

    Returns:
        For each row whether it ended: false, and unchanged, when its lease is lost.
    """
    events = []
    for end in ends:
        claimed = end.claimed
        with context.bound(context.Context(claimed.correlation_id, claimed.causation_id)):
            event = ending(replace(claimed, version=claimed.version + 1), end.state, end.why)
            events.append(outbox.new_row(event))
    changes = (
        [end.claimed.person_id for end in ends],
        [end.claimed.comment_id for end in ends],
        [end.claimed.lease_token for end in ends],
        [end.state for end in ends],
        [end.why for end in ends],
        [end.smtp_answer for end in ends],
        [end.claimed.version + 1 for end in ends],
    )
    ended = await outbox.add_with_each(tx, FINISH, changes, events)
    for end, has_ended in zip(ends, ended, strict=True):
        if has_ended and end.bad_address_version is not None:
            await _suppress(tx, end.claimed.person_id, end.bad_address_version, end.smtp_answer or "")
    return ended


async def _suppress(tx: Transaction, person_id: UUID, address_version: int, smtp_answer: str) -> None:
    if await tx.execute(INSERT_SUPPRESSION, person_id, address_version, smtp_answer):
        now = datetime.now(UTC)
        await outbox.add(tx, AddressSuppressed(person_id=person_id, version=address_version, occurred_at=now))
