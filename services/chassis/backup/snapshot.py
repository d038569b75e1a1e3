"""Write a snapshot of a service's database: every table as of one moment, while everybody reads and writes."""

import asyncio
import fcntl
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.chassis.backup import catalogue, manifest, table_files
from services.chassis.backup.manifest import FORMAT, Manifest, Refused
from services.chassis.backup.progress import Progress
from services.chassis.database import sessions
from services.chassis.database.migrations import MIGRATION_LOCK
from services.chassis.messaging import group_offsets
from services.chassis.messaging.epochs import SELECT_EPOCH
from services.chassis.runtime import failpoint
from services.chassis.runtime.settings import Settings
from services.contracts.topics import Topic

OFFSETS_SECONDS = 30.0
TRY_LOCK = "select pg_try_advisory_xact_lock_shared($1)"  # a migration would change tables under the snapshot
SELECT_MOMENT = "select now() as taken_at, current_setting('server_version') as server_version"


async def take(service: str, url: str, topics: Sequence[Topic], settings: Settings, folder: Path) -> Manifest:
    """Write FOLDER/SERVICE, and return its manifest. An interrupted one leaves nothing that looks whole.

    Args:
        topics: what the consumer group of the service reads.

    Raises:
        Refused: there is a snapshot already, somebody writes one, or a migration runs.
    """
    offsets = await _offsets(service, topics, settings)
    with _unfinished(folder, service) as unfinished:
        progress = Progress(f"{service}: written")
        connection = await sessions.connect(url, service, parameters=catalogue.PARAMETERS, timeout=10)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                written = await _write(connection, service, settings, unfinished, offsets, progress)
        finally:
            await connection.close()
        failpoint.reach("backup.written")
        manifest.write(unfinished, written)
    return written


async def _offsets(service: str, topics: Sequence[Topic], settings: Settings) -> dict[str, dict[int, int]] | None:
    """Return how far the group is: before the snapshot, so that what it handles meanwhile comes again, not never."""
    if not topics:
        return {}
    try:
        async with asyncio.timeout(OFFSETS_SECONDS):
            return await group_offsets.committed(settings, service, topics)
    except Exception as error:  # aiokafka raises what it likes; the rows are worth more than the offsets
        _warn(
            f"{service}: Kafka does not tell how far the consumer group is ({type(error).__name__}): the snapshot is "
            "written without it, and a restore will read the whole log again and ask for `rapport resync`."
        )
        return None


def _warn(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


async def _write(
    connection: Any,
    service: str,
    settings: Settings,
    folder: Path,
    offsets: dict[str, dict[int, int]] | None,
    progress: Progress,
) -> Manifest:
    if not await connection.fetchval(TRY_LOCK, MIGRATION_LOCK):
        raise Refused(f"A migration of {service} runs: repeat the backup when it has ended.")
    applied = await catalogue.migrations(connection)
    if not applied:
        raise Refused(f"The database of {service} has no tables: run `python -m services.{service} migrate` first.")
    moment = await connection.fetchrow(SELECT_MOMENT)
    found = await catalogue.tables(connection)
    files = [await table_files.write(connection, folder, one.name, one.columns, progress) for one in found]
    return Manifest(
        format=FORMAT,
        service=service,
        taken_at=moment["taken_at"],
        epoch=await connection.fetchval(SELECT_EPOCH),
        server_version=moment["server_version"],
        outbox_retention_days=settings.outbox_retention_days,
        inbox_retention_days=settings.inbox_retention_days,
        migrations=tuple(applied),
        tables=tuple(files),
        offsets=offsets,
    ).sealed()


@contextmanager
def _unfinished(folder: Path, service: str) -> Any:
    """Yield a hidden folder that only its owner can read; rename it to the service's when the block ends."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    final, hidden = folder / service, folder / f".{service}.unfinished"
    if final.exists():
        raise Refused(f"{final} exists already: name a folder without a backup of {service}.")
    hidden.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(hidden, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"Another backup of {service} is being written into {folder}.") from None
        hidden.chmod(0o700)
        for left in hidden.iterdir():  # by one that was killed
            left.unlink()
        try:
            yield hidden
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise
        os.fsync(descriptor)
        failpoint.reach("backup.before_rename")
        hidden.rename(final)
        _sync(folder)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
