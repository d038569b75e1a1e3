"""Commands of a person about their own profile."""

from dataclasses import replace
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem
from services.chassis.messaging import outbox
from services.contracts.people import EditMe, PersonErased
from services.people.commands import fact, renamed
from services.people.domain import Person
from services.people.store import avatars, hand_overs, people, sessions, sign_in, sign_in_codes


async def edit(db: Database, person_id: UUID, command: EditMe, key: idempotency.Key | None) -> tuple[Person, bool]:
    """Change the person's name, what they say of themselves, or both.

    Returns:
        The person in their present state, and whether this was a repetition that changed nothing.

    Raises:
        Problem: `invalid-token` when the person does not exist or is erased; the kinds of `idempotency.lock_and_find`.
    """
    async with db.transaction() as tx:
        kept = await idempotency.lock_and_find(tx, key)
        person = await people.lock(tx, person_id)
        if person is None:
            raise Problem("invalid-token")
        if kept is not None:
            return person, True
        before = person
        if command.name is not None and person.name != command.name:
            await people.rename(tx, person_id, command.name)
            person = replace(person, name=command.name, version=person.version + 1)
        if "about" in command.model_fields_set and person.about != command.about:
            await people.describe(tx, person_id, command.about)
            person = replace(person, about=command.about, version=person.version + 1)
        if person != before:
            await outbox.add(tx, renamed(person))
        await idempotency.keep(tx, key, idempotency.Kept(200, None, person_id, None))
        return person, False


async def erase(db: Database, person_id: UUID) -> None:
    """Erase the person: delete what is known of them, and end links and sessions; keep the id, which others reference.

    Raises:
        Problem: `invalid-token` when the person is unknown or already erased.
    """
    async with db.transaction() as tx:
        if not await erase_within(tx, person_id):
            raise Problem("invalid-token")


async def erase_within(tx: Transaction, person_id: UUID) -> bool:
    """Erase the person in this transaction; return False if they are unknown or already erased."""
    lookup = await people.lookup_of(tx, person_id)
    if lookup is not None:
        await sign_in.lock_address(tx, lookup)
    person = await people.lock(tx, person_id)
    if person is None:
        return False
    await people.erase(tx, person_id)
    await avatars.delete(tx, person_id)
    await sessions.end_all(tx, person_id)
    await sessions.forget_user_agents(tx, person_id)
    await hand_overs.delete_of(tx, person_id)
    if lookup is not None:
        await sign_in.forget_address(tx, lookup)
        await sign_in_codes.forget_address(tx, lookup)
    await outbox.add(tx, fact(PersonErased, replace(person, roles=(), version=person.version + 1)))
    return True
