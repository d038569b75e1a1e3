"""Commands of signing in: request a link, draw it, use it.

A request does the same work for known and unknown addresses; only the mailer looks the address up.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem, not_found
from services.chassis.ids import new_id
from services.chassis.mail.addresses import Address
from services.chassis.messaging import outbox
from services.contracts.people import PersonConfirmed, PersonRolesChanged
from services.people.commands import fact
from services.people.commands.sessions import Started, open_session
from services.people.domain import (
    LIVE_LINKS_PER_ADDRESS,
    UNCONFIRMED_MAILS,
    Person,
    confirmed_roles,
    fingerprint,
    new_secret,
)
from services.people.store import people, sign_in
from services.people.store.sign_in import Claimed, Link


async def request_link(db: Database, address: Address, name: str | None, requester: str = "") -> None:
    """Insert a request for a link; `name` is offered with a registration, `requester` is who asks."""
    async with db.transaction() as tx:
        await sign_in.insert_request(tx, new_id(), address, name, requester)


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
    """Draw a link for a claimed request, good for ten minutes from now.

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
            await sign_in.delete_link(tx, fingerprint(unsent.token))
        await sign_in.finish(tx, request, outcome)


async def postpone_request(db: Database, request: Claimed, delay: timedelta, *, unsent: Drawn | None = None) -> None:
    """Postpone the request by `delay`; the next attempt draws another link."""
    async with db.transaction() as tx:
        if unsent:
            await sign_in.delete_link(tx, fingerprint(unsent.token))
        await sign_in.postpone(tx, request, delay)


async def start_session(db: Database, token: str, admins: Collection[str], *, cookie: bool) -> Started:
    """Use a link: confirm its address, void every other link of it, and open a session.

    Args:
        admins: addresses, as they are looked up, whose owners become admins.
        cookie: return an opaque session id instead of a refresh token.

    Raises:
        Problem: `not-found` for a token that was never drawn, `link-used-or-expired`.
    """
    async with db.transaction() as tx:
        link = await sign_in.find_link(tx, fingerprint(token))
        if link is None:
            raise not_found()
        if link.address is None:
            raise Problem("link-used-or-expired")
        await sign_in.lock_address(tx, link.address.lookup)
        if not await sign_in.use_link(tx, fingerprint(token)):
            raise Problem("link-used-or-expired")
        await sign_in.void_links(tx, link.address.lookup)
        person = await _confirm(tx, link, link.address, admins)
        return await open_session(tx, person, cookie=cookie)


async def _confirm(tx: Transaction, link: Link, address: Address, admins: Collection[str]) -> Person:
    """Return the person of a confirmed address; insert one if the address is new.

    The name offered with the link is used for a new person only.
    """
    owner = await people.owner_of(tx, address.lookup)
    if owner is None:
        if link.name is None:
            raise Problem("link-used-or-expired")
        person = await people.insert(tx, new_id(), link.name, confirmed_roles((), address.lookup, admins))
        await people.insert_address(tx, person.id, address)
        await outbox.add(tx, fact(PersonConfirmed, person))
        return replace(person, address=address.typed)
    known = await people.lock(tx, owner[0])
    if known is None:
        raise Problem("link-used-or-expired")
    roles = confirmed_roles(known.roles, address.lookup, admins)
    if roles == known.roles:
        return known
    await people.set_roles(tx, known.id, roles)
    changed = replace(known, roles=roles, version=known.version + 1)
    await outbox.add(tx, fact(PersonRolesChanged, changed))
    return changed


async def prune(tx: Transaction) -> int:
    """Delete expired requests and links; return how many rows."""
    return await sign_in.prune(tx)
