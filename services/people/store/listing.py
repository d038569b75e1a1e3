"""SQL of what an operator sees of people: with addresses, and with their open sessions, never a token."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction

SELECT_PAGE = """
select people.id, people.name, people.roles, people.imported, people.created_at, people.erased_at, addresses.address,
    addresses.confirmed_at
from people left join addresses on addresses.person_id = people.id
where people.id > $1 and (people.erased_at is not null) = $2
    and ($3::text is null or $3 = any(people.roles))
    and ($4::text is null or strpos(lower(people.name), lower($4)) > 0
        or strpos(lower(addresses.address), lower($4)) > 0)
    and ($5::boolean is null or people.imported = $5)
order by people.id
limit $6
"""
SELECT_ONE = """
select people.id, people.name, people.roles, people.imported, people.created_at, people.erased_at, addresses.address,
    addresses.confirmed_at
from people left join addresses on addresses.person_id = people.id
where people.id = $1
"""


@dataclass(frozen=True)
class Listed:
    """What an operator sees of a person.

    Attributes:
        confirmed_at: when the address was confirmed; None for an imported person and an erased one.
    """

    id: UUID
    name: str | None
    roles: tuple[str, ...]
    imported: bool
    created_at: datetime
    erased_at: datetime | None
    address: str | None
    confirmed_at: datetime | None


def _listed(row: Any) -> Listed:
    return Listed(
        row["id"],
        row["name"],
        tuple(row["roles"]),
        row["imported"],
        row["created_at"],
        row["erased_at"],
        row["address"],
        row["confirmed_at"],
    )


async def page(
    reader: Reader,
    after: UUID,
    limit: int,
    *,
    erased: bool,
    role: str | None,
    part: str | None,
    imported: bool | None,
) -> list[Listed]:
    """Return the next people behind an id, in the order in which they came."""
    return [_listed(row) for row in await reader.fetch(SELECT_PAGE, after, erased, role, part, imported, limit)]


async def find(reader: Reader, person_id: UUID) -> Listed | None:
    """Return the person, erased or not."""
    row = await reader.fetchrow(SELECT_ONE, person_id)
    return None if row is None else _listed(row)


# A cookie's session is only read where it is used, so nothing tells when that was.
SELECT_SESSIONS = """
select id, cookie_sha256 is not null as by_cookie, created_at, expires_at,
    case when cookie_sha256 is null then coalesce(
        (select max(used_at) from refresh_tokens where refresh_tokens.session_id = sessions.id), created_at
    ) end as used_at
from sessions
where person_id = $1 and ended_at is null and expires_at > now()
order by id
"""


@dataclass(frozen=True)
class OpenSession:
    """An open session; `used_at` is None for a browser's."""

    id: UUID
    by_cookie: bool
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


async def open_sessions(reader: Reader, person_id: UUID) -> list[OpenSession]:
    """Return the person's open sessions."""
    return [OpenSession(*row.values()) for row in await reader.fetch(SELECT_SESSIONS, person_id)]


LOCK_ADMINS = "select pg_advisory_xact_lock(hashtextextended('admins', 0))"
HAS_OTHER_ADMIN = """
select exists (
    select from people join addresses on addresses.person_id = people.id
    where 'admin' = any(people.roles) and people.erased_at is null and people.id <> $1
)
"""


async def lock_admins(tx: Transaction) -> None:
    """Let no other transaction take the role of an admin away until this one ends."""
    await tx.execute(LOCK_ADMINS)


async def has_other_admin(tx: Transaction, person_id: UUID) -> bool:
    """Return whether somebody else is an admin and can sign in."""
    return bool(await tx.fetchval(HAS_OTHER_ADMIN, person_id))
