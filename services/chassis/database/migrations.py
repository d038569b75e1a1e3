"""The migration runner: plain forward SQL, each file applied once. Only the role `migrate` runs it, never a start.

A file is one transaction. One that begins with the line `-- outside a transaction` runs statement by statement, for
what PostgreSQL refuses inside: indexes that are made or dropped while an old version reads and writes the table. Such a
file that failed is run again from its beginning.
"""

import asyncio
import hashlib
import re
from collections.abc import Collection, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import asyncpg
import structlog

from services.chassis.database import sessions
from services.chassis.database.address_faults import AddressRefused, session_variable
from services.chassis.database.pool import Database
from services.chassis.database.transient_errors import is_transient

log = structlog.get_logger(__name__)

MIGRATION_LOCK = 0x5261_7070_6F72_7401  # arbitrary, unique among the advisory locks of the database

OUTSIDE = "-- outside a transaction\n"
END_OF_STATEMENT = re.compile(r";[ \t]*$", re.MULTILINE)
COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
CONCURRENTLY = re.compile(r"\bconcurrently\b", re.IGNORECASE)
ASK_AGAIN_SECONDS = 0.2
PARAMETERS = {  # an operator's limits on statements are meant for requests
    "application_name": "migrate",
    "statement_timeout": "0",
    "lock_timeout": "0",
}
SET_LOCK_TIMEOUT = "set local lock_timeout = '1s'"
LOCK_TRIES = 30
LET_PASS_SECONDS = 1.0

CREATE_LEDGER = """
create table if not exists schema_migrations (
    package    text        not null,
    name       text        not null,
    sha256     text        not null,
    applied_at timestamptz not null default now(),
    primary key (package, name)
)
"""

INSERT_APPLIED = "insert into schema_migrations (package, name, sha256) values ($1, $2, $3)"


async def migrate(url: str, packages: Sequence[str]) -> list[str]:
    """Apply each package's `migrations/NNNN_name.sql` in order, under an advisory lock.

    Returns:
        The names of the migrations applied now.

    Raises:
        RuntimeError: an applied file has changed since.
        PoolerFound: a connection pooler answers: the lock needs a session.
        AddressRefused: the database does not answer, or refuses.
    """
    applied = []
    connection = await _connected(url, packages[-1].rpartition(".")[2])
    try:
        await _lock(connection)
        await connection.execute(CREATE_LEDGER)
        for package in packages:
            rows = await connection.fetch("select name, sha256 from schema_migrations where package = $1", package)
            known = {row["name"]: row["sha256"] for row in rows}
            for name, sql in migration_files(package):
                digest = digest_of(sql)
                if name in known:
                    if known[name] != digest:
                        raise RuntimeError(
                            f"{package} {name} was applied and has changed since; write a new migration instead"
                        )
                    continue
                if sql.startswith(OUTSIDE):
                    for statement in statements(sql):
                        await connection.execute(statement)
                    await connection.execute(INSERT_APPLIED, package, name, digest)
                else:
                    await _apply(connection, sql, (package, name, digest))
                applied.append(f"{package}/{name}")
                log.info("migration applied", package=package, name=name)
    finally:
        await connection.close()
    return applied


async def migrate_within(
    connection: Any, packages: Sequence[str], only: Collection[tuple[str, str]] | None = None
) -> list[str]:
    """Apply missing migrations in the caller's transaction, which nobody else's work is beside.

    Args:
        only: package and name of those that may be applied; None for all.

    Returns:
        The names of the migrations applied now.
    """
    await connection.execute(CREATE_LEDGER)
    known = {
        (row["package"], row["name"]) for row in await connection.fetch("select package, name from schema_migrations")
    }
    applied = []
    for package in packages:
        for name, sql in migration_files(package):
            if (package, name) in known or (only is not None and (package, name) not in only):
                continue
            await connection.execute(CONCURRENTLY.sub("", sql) if sql.startswith(OUTSIDE) else sql)
            await connection.execute(INSERT_APPLIED, package, name, digest_of(sql))
            applied.append(f"{package}/{name}")
    return applied


def digest_of(sql: str) -> str:
    """Return the digest by which an applied migration is known to be the same."""
    return hashlib.sha256(sql.encode()).hexdigest()


async def all_applied(db: Database, packages: Sequence[str]) -> bool:
    """Return whether the database has every migration of the packages, for readiness; it may have later ones."""
    wanted = {(package, name) for package in packages for name in _names(package)}
    async with db.reader() as reader:
        rows = await reader.fetch("select package, name from schema_migrations")
    return wanted <= {(row["package"], row["name"]) for row in rows}


async def _connected(url: str, service: str) -> Any:
    try:
        return await sessions.connect(url, service, parameters=PARAMETERS, timeout=10)
    except Exception as error:
        if not is_transient(error):
            raise
        what = str(error).partition("\n")[0] or type(error).__name__
        raise AddressRefused(f"{session_variable(service)}: the database does not answer ({what}).") from error


async def _apply(connection: Any, sql: str, applied: tuple[str, str, str]) -> None:
    """Run a file in one transaction; try again when a lock is not had soon.

    Everybody else waits behind the one who waits for a table, so a try waits less than a service's requests do.

    Raises:
        asyncpg.LockNotAvailableError: not one of `LOCK_TRIES` had its locks.
    """
    for tries_left in reversed(range(LOCK_TRIES)):
        try:
            async with connection.transaction():
                await connection.execute(SET_LOCK_TIMEOUT)
                await connection.execute(sql)
                await connection.execute(INSERT_APPLIED, *applied)
        except asyncpg.LockNotAvailableError:
            if not tries_left:
                raise
            log.info("a migration waits for a lock", name=applied[1], tries_left=tries_left)
            await asyncio.sleep(LET_PASS_SECONDS)
        else:
            return


async def _lock(connection: Any) -> None:
    """Wait until no other migration runs here.

    Asking again and again, because an index that is made concurrently waits for every statement of the database, also
    for one that waits for this lock: the two would never end.
    """
    while not await connection.fetchval("select pg_try_advisory_lock($1)", MIGRATION_LOCK):  # noqa: ASYNC110
        await asyncio.sleep(ASK_AGAIN_SECONDS)


def statements(sql: str) -> list[str]:
    """Return the statements of a file that runs outside a transaction, each ended by a semicolon at a line's end."""
    parts = (part.strip() for part in END_OF_STATEMENT.split(COMMENT.sub("", sql)))
    return [part for part in parts if part]


@cache
def _names(package: str) -> frozenset[str]:
    return frozenset(name for name, _ in migration_files(package))


def migration_files(package: str) -> list[tuple[str, str]]:
    """Return name and text of a package's migrations, in the order of their numbers."""
    folder = files(package) / "migrations"
    return sorted((entry.name, entry.read_text()) for entry in folder.iterdir() if entry.name.endswith(".sql"))
