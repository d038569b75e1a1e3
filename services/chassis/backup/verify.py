"""Verify a snapshot: restore it into a scratch database, and compare every table."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from services.chassis.backup import catalogue, loading, manifest, preconditions, table_files
from services.chassis.backup.manifest import Manifest, Refused
from services.chassis.backup.progress import Progress
from services.chassis.backup.restore import Backed
from services.chassis.backup.table_files import quoted
from services.chassis.database import sessions
from services.chassis.database.migrations import migrate_within


async def verify(backed: Backed, folder: Path) -> Manifest:
    """Return the manifest of a snapshot that was restored and has every row.

    Raises:
        Refused: it is damaged, too new, or does not come back as it was; or no scratch database can be made.
    """
    source = manifest.read(folder, backed.service)
    preconditions.check_files(folder, source)
    preconditions.check_migrations(source, backed.packages)
    progress = Progress(f"{backed.service}: verified")
    async with _scratch(backed) as connection, connection.transaction():
        await loading.load(connection, folder, source, backed.packages, progress)
        for table in source.tables:
            content = await table_files.content_of(connection, table.name, table.columns)
            if (content.rows, content.digest) != (table.rows, table.content):
                raise Refused(
                    f"{table.name} of {source.service} does not come back as it was: {content.rows:,} of "
                    f"{table.rows:,} rows, or other values. Take another backup."
                )
        await migrate_within(connection, backed.packages)
    return source


SELECT_LEFT = """
select datname from pg_database d
where datname like $1 and pg_get_userbyid(datdba) = current_user
  and not exists (select from pg_stat_activity a where a.datid = d.oid)
"""


@asynccontextmanager
async def _scratch(backed: Backed) -> AsyncIterator[Any]:
    """Yield a connection to a new database, which nobody else can read, and drop it."""
    prefix = f"rapport_verify_{backed.service}_"
    name = prefix + secrets.token_hex(4)
    own = await _connect(backed)
    try:
        for row in await own.fetch(SELECT_LEFT, prefix.replace("_", r"\_") + "%"):  # of those that were killed
            with contextlib.suppress(asyncpg.PostgresError):
                await own.execute(f"drop database if exists {quoted(row['datname'])}")
        try:
            await own.execute(f"create database {quoted(name)} template template0")
        except asyncpg.InsufficientPrivilegeError:
            role = await own.fetchval("select current_user")
            raise Refused(
                f"The role {role} may not create databases, and --verify restores {backed.service} into one: give it "
                f"`alter role {role} createdb`, or set {backed.service.upper()}_DATABASE_URL to a server for trials."
            ) from None
        try:
            await own.execute(f"revoke all on database {quoted(name)} from public")
            connection = await _connect(backed, database=name)
            try:
                yield connection
            finally:
                await connection.close()
        finally:
            await own.execute(f"drop database {quoted(name)} with (force)")
    finally:
        await own.close()


async def _connect(backed: Backed, **options: Any) -> Any:
    return await sessions.connect(backed.url(), backed.service, parameters=catalogue.PARAMETERS, timeout=10, **options)
