"""SQL of people and their confirmed addresses."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.chassis.mail.addresses import Address
from services.people.domain import Person


def _person(row: Any) -> Person:
    return Person(
        row["id"],
        row["name"],
        tuple(row["roles"]),
        row["version"],
        row["imported"],
        row["created_at"],
        row["address"],
        row["picture"],
        row["about"],
    )


INSERT_PERSON = """
insert into people (id, name, roles, imported, created_at)
values ($1, $2, $3, $4, coalesce($5, now()))
returning id, name, roles, version, imported, created_at, null as address,
    null as picture, null as about
"""


async def insert(
    tx: Transaction,
    person_id: UUID,
    name: str,
    roles: tuple[str, ...],
    *,
    imported: bool = False,
    created_at: datetime | None = None,
) -> Person:
    """Insert a person; `created_at` is given for an imported author."""
    return _person(await tx.fetchrow(INSERT_PERSON, person_id, name, roles, imported, created_at))


LOCK_PERSON = """
select people.id, people.name, people.roles, people.version, people.imported, people.created_at, addresses.address,
       (select digest from avatars where person_id = people.id) as picture, people.about
from people left join addresses on addresses.person_id = people.id
where people.id = $1 and people.erased_at is null
for no key update of people
"""


async def lock(tx: Transaction, person_id: UUID) -> Person | None:
    """Lock a person's row until the transaction ends and return it; None when unknown or erased."""
    row = await tx.fetchrow(LOCK_PERSON, person_id)
    return None if row is None else _person(row)


LOCK_NEXT = """
select people.id, people.name, people.roles, people.version, people.imported, people.created_at, null as address,
       (select digest from avatars where person_id = people.id) as picture, people.about
from people
where people.id > $1
order by people.id
limit $2
for no key update
"""


async def lock_next(tx: Transaction, after: UUID, limit: int) -> list[Person]:
    """Lock the rows of the next people behind an id, and return them without their addresses, erased or not."""
    return [_person(row) for row in await tx.fetch(LOCK_NEXT, after, limit)]


SELECT_VERSIONS = "select id, version from people where id > $1 order by id limit $2"


async def versions(reader: Reader, after: UUID, limit: int) -> list[tuple[UUID, int]]:
    """Return (id, version) of the next people behind an id."""
    return [(row["id"], row["version"]) for row in await reader.fetch(SELECT_VERSIONS, after, limit)]


SELECT_VERSIONS_OF = "select id, version from people where id = any($1::uuid[])"


async def versions_of(reader: Reader, ids: Sequence[UUID]) -> list[tuple[UUID, int]]:
    """Return (id, version) of these people."""
    return [(row["id"], row["version"]) for row in await reader.fetch(SELECT_VERSIONS_OF, ids)]


UPDATE_NAME = "update people set name = $2, version = version + 1 where id = $1"


async def rename(tx: Transaction, person_id: UUID, name: str) -> None:
    await tx.execute(UPDATE_NAME, person_id, name)


UPDATE_ABOUT = "update people set about = $2, version = version + 1 where id = $1"


async def describe(tx: Transaction, person_id: UUID, about: str | None) -> None:
    """Store what a person says of themselves; None takes it away."""
    await tx.execute(UPDATE_ABOUT, person_id, about)


UPDATE_ROLES = "update people set roles = $2, version = version + 1, roles_changed_at = now() where id = $1"


async def set_roles(tx: Transaction, person_id: UUID, roles: tuple[str, ...]) -> None:
    await tx.execute(UPDATE_ROLES, person_id, roles)


ERASE_PERSON = """
update people
set name = null, about = null, roles = '{}', version = version + 1, erased_at = now(), roles_changed_at = now()
where id = $1
"""
DELETE_ADDRESS = "delete from addresses where person_id = $1"
ERASE_IMPORTED = """
update imported_authors set typed_name = '', typed_address = null where person_id = $1
"""


async def erase(tx: Transaction, person_id: UUID) -> None:
    """Erase all personal data of a person; the row stays, because other rows reference it."""
    await tx.execute(ERASE_PERSON, person_id)
    await tx.execute(DELETE_ADDRESS, person_id)
    await tx.execute(ERASE_IMPORTED, person_id)


INSERT_ADDRESS = "insert into addresses (person_id, address, lookup) values ($1, $2, $3)"


async def insert_address(tx: Transaction, person_id: UUID, address: Address) -> None:
    """Insert the address, confirmed now."""
    await tx.execute(INSERT_ADDRESS, person_id, address.typed, address.lookup)


SELECT_BY_LOOKUP = "select person_id, address, lookup from addresses where lookup = $1"


async def owner_of(reader: Reader, lookup: str) -> tuple[UUID, Address] | None:
    """Return the person who has confirmed this address, and the address in their spelling."""
    row = await reader.fetchrow(SELECT_BY_LOOKUP, lookup)
    return None if row is None else (row["person_id"], Address(row["address"], row["lookup"]))


SELECT_LOOKUP = "select lookup from addresses where person_id = $1"


async def lookup_of(reader: Reader, person_id: UUID) -> str | None:
    """Return the lookup form of the person's address."""
    value: str | None = await reader.fetchval(SELECT_LOOKUP, person_id)
    return value


SELECT_PERSON = """
select people.id, people.name, people.roles, people.version, people.imported, people.created_at, addresses.address,
       (select digest from avatars where person_id = people.id) as picture, people.about
from people left join addresses on addresses.person_id = people.id
where people.id = $1
"""


async def find(reader: Reader, person_id: UUID) -> Person | None:
    """Return the person, erased or not."""
    row = await reader.fetchrow(SELECT_PERSON, person_id)
    return None if row is None else _person(row)


SELECT_NAMES = """
select people.id, people.name, avatars.digest
from people left join avatars on avatars.person_id = people.id
where people.id = any($1::uuid[])
"""


async def names(reader: Reader, ids: Sequence[UUID]) -> list[tuple[UUID, str | None, str | None]]:
    """Return names and digests of pictures by id, unordered; unknown ids are left out, an erased person has None."""
    return [(row["id"], row["name"], row["digest"]) for row in await reader.fetch(SELECT_NAMES, ids)]


SELECT_CONTACTS = """
select people.id, people.name, people.roles, addresses.address, addresses.lookup, addresses.version
from people left join addresses on addresses.person_id = people.id
where people.id = any($1::uuid[])
"""


async def contacts(
    reader: Reader, ids: Sequence[UUID]
) -> list[tuple[UUID, str | None, list[str], Address | None, int]]:
    """Return (id, name, roles, confirmed address, address version) by id, unordered; unknown ids are left out."""
    return [
        (row["id"], row["name"], row["roles"], Address(row["address"], row["lookup"]), row["version"])
        if row["address"] is not None
        else (row["id"], row["name"], row["roles"], None, 0)
        for row in await reader.fetch(SELECT_CONTACTS, ids)
    ]


SELECT_MODERATORS = """
select id from people where roles && array['moderator', 'admin'] and erased_at is null order by id limit $1
"""


async def moderators(reader: Reader, limit: int) -> list[UUID]:
    """Return the ids of people who may moderate."""
    return [row["id"] for row in await reader.fetch(SELECT_MODERATORS, limit)]


SELECT_ROLES_CHANGED = "select id, roles from people where roles_changed_at >= $1"


async def roles_changed(reader: Reader, since: datetime) -> list[tuple[UUID, list[str]]]:
    """Return the people whose roles changed since then, with their present roles."""
    return [(row["id"], row["roles"]) for row in await reader.fetch(SELECT_ROLES_CHANGED, since)]


INSERT_IMPORTED = """
insert into imported_authors (identity, person_id, site, source_user_id, typed_name, typed_address)
values ($1, $2, $3, $4, $5, $6)
on conflict (identity) do nothing
"""
SELECT_IMPORTED = "select person_id from imported_authors where identity = $1"


async def claim_identity(
    tx: Transaction,
    identity: bytes,
    person_id: UUID,
    *,
    site: str,
    source_user_id: str | None,
    typed_name: str,
    typed_address: str | None,
) -> UUID:
    """Return the person of an imported identity: `person_id` if the identity is new, else its earlier person.

    Concurrent imports cannot both insert: the second waits at the primary key until the first has committed. The
    reference to people is checked at commit, so that only the import that inserted it inserts the person.
    """
    written = await tx.execute(INSERT_IMPORTED, identity, person_id, site, source_user_id, typed_name, typed_address)
    if written:
        return person_id
    known: UUID = await tx.fetchval(SELECT_IMPORTED, identity)
    return known
