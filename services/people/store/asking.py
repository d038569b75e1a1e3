"""Rows of sign-in requests as they are asked for."""

from uuid import UUID

from services.chassis.database.pool import Transaction
from services.chassis.runtime import context
from services.people.domain import SECOND_PRESS_WINDOW, Asked

LOCK_FORM = "select pg_advisory_xact_lock(hashtextextended('sign-in form ' || encode($1, 'hex'), 0))"
SELECT_PRESSED = """
select public_id from sign_in_requests where form_sha256 = $1 and created_at > now() - $2::interval
"""


async def find_first_press(tx: Transaction, asked: Asked) -> str | None:
    """Return the public id of the request that the first press of the same form made, within `SECOND_PRESS_WINDOW`.

    This waits for a press that is under way.
    """
    if asked.form_sha256 is None:
        return None
    await tx.execute(LOCK_FORM, asked.form_sha256)
    public_id: str | None = await tx.fetchval(SELECT_PRESSED, asked.form_sha256, SECOND_PRESS_WINDOW)
    return public_id


LOCK_REQUESTER = "select pg_advisory_xact_lock(hashtextextended('sign-in of ' || $1, 0))"
# Start-time fair queuing (Goyal, Vin, Cheng 1996): its turn comes after that of the requester's last one; who has none
# waiting goes before all those whose turn it is.
INSERT_REQUEST = """
insert into sign_in_requests (
    id, public_id, form_sha256, address, lookup, name, return_to, challenge, correlation_id, mailbox, requester, turn
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, greatest(
    (select max(turn) + 1 from sign_in_requests where requester = $11),
    (select max(turn) - 1 from sign_in_requests where attempts > 0),
    0
))
"""


async def insert_request(tx: Transaction, request_id: UUID, public_id: str, asked: Asked) -> None:
    """Insert a request for a sign-in mail."""
    await tx.execute(LOCK_REQUESTER, asked.requester)
    await tx.execute(
        INSERT_REQUEST,
        request_id,
        public_id,
        asked.form_sha256,
        asked.address.typed,
        asked.address.lookup,
        asked.name,
        asked.front_end and asked.front_end.return_to,
        asked.front_end and asked.front_end.challenge,
        context.current().correlation_id,
        asked.address.base,
        asked.requester,
    )
