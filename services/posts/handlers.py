"""Handlers of the events of people: who is no author any more publishes nothing, who was erased is in no picture."""

from services.chassis.database.pool import Transaction
from services.chassis.messaging.handlers import Handlers
from services.contracts.event import Envelope
from services.contracts.people import (
    PersonConfirmed,
    PersonErased,
    PersonFact,
    PersonImported,
    PersonRenamed,
    PersonRolesChanged,
    PersonStated,
)
from services.posts import authors

handlers = Handlers()


@handlers.on(PersonConfirmed, PersonRenamed, PersonRolesChanged, PersonImported)
async def update_person(tx: Transaction, fact: PersonFact, envelope: Envelope) -> None:
    """Store whether the person may write."""
    await authors.update(tx, fact, envelope.epoch)


@handlers.on(PersonErased)
async def erase_person(tx: Transaction, fact: PersonErased, envelope: Envelope) -> None:
    """Store that the person was erased; their pictures are deleted soon, in transactions of their own."""
    await authors.update(tx, fact, envelope.epoch, is_erased=True)


@handlers.on(PersonStated)
async def restate_person(tx: Transaction, fact: PersonStated, envelope: Envelope) -> None:
    """Store whether the person may write, and whether they were erased."""
    await authors.update(tx, fact, envelope.epoch, is_erased=fact.erased is True)
