"""Sessions of PostgreSQL, and poolers that take them away.

What belongs to a session (start parameters, named statements, `set`, session advisory locks) is lost behind a
connection pooler in transaction mode, such as pgbouncer: there each transaction runs in any session of the server. The
pool does without it where `DATABASE_POOLER=transaction` says so: asyncpg names no statements, and each transaction sets
its own limits. Relays and migrations need the server's own address.
"""

import secrets
from collections.abc import Mapping
from typing import Any

import asyncpg
import orjson

from services.chassis.database.address_faults import AddressRefused, address_fault, session_variable
from services.chassis.errors import CannotStart

MARKER = "session.marker"  # a parameter that no pooler knows: PostgreSQL takes any name with a dot
LIMITS = {
    "statement_timeout": "30s",
    "lock_timeout": "2500ms",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",
}
SET_LIMITS = ";".join(f"set local {name} = '{value}'" for name, value in LIMITS.items())
SELECT_MARKER = "select current_setting('session.marker', true)"


class Connection(asyncpg.Connection):
    """A pooled connection. It has no session state, so it needs no reset query, which costs a round trip."""

    def get_reset_query(self) -> str:
        return ""


class PoolerFound(CannotStart):
    """The address leads to a connection pooler, where a session of its own is needed."""


def direct_url(name: str, url: str, direct: str, pooler: str) -> str:
    """Return the address of PostgreSQL itself: `…_DATABASE_DIRECT_URL`, or `…_DATABASE_URL` without a pooler.

    Args:
        name: the service whose database it is.

    Raises:
        PoolerFound: there is a pooler and no direct address.
    """
    if pooler != "none" and not direct:
        raise _no_direct_address(name)
    return direct or url


def _no_direct_address(name: str) -> PoolerFound:
    variable = f"{name.upper()}_DATABASE_DIRECT_URL"
    return PoolerFound(
        f"Relays and migrations need a session of PostgreSQL and reach {name}'s database through a connection pooler: "
        f"set {variable} to the address of PostgreSQL itself."
    )


def undeclared_pooler(name: str) -> PoolerFound:
    """Return the refusal for the pool of a service that was not told of its pooler."""
    return PoolerFound(
        f"{name.upper()}_DATABASE_URL leads to a connection pooler, which loses the settings of a session: set "
        "DATABASE_POOLER=transaction, or the address of PostgreSQL itself."
    )


def marker() -> Mapping[str, str]:
    """Return a start parameter that `is_own` finds again in the session it was given to."""
    return {MARKER: secrets.token_hex(8)}


async def is_own(connection: Any, marked: Mapping[str, str]) -> bool:
    """Return whether the connection is a session of the server that was started with this marker."""
    return bool(await connection.fetchval(SELECT_MARKER) == marked[MARKER])


def refuses_parameters(error: BaseException) -> bool:
    """Return whether a pooler has refused the start parameters of a session, as pgbouncer does by default."""
    return isinstance(error, asyncpg.ProtocolViolationError) and "startup parameter" in str(error)


async def connect(url: str, name: str, *, parameters: Mapping[str, str], **options: Any) -> Any:
    """Open a connection that is a session of PostgreSQL, for what needs one.

    Args:
        name: the service whose database it is.
        parameters: start parameters of the session.
        options: further arguments of `asyncpg.connect`.

    Raises:
        PoolerFound: a connection pooler answers.
        AddressRefused: the address does not work as it is.
    """
    marked = marker()
    try:
        connection = await asyncpg.connect(url, server_settings={**parameters, **marked}, **options)
    except Exception as error:
        if refuses_parameters(error):
            raise _no_direct_address(name) from None
        sentence = address_fault(error, session_variable(name))
        if sentence is not None:
            raise AddressRefused(sentence) from error
        raise
    try:
        if not await is_own(connection, marked):
            raise _no_direct_address(name)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def set_json_codec(connection: Any) -> None:
    """Let the connection read and write `jsonb` as Python values, as those of the pool do."""
    await connection.set_type_codec("jsonb", encoder=_to_json, decoder=orjson.loads, schema="pg_catalog", format="text")


def _to_json(value: object) -> str:
    return orjson.dumps(value).decode()


async def open_pool(url: str, name: str, size: int, *, behind_pooler: bool) -> Any:
    """Make a pool that opens its connections when they are first needed.

    Args:
        name: the service whose database it is.
        behind_pooler: a pooler in transaction mode is in front. If not, `acquire` may raise `PoolerFound`.
    """
    marked = {} if behind_pooler else marker()

    async def prepare(connection: Any) -> None:
        if marked and not await is_own(connection, marked):
            raise undeclared_pooler(name)
        await set_json_codec(connection)

    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        init=prepare,
        connection_class=Connection,
        command_timeout=30,
        timeout=5,
        max_inactive_connection_lifetime=300,
        statement_cache_size=0 if behind_pooler else 100,
        server_settings={"application_name": name, **({} if behind_pooler else LIMITS), **marked},
    )
