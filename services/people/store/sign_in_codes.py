"""Rows of sign-in requests as the one who asked names them, and of wrong codes. `sign_in.lock_address` comes first."""

from dataclasses import dataclass
from uuid import UUID

from services.chassis.database.pool import Transaction
from services.contracts.people import SIGN_IN_PERIOD
from services.people.domain import (
    WRONG_CODES_PER_ADDRESS,
    WRONG_CODES_PER_REQUEST,
    WRONG_CODES_WINDOW,
)

SELECT_REQUEST = "select id, lookup from sign_in_requests where public_id = $1"


@dataclass(frozen=True)
class Requested:
    """A request, and the address that it was made for."""

    id: UUID
    lookup: str


async def find_request(tx: Transaction, public_id: str) -> Requested | None:
    """Return the request; this waits for no lock."""
    row = await tx.fetchrow(SELECT_REQUEST, public_id)
    return None if row is None else Requested(row["id"], row["lookup"])


COUNT_TRY = """
update sign_in_requests set code_tries = code_tries + 1
where id = $1
returning code_tries <= $2 and created_at > now() - $3::interval
"""
IS_ENDED = """
select count(*) = $2 and max(tried_at) > now() - $3::interval and max(tried_at) - min(tried_at) <= $3
from (select tried_at from sign_in_wrong_codes where lookup = $1 order by tried_at desc limit $2) as latest
"""


async def count_try(tx: Transaction, request: Requested) -> bool:
    """Count one try, and return whether it may be judged: neither the request's code nor its address's have ended.

    The row is written whatever the outcome, so that the time an answer takes does not tell it.
    """
    open_request = await tx.fetchval(COUNT_TRY, request.id, WRONG_CODES_PER_REQUEST, SIGN_IN_PERIOD)
    ended = await tx.fetchval(IS_ENDED, request.lookup, WRONG_CODES_PER_ADDRESS, WRONG_CODES_WINDOW)
    return bool(open_request) and not ended


INSERT_WRONG = "insert into sign_in_wrong_codes (lookup) values ($1)"


async def insert_wrong(tx: Transaction, request: Requested) -> None:
    """Count a wrong code for the address."""
    await tx.execute(INSERT_WRONG, request.lookup)


DELETE_OF_ADDRESS = "delete from sign_in_wrong_codes where lookup = $1"


async def forget_address(tx: Transaction, lookup: str) -> None:
    """Delete what is counted for an address."""
    await tx.execute(DELETE_OF_ADDRESS, lookup)


PRUNE = "delete from sign_in_wrong_codes where tried_at < now() - 2 * $1::interval"


async def prune(tx: Transaction) -> int:
    """Delete wrong codes that no limit counts any more."""
    return await tx.execute(PRUNE, WRONG_CODES_WINDOW)
