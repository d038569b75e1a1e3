"""Load the rows of a snapshot into an empty database, in the caller's transaction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg

from services.chassis.backup import catalogue, table_files
from services.chassis.backup.manifest import Manifest, Refused
from services.chassis.backup.progress import Progress
from services.chassis.backup.table_files import quoted
from services.chassis.database.migrations import MIGRATION_LOCK, migrate_within

SET_LOCK_TIMEOUT = "set local lock_timeout = '10s'"
TRY_LOCK = "select pg_try_advisory_xact_lock($1)"


async def load(connection: Any, folder: Path, source: Manifest, packages: Sequence[str], progress: Progress) -> None:
    """Make the tables as they were at the snapshot, and load every row.

    Raises:
        Refused: the database is not empty any more, a migration runs, or the rows do not fit; all is rolled back.
        LockNotAvailableError: somebody uses a table.
    """
    await connection.execute(SET_LOCK_TIMEOUT)
    if not await connection.fetchval(TRY_LOCK, MIGRATION_LOCK):
        raise Refused(f"A migration of {source.service} runs: repeat the restore when it has ended.")
    await migrate_within(connection, packages, {(one.package, one.name) for one in source.migrations})
    found = await catalogue.tables(connection)
    names = [table.name for table in found]
    await connection.execute(f"lock table {', '.join(map(quoted, names))} in access exclusive mode")
    filled = await catalogue.first_with_rows(connection, names)
    if filled:
        raise Refused(f"The database of {source.service} is not empty any more: somebody wrote into {filled}.")
    files = {table.name: table for table in source.tables}
    if names_missing := sorted(set(names) ^ files.keys()):
        raise Refused(f"The snapshot of {source.service} does not fit its own migrations: {', '.join(names_missing)}.")
    for name in names:
        table = files[name]
        progress.begin(name)
        rows = table_files.rows_of(folder / source.service / table.file, progress)
        try:
            done = await connection.copy_to_table(name, source=rows, columns=list(table.columns), format="text")
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.UndefinedColumnError) as error:
            raise Refused(f"{table.file} of {source.service} cannot be loaded: {error}.") from error
        if done != f"COPY {table.rows}":
            raise Refused(f"{table.file} of {source.service} should have {table.rows:,} rows: {done} were loaded.")
    await connection.execute("set constraints all immediate")
    await catalogue.advance_sequences(connection)


MARK = "update epoch set restored_from = $1"


async def mark(connection: Any, source: Manifest) -> None:
    """Note in the database which snapshot it was loaded from."""
    await connection.execute(MARK, source.sha256)


SELECT_MARK = "select to_jsonb(epoch) ->> 'restored_from' from epoch"  # older tables have no such column


async def is_loaded_from(connection: Any, source: Manifest) -> bool:
    """Return whether the database was loaded from this snapshot, and has rows."""
    try:
        marked = await connection.fetchval(SELECT_MARK)
    except asyncpg.UndefinedTableError:
        return False
    names = [table.name for table in await catalogue.tables(connection)]
    return marked == source.sha256 and await catalogue.first_with_rows(connection, names) is not None
