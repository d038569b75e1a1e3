"""Commands of a person about their own picture."""

import hashlib
from dataclasses import replace
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.messaging import outbox
from services.chassis.pictures.encoder import Encoder, Form
from services.people.commands import renamed
from services.people.domain import Person
from services.people.store import avatars, people

FORM = Form(most_width=256, square=256)
DIGITS = 16  # of the digest in an address


async def set_avatar(
    db: Database, encoder: Encoder, person_id: UUID, data: bytes, kind: str, key: idempotency.Key | None
) -> tuple[Person, bool]:
    """Give the person a picture, re-encoded.

    Returns:
        The person in their present state, and whether this was a repetition that changed nothing.

    Raises:
        Problem: `invalid-token` when the person does not exist or is erased; those of `Encoder.encode` and of
            `idempotency.lock_and_find`.
    """
    picture = await encoder.encode(data, kind, FORM, person_id)
    digest = hashlib.sha256(picture.content).hexdigest()[:DIGITS]
    async with db.transaction() as tx:
        kept = await idempotency.lock_and_find(tx, key)
        person = await people.lock(tx, person_id)
        if person is None:
            raise Problem("invalid-token")
        if kept is not None:
            return person, True
        if person.picture != digest:
            await avatars.replace(tx, person_id, digest, picture.content)
            person = replace(person, picture=digest, version=person.version + 1)
            await outbox.add(tx, renamed(person))
        await idempotency.keep(tx, key, idempotency.Kept(200, None, person_id, None))
        return person, False


async def delete_avatar(db: Database, person_id: UUID) -> None:
    """Take the person's picture away; without one nothing changes.

    Raises:
        Problem: `invalid-token` when the person does not exist or is erased.
    """
    async with db.transaction() as tx:
        person = await people.lock(tx, person_id)
        if person is None:
            raise Problem("invalid-token")
        if person.picture is not None:
            await avatars.take_away(tx, person_id)
            await outbox.add(tx, renamed(replace(person, picture=None, version=person.version + 1)))
