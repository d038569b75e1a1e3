"""Commands of sign-in mails: request one, draw its link; `starting` has what links and codes are used for.

A request does the same work for known and unknown addresses; only the mailer looks the address up.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.chassis.database.pool import Database, Transaction
from services.chassis.ids import new_id
from services.people.domain import (
    LIVE_LINKS_PER_ADDRESS,
    UNCONFIRMED_MAILS,
    Asked,
    fingerprint,
    new_public_id,
    new_secret,
)
from services.people.store import asking, hand_overs, people, sign_in, sign_in_codes
from services.people.store.sign_in import Claimed


async def request_mail(db: Database, asked: Asked) -> str:
    """Insert a request for a sign-in mail; the second press of a form finds that of the first.

    Returns:
        The name of the request for the one who asks, who signs in by it and the code in the mail.
    """
    async with db.transaction() as tx:
        pressed = await asking.find_first_press(tx, asked)
        if pressed is not None:
            return pressed
        public_id = new_public_id()
        await asking.insert_request(tx, new_id(), public_id, asked)
        return public_id


async def claim_requests(db: Database, lease: UUID, lease_life: timedelta, most: int) -> list[Claimed]:
    """Claim due requests for one mailer."""
    async with db.transaction() as tx:
        return await sign_in.claim(tx, lease, lease_life, most)


async def renew_leases(db: Database, leases: Collection[UUID], lease_life: timedelta) -> None:
    """Renew the leases of requests under way."""
    async with db.transaction() as tx:
        await sign_in.renew(tx, leases, lease_life)


@dataclass(frozen=True)
class Drawn:
    """A link that was drawn for a mailbox. The database has only the hash of `token`."""

    mailbox: str
    token: str


async def draw_link(db: Database, request: Claimed, *, limited: bool = True) -> Drawn | None:
    """Draw a link for a claimed request, good for `LINK_LIFE` from now.

    Returns:
        None when no mail must be sent: the lease is lost, the request is no longer wanted, the address of a plain
        sign-in is unknown, or (when `limited`) the address has `LIVE_LINKS_PER_ADDRESS` live links or its mailbox got
        `UNCONFIRMED_MAILS` without confirming any, so that nobody can flood a mailbox. The mail to a confirmed address
        uses the spelling with which it was confirmed.
    """
    async with db.transaction() as tx:
        await sign_in.lock_address(tx, request.address.lookup)
        if not await sign_in.is_leased(tx, request):
            return None
        owner = await people.owner_of(tx, request.address.lookup)
        if owner is None and not request.registers:
            await sign_in.finish(tx, request, "unknown_address")
            return None
        if limited and await sign_in.live_links(tx, request.address.lookup) >= LIVE_LINKS_PER_ADDRESS:
            await sign_in.finish(tx, request, "enough_mails")
            return None
        if limited and owner is None and await sign_in.unconfirmed_mails(tx, request.address.base) >= UNCONFIRMED_MAILS:
            await sign_in.finish(tx, request, "enough_mails")
            return None
        token = new_secret()
        await sign_in.insert_link(tx, fingerprint(token), request.id)
        return Drawn((owner[1] if owner else request.address).mailbox, token)


async def is_wanted(db: Database, request: Claimed) -> bool:
    """Return whether the lease holds and no other link of the address was used meanwhile."""
    async with db.transaction() as tx:
        return await sign_in.is_leased(tx, request)


async def finish_request(db: Database, request: Claimed, outcome: str, *, unsent: Drawn | None = None) -> None:
    """Finish the request; `unsent` is a link whose mail was certainly not delivered."""
    async with db.transaction() as tx:
        if unsent:
            await _delete_unsent(tx, request, unsent)
        await sign_in.finish(tx, request, outcome)


async def postpone_request(db: Database, request: Claimed, delay: timedelta, *, unsent: Drawn | None = None) -> None:
    """Postpone the request by `delay`; the next attempt draws another link."""
    async with db.transaction() as tx:
        if unsent:
            await _delete_unsent(tx, request, unsent)
        await sign_in.postpone(tx, request, delay)


async def _delete_unsent(tx: Transaction, request: Claimed, unsent: Drawn) -> None:
    await sign_in.lock_address(tx, request.address.lookup)
    await sign_in.delete_link(tx, fingerprint(unsent.token))


async def prune(tx: Transaction) -> int:
    """Delete expired requests, links, wrong codes and hand-overs; return how many rows."""
    return await sign_in.prune(tx) + await sign_in_codes.prune(tx) + await hand_overs.prune(tx)
