"""State people as they are now. Only the gateway reads them, whose cache forgets by itself."""

from uuid import UUID

from services.chassis.database.pool import Database, Transaction
from services.chassis.messaging.stating import Stating
from services.contracts.event import Event
from services.contracts.people import PersonStated
from services.people.commands import fact
from services.people.store import people


async def _lock(tx: Transaction, after: UUID, limit: int) -> list[tuple[UUID, Event]]:
    return [(person.id, fact(PersonStated, person)) for person in await people.lock_next(tx, after, limit)]


def stating(db: Database) -> Stating:
    """Return what states the people of this database, the erased ones too."""
    return Stating(db, versions=people.versions, versions_of=people.versions_of, lock=_lock)
