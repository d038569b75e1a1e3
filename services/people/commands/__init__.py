"""Commands of people: one function, one transaction, one event."""

from datetime import UTC, datetime

from services.contracts.people import PersonFact, PersonRenamed
from services.people.domain import Person


def fact(kind: type[PersonFact], person: Person) -> PersonFact:
    """Return the event of that kind about the person in their present state."""
    return kind(
        person_id=person.id,
        roles=person.roles,
        version=person.version,
        occurred_at=datetime.now(UTC),
        imported=person.imported,
    )


def renamed(person: Person) -> PersonRenamed:
    """Return the event that the person is shown in another way: by another name, picture or text."""
    event = fact(PersonRenamed, person)
    assert isinstance(event, PersonRenamed)
    has = {"has_picture": person.picture is not None, "has_about": person.about is not None}
    return event.model_copy(update=has)
