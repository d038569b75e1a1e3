"""SQL of sessions and refresh tokens. A session's row is locked before its tokens are judged or replaced."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.people.domain import FAMILY_LIFE, SESSION_LIFE, Presented

INSERT_SESSION = """
insert into sessions (id, person_id, cookie_sha256, expires_at, last_used_at)
values ($1, $2, $3, now() + $4::interval, date_trunc('hour', now()))
"""


async def insert(tx: Transaction, session_id: UUID, person_id: UUID, cookie_sha256: bytes | None) -> None:
    """Insert a session: of a cookie, or of refresh tokens when there is none."""
    await tx.execute(INSERT_SESSION, session_id, person_id, cookie_sha256, SESSION_LIFE)


UPDATE_USER_AGENT = "update sessions set user_agent = $2 where id = $1 and user_agent is null"


async def keep_user_agent(tx: Transaction, session_id: UUID, user_agent: str) -> None:
    """Store what the client that began a session calls itself."""
    await tx.execute(UPDATE_USER_AGENT, session_id, user_agent)


INSERT_REFRESH = """
insert into refresh_tokens (token_sha256, session_id, expires_at)
select $1, id, expires_at from sessions where id = $2
"""


async def insert_token(tx: Transaction, token_sha256: bytes, session_id: UUID) -> None:
    """Insert a refresh token that expires with its session."""
    await tx.execute(INSERT_REFRESH, token_sha256, session_id)


SELECT_FAMILY = "select session_id from refresh_tokens where token_sha256 = $1"
LOCK_SESSION = """
select id, person_id, ended_at is null and expires_at > now() and created_at > now() - $2::interval as open
from sessions where id = $1 for no key update
"""
SELECT_PRESENTED = """
select now() as now, token.expires_at, token.used_at, token.used_with_sha256, token.voided, token.successor_sha256,
    successor.token_sha256 is not null and successor.used_at is null as successor_unused
from refresh_tokens as token
    left join refresh_tokens as successor on successor.token_sha256 = token.successor_sha256
where token.token_sha256 = $1
"""


@dataclass(frozen=True)
class Family:
    """The locked session of a refresh token, and the token."""

    session_id: UUID
    person_id: UUID
    token: Presented
    successor: bytes | None


async def lock_family(tx: Transaction, token_sha256: bytes) -> Family | None:
    """Lock the session of a token and return both; None when the token is unknown."""
    session_id = await tx.fetchval(SELECT_FAMILY, token_sha256)
    if session_id is None:
        return None
    session = await tx.fetchrow(LOCK_SESSION, session_id, FAMILY_LIFE)
    row = await tx.fetchrow(SELECT_PRESENTED, token_sha256)
    if session is None or row is None:
        return None
    presented = Presented(
        now=row["now"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
        used_with=row["used_with_sha256"],
        voided=row["voided"],
        successor_unused=row["successor_unused"],
        session_open=session["open"],
    )
    return Family(session["id"], session["person_id"], presented, row["successor_sha256"])


USE_REFRESH = """
update refresh_tokens
set used_at = coalesce(used_at, now()), used_with_sha256 = $2, successor_sha256 = $3
where token_sha256 = $1
"""
EXTEND_SESSION = """
update sessions set
    expires_at = least(now() + $2::interval, created_at + $3::interval), last_used_at = date_trunc('hour', now())
where id = $1
"""


async def rotate(tx: Transaction, family: Family, used: bytes, used_with: bytes | None, successor: bytes) -> None:
    """Replace `used` by `successor`; a repetition keeps the time of the first use."""
    await tx.execute(USE_REFRESH, used, used_with, successor)
    await tx.execute(EXTEND_SESSION, family.session_id, SESSION_LIFE, FAMILY_LIFE)
    await insert_token(tx, successor, family.session_id)


VOID_REFRESH = "update refresh_tokens set voided = true where token_sha256 = $1"


async def void(tx: Transaction, token_sha256: bytes) -> None:
    """Void a token whose answer was lost."""
    await tx.execute(VOID_REFRESH, token_sha256)


END_SESSION = "update sessions set ended_at = now() where id = $1 and ended_at is null"


async def end(tx: Transaction, session_id: UUID) -> None:
    await tx.execute(END_SESSION, session_id)


END_OWN = """
update sessions set ended_at = now()
where person_id = $1 and (id = $2 or cookie_sha256 = $3) and ended_at is null
"""


async def end_own(tx: Transaction, person_id: UUID, session_id: UUID | None, cookie_sha256: bytes) -> None:
    """End the person's session with this id or this cookie, if there is one."""
    await tx.execute(END_OWN, person_id, session_id, cookie_sha256)


END_BY_COOKIE = """
update sessions set ended_at = now() where cookie_sha256 = $1 and ended_at is null and expires_at > now() returning id
"""


async def end_by_cookie(tx: Transaction, cookie_sha256: bytes) -> UUID | None:
    """End the session of a cookie, whoever's it is; return its id if it was open."""
    session_id: UUID | None = await tx.fetchval(END_BY_COOKIE, cookie_sha256)
    return session_id


END_ALL = "update sessions set ended_at = now() where person_id = $1 and ended_at is null"


async def end_all(tx: Transaction, person_id: UUID) -> None:
    await tx.execute(END_ALL, person_id)


END_EVERYBODYS = "update sessions set ended_at = now() where ended_at is null"


async def end_everybodys(tx: Transaction) -> int:
    """End every session; return how many were open."""
    return await tx.execute(END_EVERYBODYS)


SELECT_OPEN = """
select id from sessions
where person_id = $1 and ($2::uuid is null or id = $2) and ended_at is null and expires_at > now()
order by id
"""


async def open_of(reader: Reader, person_id: UUID, session_id: UUID | None) -> list[UUID]:
    """Return the person's open sessions, or the one with this id if it is open and theirs."""
    return [row["id"] for row in await reader.fetch(SELECT_OPEN, person_id, session_id)]


MARK_USED = """
update sessions set last_used_at = date_trunc('hour', now())
where id = (select id from sessions where id = $1 for no key update skip locked)
"""


async def mark_used(tx: Transaction, session_id: UUID) -> None:
    """Note the hour in which a session is used, unless somebody else is writing it; this waits for no lock."""
    await tx.execute(MARK_USED, session_id)


@dataclass(frozen=True)
class OpenSession:
    """A session as its person sees it.

    Attributes:
        last_used_at: the hour in which it was last used.
    """

    id: UUID
    created_at: datetime
    last_used_at: datetime
    user_agent: str | None


SELECT_OPEN_PAGE = """
select id, created_at, coalesce(last_used_at, date_trunc('hour', created_at)) as last_used_at, user_agent
from sessions
where person_id = $1 and id < $2 and ended_at is null and expires_at > now()
    and (cookie_sha256 is not null or created_at > now() - $4::interval)
order by id desc
limit $3
"""


async def list_open(reader: Reader, person_id: UUID, before: UUID, limit: int) -> list[OpenSession]:
    """Return the person's next open sessions below an id, newest first."""
    rows = await reader.fetch(SELECT_OPEN_PAGE, person_id, before, limit, FAMILY_LIFE)
    return [OpenSession(**row) for row in rows]


SELECT_IS_OWN = "select exists (select from sessions where id = $1 and person_id = $2)"


async def is_own(reader: Reader, session_id: UUID, person_id: UUID) -> bool:
    """Return whether the person has, or lately had, this session."""
    return bool(await reader.fetchval(SELECT_IS_OWN, session_id, person_id))


FORGET_USER_AGENTS = "update sessions set user_agent = null where person_id = $1 and user_agent is not null"


async def forget_user_agents(tx: Transaction, person_id: UUID) -> None:
    """Blank what the clients of a person's sessions, ended ones too, called themselves."""
    await tx.execute(FORGET_USER_AGENTS, person_id)


SELECT_BY_COOKIE = """
select id, person_id, coalesce(last_used_at >= date_trunc('hour', now()), false) as is_marked
from sessions
where cookie_sha256 = $1 and ended_at is null and expires_at > now()
"""


async def find_by_cookie(reader: Reader, cookie_sha256: bytes) -> tuple[UUID, UUID, bool] | None:
    """Return (session id, person id) of a valid cookie, and whether it is noted that it was used in this hour."""
    row = await reader.fetchrow(SELECT_BY_COOKIE, cookie_sha256)
    return None if row is None else (row["id"], row["person_id"], row["is_marked"])


SELECT_ENDED = "select id from sessions where ended_at >= $1"


async def ended_since(reader: Reader, since: datetime) -> list[UUID]:
    return [row["id"] for row in await reader.fetch(SELECT_ENDED, since)]


PRUNE_TOKENS = "delete from refresh_tokens where expires_at < now()"
PRUNE_SESSIONS = """
delete from sessions where expires_at < now() - interval '1 day' or ended_at < now() - interval '1 day'
"""


async def prune(tx: Transaction) -> int:
    """Delete expired refresh tokens, and sessions a day after their end."""
    return await tx.execute(PRUNE_TOKENS) + await tx.execute(PRUNE_SESSIONS)
