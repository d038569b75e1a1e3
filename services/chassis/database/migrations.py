"""The migration runner: plain forward SQL, each file applied once. Only the role `migrate` runs it, never a start."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files

import structlog

from services.chassis.database import sessions

log = structlog.get_logger(__name__)

MIGRATION_LOCK = 0x5261_7070_6F72_7401  # arbitrary, unique among the advisory locks of the database

CREATE_LEDGER = """
create table if not exists schema_migrations (
    package    text        not null,
    name       text        not null,
    sha256     text        not null,
    applied_at timestamptz not null default now(),
    primary key (package, name)
)
"""


async def migrate(url: str, packages: Sequence[str]) -> list[str]:
    """Apply each package's `migrations/NNNN_name.sql` in order, one transaction each, under an advisory lock.

    Returns:
        The names of the migrations applied now.

    Raises:
        RuntimeError: an applied file has changed since.
        PoolerFound: a connection pooler answers: the lock needs a session.
    """
    applied = []
    connection = await sessions.connect(
        url, packages[-1].rpartition(".")[2], parameters={"application_name": "migrate"}, timeout=10
    )
    try:
        await connection.execute("select pg_advisory_lock($1)", MIGRATION_LOCK)
        await connection.execute(CREATE_LEDGER)
        for package in packages:
            rows = await connection.fetch("select name, sha256 from schema_migrations where package = $1", package)
            known = {row["name"]: row["sha256"] for row in rows}
            for name, sql in migration_files(package):
                digest = hashlib.sha256(sql.encode()).hexdigest()
                if name in known:
                    if known[name] != digest:
                        raise RuntimeError(
                            f"{package} {name} was applied and has changed since; write a new migration instead"
                        )
                    continue
                async with connection.transaction():
                    await connection.execute("set local lock_timeout = '5s'")
                    await connection.execute(sql)
                    await connection.execute(
                        "insert into schema_migrations (package, name, sha256) values ($1, $2, $3)",
                        package,
                        name,
                        digest,
                    )
                applied.append(f"{package}/{name}")
                log.info("migration applied", package=package, name=name)
    finally:
        await connection.close()
    return applied


def migration_files(package: str) -> list[tuple[str, str]]:
    """Return name and text of a package's migrations, in the order of their numbers."""
    folder = files(package) / "migrations"
    return sorted((entry.name, entry.read_text()) for entry in folder.iterdir() if entry.name.endswith(".sql"))
