"""State people as they are now, for posts; the gateway's cache forgets by itself."""

from uuid import UUID

from services.chassis.database.pool import Database, Transaction
from services.chassis.messaging.stating import Stating
from services.contracts.event import Event
from services.contracts.people import PersonStated
from services.people.commands import fact
from services.people.domain import Person
from services.people.store import people


async def _lock(tx: Transaction, after: UUID, limit: int) -> list[tuple[UUID, Event]]:
    return [(person.id, _stated(person)) for person in await people.lock_next(tx, after, limit)]


def _stated(person: Person) -> Event:
    return fact(PersonStated, person).model_copy(update={"erased": person.is_erased})


def stating(db: Database) -> Stating:
    """Return what states the people of this database, the erased ones too."""
    return Stating(db, versions=people.versions, versions_of=people.versions_of, lock=_lock)
