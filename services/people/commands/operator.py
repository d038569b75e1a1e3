"""Commands of an operator: grant or revoke a role, end sessions, import a person."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.errors import Problem, invalid
from services.chassis.ids import new_id
from services.chassis.mail.addresses import Address
from services.chassis.messaging import outbox
from services.contracts.people import ImportPerson, PersonImported, PersonRolesChanged
from services.people.commands import fact
from services.people.domain import granted, import_identity, imported_name, without_role
from services.people.store import hand_overs, listing, people, sessions, sign_in

Roles = tuple[str, ...]


@dataclass(frozen=True)
class RolesChange:
    """The roles of a person before and after a command; alike if it changed nothing."""

    person_id: UUID
    before: Roles
    after: Roles

    def as_json(self) -> dict[str, Any]:
        return {"id": str(self.person_id), "before": list(self.before), "roles": list(self.after)}


async def grant_role(
    db: Database, address: Address, role: str, admins: Collection[str], *, dry_run: bool = False
) -> RolesChange:
    """Grant a role to the person who has confirmed the address; `reader` takes all others away.

    Args:
        admins: lookup forms of the addresses whose owners become admins when they confirm.

    Raises:
        Problem: as `_change_roles`.
    """
    return await _change_roles(db, address, lambda roles: granted(roles, role), admins, dry_run)


async def revoke_role(
    db: Database, address: Address, role: str, admins: Collection[str], *, dry_run: bool = False
) -> RolesChange:
    """Take a role from the person who has confirmed the address.

    Raises:
        Problem: `invalid` for `reader`; as `_change_roles`.
    """

    def changed(roles: Iterable[str]) -> Roles:
        try:
            return without_role(roles, role)
        except ValueError as error:
            raise invalid("role", str(error)) from None

    return await _change_roles(db, address, changed, admins, dry_run)


async def _change_roles(
    db: Database, address: Address, change: Callable[[Iterable[str]], Roles], admins: Collection[str], dry_run: bool
) -> RolesChange:
    """Change the roles of the person who has confirmed the address; a repetition changes nothing.

    Raises:
        Problem: `not-found` when no person has confirmed the address; `wrong-state` when `ADMIN_EMAILS` would make them
            an admin again at their next sign-in, or when nobody else is one.
    """
    async with db.transaction() as tx:
        await listing.lock_admins(tx)
        owner = await people.owner_of(tx, address.lookup)
        person = await people.lock(tx, owner[0]) if owner else None
        if person is None:
            raise Problem("not-found", "No person has confirmed this address.")
        roles = change(person.roles)
        change_of = RolesChange(person.id, person.roles, roles)
        if "admin" in person.roles and "admin" not in roles:
            if address.lookup in admins:
                raise Problem("wrong-state", "ADMIN_EMAILS makes this address an admin; take it out of there first.")
            if not await listing.has_other_admin(tx, person.id):
                raise Problem("wrong-state", "This is the last admin; grant admin to somebody else first.")
        if roles == person.roles or dry_run:
            return change_of
        await people.set_roles(tx, person.id, roles)
        changed = replace(person, roles=roles, version=person.version + 1)
        await outbox.add(tx, fact(PersonRolesChanged, changed))
        return change_of


@dataclass(frozen=True)
class Ended:
    """What an operator has ended of a person: sessions, and sign-ins by which another could be opened."""

    person_id: UUID
    sessions: list[UUID]
    links: int = 0
    hand_overs: int = 0

    def as_json(self) -> dict[str, Any]:
        sessions = [str(each) for each in self.sessions]
        return {"id": str(self.person_id), "sessions": sessions, "links": self.links, "hand_overs": self.hand_overs}


async def end_sessions(db: Database, who: UUID | Address, session_id: UUID | None, *, dry_run: bool) -> Ended:
    """End all open sessions of a person, their unused links and hand-overs; or the one session with this id.

    A repetition ends nothing.

    Raises:
        Problem: `not-found` when there is no such person.
    """
    async with db.transaction() as tx:
        owner = await people.owner_of(tx, who.lookup) if isinstance(who, Address) else (who,)
        lookup = await people.lookup_of(tx, owner[0]) if owner and session_id is None else None
        if lookup is not None:
            await sign_in.lock_address(tx, lookup)
        person = await people.lock(tx, owner[0]) if owner else None  # who opens a session locks the person, too
        if person is None:
            raise Problem("not-found", "There is no person with this id or confirmed address.")
        found = await sessions.open_of(tx, person.id, session_id)
        ended = Ended(person.id, found)
        if session_id is None:
            links = 0 if lookup is None else await sign_in.live_links(tx, lookup)
            ended = Ended(person.id, found, links, await hand_overs.pending(tx, person.id))
        if dry_run:
            return ended
        for each in found:
            await sessions.end(tx, each)
        if session_id is None:
            await hand_overs.delete_of(tx, person.id)
        if lookup is not None:
            await sign_in.void_links(tx, lookup)
        return ended


async def import_person(db: Database, command: ImportPerson) -> tuple[UUID, bool]:
    """Import an author of another system as a person without sign-in.

    Returns:
        The person's id, and whether the person was created now. A second import of the same author finds the first.

    Raises:
        Problem: `invalid` for a date that cannot be stored.
    """
    created_at = None if command.created_at is None else _utc(command.created_at)
    identity = import_identity(command.site, command.source_user_id, command.email, command.name)
    async with db.transaction() as tx:
        fresh = new_id()
        person_id = await people.claim_identity(
            tx,
            identity,
            fresh,
            site=command.site,
            source_user_id=command.source_user_id,
            typed_name=command.name,
            typed_address=command.email,
        )
        if person_id != fresh:
            return person_id, False
        person = await people.insert(tx, fresh, imported_name(command.name), (), imported=True, created_at=created_at)
        await outbox.add(tx, fact(PersonImported, person))
        return person_id, True


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise invalid("created_at", "must be a time between the years 1 and 9999") from None
