"""The preconditions of a restore. Each check that fails says what to do; nothing is changed by asking."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from services.chassis.backup import catalogue, table_files
from services.chassis.backup.manifest import Manifest, Refused
from services.chassis.database.migrations import digest_of, migration_files
from services.chassis.runtime.settings import Settings
from services.contracts.topics import EVENT_TOPICS


def check_files(folder: Path, source: Manifest) -> None:
    """Check every file of a snapshot against its digest.

    Raises:
        Refused: one is missing, truncated or altered; it is named.
    """
    for table in source.tables:
        table_files.check(folder / source.service, table)


def check_migrations(source: Manifest, packages: Sequence[str]) -> None:
    """Check that this code knows every migration that the snapshot's database had.

    Raises:
        Refused: the snapshot is newer than this code.
    """
    known = {(package, name): digest_of(sql) for package in packages for name, sql in migration_files(package)}
    for one in source.migrations:
        place = (one.package, one.name)
        if place not in known:
            raise Refused(
                f"The snapshot of {source.service} is newer than this version of Rapport, which does not know "
                f"{one.package} {one.name}: restore it with the version that wrote it, or a later one."
            )
        if known[place] != one.sha256:
            raise Refused(
                f"{one.package} {one.name} of the snapshot of {source.service} is not the file of that name here: "
                "restore it with the version of Rapport that wrote it."
            )


def check_age(source: Manifest, settings: Settings, now: datetime, *, force: bool) -> list[str]:
    """Check that what happened since the snapshot can still be had; return the services that must `resync`, with force.

    Raises:
        Refused: the inbox would have forgotten what was handled; or events are deleted, and nobody said `--force`.
    """
    age = source.age_days(now)
    inbox = min(source.inbox_retention_days, settings.inbox_retention_days)
    outbox = min(source.outbox_retention_days, settings.outbox_retention_days)
    if age >= inbox:
        raise Refused(
            f"The snapshot of {source.service} is {age:,.1f} days old, and INBOX_RETENTION_DAYS is {inbox}: what was "
            "handled before would be forgotten at once and could take effect twice, mails included. Raise it above the "
            "age of the snapshot on every process, then repeat the restore; there is no way around."
        )
    if age < outbox:
        return []
    if not force:
        raise Refused(
            f"The snapshot of {source.service} is {age:,.1f} days old, and OUTBOX_RETENTION_DAYS is {outbox}: events "
            "since then are deleted, and `rapport republish` cannot send them again. With --force it is restored, and "
            "every owner must state afterwards what it has, with `rapport resync`."
        )
    return [topic.name.partition(".")[0] for topic in EVENT_TOPICS]


def check_group(service: str, members: int) -> None:
    """Check that nobody reads for the service.

    Raises:
        Refused: its consumer group has live members.
    """
    if members:
        are = "member reads" if members == 1 else "members read"
        raise Refused(
            f"The consumer group of {service} lives: {members} {are} on. Stop every process of {service}, then "
            "repeat the restore."
        )


SELECT_SESSIONS = """
select count(*) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and application_name in ($1, 'relay', 'migrate')
"""


async def check_target(connection: Any, source: Manifest) -> None:
    """Check that the database is empty, that nobody uses it, and that it is no newer than the snapshot.

    Raises:
        Refused: it is not; a table with rows is named.
    """
    service = source.service
    found = await catalogue.tables(connection)
    filled = await catalogue.first_with_rows(connection, [table.name for table in found])
    if filled:
        raise Refused(
            f"The database of {service} is not empty: {filled} has rows. Give it an empty one, and keep this one: "
            f"`alter database {service} rename to {service}_before`, then `create database {service} owner {service}`."
        )
    sessions = await connection.fetchval(SELECT_SESSIONS, service)
    if sessions:
        raise Refused(f"{service} is running ({sessions} of its sessions use the database): stop its processes first.")
    newer = {(one.package, one.name) for one in await catalogue.migrations(connection)} - {
        (one.package, one.name) for one in source.migrations
    }
    if newer:
        package, name = min(newer)
        raise Refused(
            f"The database of {service} is newer than the snapshot: it has {package} {name}. Give an empty database "
            f"without tables; the restore makes them as they were, and migrates on when the rows are in."
        )
