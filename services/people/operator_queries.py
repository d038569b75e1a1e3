"""What an operator reads about people, with their addresses. Nothing of it is reachable through the gateway."""

from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.http import cursors
from services.chassis.mail.addresses import Address
from services.contracts.event import rfc3339
from services.contracts.people import ListPeople
from services.people.domain import ERASED_NAME
from services.people.store import listing, people
from services.people.store.listing import Listed

PAGE = 200
NOBODY = UUID(int=0)  # before the first id

Json = dict[str, Any]


async def page(db: Database, query: ListPeople) -> Json:
    """Return the page of people behind the cursor, oldest first.

    Raises:
        Problem: `malformed-cursor`.
    """
    name = f"people/{query.role}/{query.part}/{query.imported}/{query.erased}"
    place = cursors.decode(query.cursor, name, UUID)
    async with db.reader() as reader:
        found = await listing.page(
            reader,
            place[0] if place else NOBODY,
            PAGE + 1,
            erased=query.erased,
            role=query.role,
            part=query.part,
            imported=query.imported,
        )
    following = cursors.encode(name, found[PAGE - 1].id) if len(found) > PAGE else None
    return {"items": [_as_json(person) for person in found[:PAGE]], "next": following}


async def one(db: Database, who: UUID | Address) -> Json:
    """Return a person, erased or not, with their open sessions.

    Raises:
        Problem: `not-found`.
    """
    async with db.reader() as reader:
        owner = await people.owner_of(reader, who.lookup) if isinstance(who, Address) else (who,)
        person = await listing.find(reader, owner[0]) if owner else None
        if person is None:
            raise Problem("not-found", "There is no person with this id or confirmed address.")
        sessions = await listing.open_sessions(reader, person.id)
    return _as_json(person) | {
        "sessions": [
            {
                "id": str(each.id),
                "kind": "browser" if each.by_cookie else "app",
                "created_at": rfc3339(each.created_at),
                "used_at": None if each.used_at is None else rfc3339(each.used_at),
                "expires_at": rfc3339(each.expires_at),
            }
            for each in sessions
        ]
    }


def _as_json(person: Listed) -> Json:
    return {
        "id": str(person.id),
        "name": ERASED_NAME if person.name is None else person.name,
        "email": person.address,
        "confirmed_at": None if person.confirmed_at is None else rfc3339(person.confirmed_at),
        "roles": list(person.roles),
        "imported": person.imported,
        "created_at": rfc3339(person.created_at),
        "erased_at": None if person.erased_at is None else rfc3339(person.erased_at),
    }
