"""What can be done in people: one function = one transaction = a change and the event that tells it."""

from datetime import UTC, datetime

from services.chassis.database.pool import Transaction
from services.chassis.messaging import outbox
from services.contracts.people import PersonFact
from services.people.domain import Person


async def tell(tx: Transaction, fact: type[PersonFact], person: Person) -> None:
    """Write the event about `person` as they are after the change; their row is locked by the caller."""
    event = fact(
        person_id=person.id,
        roles=person.roles,
        version=person.version,
        occurred_at=datetime.now(UTC),
        imported=person.imported,
    )
    await outbox.add(tx, event)
