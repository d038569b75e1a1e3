"""Commands of sessions: refresh by rotating tokens, end by the owner or after theft; `starting` begins them."""

from dataclasses import dataclass
from uuid import UUID

import structlog

from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem, not_found
from services.chassis.ids import new_id
from services.people.domain import Person, fingerprint, judge, new_secret
from services.people.store import hand_overs, people, sessions

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Started:
    """A new session with its one secret: a refresh token, or the session id of a cookie.

    Attributes:
        by_cookie: whether the secret is that of a cookie.
        ended: the session that it replaced in the browser.
    """

    session_id: UUID
    person: Person
    secret: str
    by_cookie: bool = False
    ended: UUID | None = None


async def open_session(tx: Transaction, person: Person, secret: str, *, cookie: bool) -> Started:
    """Open a session of a person whose row the caller has locked or inserted."""
    session_id = new_id()
    await sessions.insert(tx, session_id, person.id, fingerprint(secret) if cookie else None)
    if not cookie:
        await sessions.insert_token(tx, fingerprint(secret), session_id)
    return Started(session_id, person, secret, by_cookie=cookie)


async def refresh_session(db: Database, refresh_token: str, key: str | None) -> Started:
    """Exchange a refresh token for the next one.

    Args:
        key: the request's idempotency key; it distinguishes a repetition after a lost answer from theft.

    Raises:
        Problem: `invalid-refresh-token`. If the token was used before, the session is ended, and that is committed.
    """
    started = await _rotate(db, fingerprint(refresh_token), fingerprint(key) if key is not None else None)
    if started is None:
        raise Problem("invalid-refresh-token")
    return started


async def _rotate(db: Database, presented: bytes, key: bytes | None) -> Started | None:
    async with db.transaction() as tx:
        family = await sessions.lock_family(tx, presented)
        if family is None:
            return None
        verdict = judge(family.token, key)
        if verdict == "end-family":
            await sessions.end(tx, family.session_id)
        if verdict == "replace-lost" and family.successor is not None:
            await sessions.void(tx, family.successor)
        person = await people.find(tx, family.person_id)
        if verdict not in ("rotate", "replace-lost") or person is None:
            return None
        secret = new_secret()
        await sessions.rotate(tx, family, presented, key, fingerprint(secret))
        return Started(family.session_id, person, secret)


async def end_session(db: Database, person_id: UUID, session: str) -> None:
    """End one of the person's own sessions, named by its id or its cookie; do nothing when it has ended."""
    try:
        session_id = UUID(session)
    except ValueError:
        session_id = None
    async with db.transaction() as tx:
        await sessions.end_own(tx, person_id, session_id, fingerprint(session))


async def end_listed(db: Database, person_id: UUID, session_id: UUID) -> None:
    """End one of the person's own sessions; one that has ended stays so.

    Raises:
        Problem: `not-found` for any other.
    """
    async with db.transaction() as tx:
        if not await sessions.is_own(tx, session_id, person_id):
            raise not_found()
        await sessions.end(tx, session_id)


async def end_others(db: Database, person_id: UUID, but: UUID) -> list[UUID]:
    """End all open sessions of a person but one, and the hand-overs that could open another; return which."""
    async with db.transaction() as tx:
        await people.lock(tx, person_id)  # who opens a session locks the person, too
        others = [one for one in await sessions.open_of(tx, person_id, None) if one != but]
        for one in others:
            await sessions.end(tx, one)
        await hand_overs.delete_of(tx, person_id)
        return others


async def mark_used(db: Database, session_id: UUID) -> None:
    """Note the hour in which a session is used. Whether that succeeds matters to no reader."""
    try:
        async with db.transaction() as tx:
            await sessions.mark_used(tx, session_id)
    except Problem as problem:
        log.debug("the use of a session was not noted", kind=problem.kind)


async def prune(tx: Transaction) -> int:
    """Delete expired sessions and refresh tokens; return the number of rows."""
    return await sessions.prune(tx)
