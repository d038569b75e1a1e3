"""The read side of people. Only `me` and `contacts` return an address; see `operator_queries` too."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.errors import Problem, not_found
from services.chassis.http import cursors
from services.contracts.event import rfc3339
from services.contracts.links import avatar_path
from services.contracts.people import ACCESS_TOKEN_LIFE, is_moderator
from services.people.domain import ERASED_NAME, Person, fingerprint
from services.people.store import avatars, link_use, people, sessions, sign_in

WINDOW = ACCESS_TOKEN_LIFE + timedelta(minutes=5)  # clocks differ, and an answer takes its time
OVERLAP = timedelta(seconds=60)  # longer than any transaction here: what commits late is in a later answer

MOST_MODERATORS = 1_000

SESSIONS = "sessions"
LAST = UUID(int=(1 << 128) - 1)

Json = dict[str, Any]


def me(person: Person) -> Json:
    """Return the person's own profile."""
    return {
        "id": str(person.id),
        "name": person.shown_name,
        "email": person.address,
        "email_confirmed": person.address is not None,
        "avatar_url": _avatar_path(person.id, person.picture),
        "about": person.about,
        "roles": list(person.roles),
        "created_at": rfc3339(person.created_at),
    }


async def own_profile(db: Database, person_id: UUID) -> Json:
    """Return the own profile of a signed-in person.

    Raises:
        Problem: `invalid-token` when the person is unknown or erased.
    """
    async with db.reader() as reader:
        person = await people.find(reader, person_id)
    if person is None or person.name is None:
        raise Problem("invalid-token")
    return me(person)


async def profile(db: Database, person_id: UUID) -> Json:
    """Return the public profile of a person, and whether they have deleted their account.

    Raises:
        Problem: `not-found`.
    """
    async with db.reader() as reader:
        person = await people.find(reader, person_id)
    if person is None:
        raise not_found()
    more = {"about": person.about, "created_at": rfc3339(person.created_at), "erased": person.name is None}
    return _author(person.id, person.name, person.picture) | more


def _author(person_id: UUID, name: str | None, picture: str | None) -> Json:
    shown = ERASED_NAME if name is None else name
    return {"id": str(person_id), "name": shown, "avatar_url": _avatar_path(person_id, picture)}


def _avatar_path(person_id: UUID, picture: str | None) -> str | None:
    """Return where the picture is, below the address of the site, which gateways know."""
    return None if picture is None else avatar_path(person_id, picture)


async def authors(db: Database, ids: Sequence[UUID]) -> list[Json]:
    """Return name and picture of each known id, each once."""
    async with db.reader() as reader:
        found = await people.names(reader, ids)
    return [_author(*one) for one in found]


async def avatar(db: Database, person_id: UUID) -> bytes:
    """Return the file of a person's picture.

    Raises:
        Problem: `not-found`.
    """
    async with db.reader() as reader:
        found = await avatars.content_of(reader, person_id)
    if found is None:
        raise not_found()
    return found


async def avatar_digest(db: Database, person_id: UUID) -> Json:
    """Return the digest of a person's picture.

    Raises:
        Problem: `not-found`.
    """
    async with db.reader() as reader:
        found = await avatars.digest_of(reader, person_id)
    if found is None:
        raise not_found()
    return {"digest": found}


async def contacts(db: Database, ids: Sequence[UUID]) -> list[Json]:
    """Return the present mail address of each known id; `email` is null without a confirmed address."""
    async with db.reader() as reader:
        found = await people.contacts(reader, ids)
    return [
        {
            "id": str(person_id),
            "name": ERASED_NAME if name is None else name,
            "email": address and address.mailbox,
            "confirmed": address is not None,
            "address_version": version,
            "moderates": is_moderator(roles),
        }
        for person_id, name, roles, address, version in found
    ]


async def moderators(db: Database) -> list[str]:
    """Return the ids of those who may moderate, of the first `MOST_MODERATORS`."""
    async with db.reader() as reader:
        return [str(one) for one in await people.moderators(reader, MOST_MODERATORS)]


async def session_of_cookie(db: Database, cookie: str) -> tuple[Json, bool]:
    """Return the session and person of a cookie, and whether it is noted that it was used in this hour.

    Raises:
        Problem: `not-found` when the cookie is unknown, ended or expired.
    """
    async with db.reader() as reader:
        found = await sessions.find_by_cookie(reader, fingerprint(cookie))
        person = await people.find(reader, found[1]) if found else None
    if found is None or person is None:
        raise not_found()
    author = _author(person.id, person.name, person.picture)
    return {"sid": str(found[0]), "person": author | {"roles": list(person.roles)}}, found[2]


async def open_sessions(db: Database, person_id: UUID, cursor: str | None, limit: int) -> Json:
    """Return a page of a person's open sessions, newest first.

    Raises:
        Problem: `malformed-cursor`.
    """
    place = cursors.decode(cursor, SESSIONS, UUID)
    async with db.reader() as reader:
        found = await sessions.list_open(reader, person_id, place[0] if place else LAST, limit + 1)
    items = [
        {
            "id": str(one.id),
            "created_at": rfc3339(one.created_at),
            "last_used_at": rfc3339(one.last_used_at),
            "user_agent": one.user_agent,
        }
        for one in found[:limit]
    ]
    return {"items": items, "next": cursors.encode(SESSIONS, found[limit - 1].id) if len(found) > limit else None}


async def return_address(db: Database, token: str, return_urls: Collection[str]) -> str | None:
    """Return the page of a front end elsewhere to which a link leads back, while that is allowed; used links too."""
    async with db.reader() as reader:
        link = await link_use.find_link(reader, fingerprint(token))
    front_end = link.asked.front_end if link and link.asked else None
    return front_end.return_to if front_end and front_end.return_to in return_urls else None


async def changes(db: Database, since: datetime | None) -> Json:
    """Return ended sessions and changed roles since a time, by default within the life of a token.

    `as_of` is the `since` of the next call. The search begins before `since`, so that an entry may be returned more
    than once and none is missed.
    """
    async with db.reader() as reader:
        now: datetime = await reader.fetchval("select now()")
        start = now - WINDOW if since is None else since - OVERLAP
        ended = await sessions.ended_since(reader, start)
        changed = await people.roles_changed(reader, start)
    return {
        "sessions": [str(session_id) for session_id in ended],
        "people": [{"id": str(person_id), "roles": roles} for person_id, roles in changed],
        "as_of": rfc3339(now),
    }


async def backlog(db: Database) -> tuple[int, float]:
    """Return how many sign-in requests wait for their mail, and the age of the oldest in seconds."""
    async with db.reader() as reader:
        return await sign_in.backlog(reader)
