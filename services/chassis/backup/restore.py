"""Restore a service's database from a snapshot: everything in one transaction, and its consumer group set back before.

The group goes first, because that does no harm by itself: records that come again are dropped by the inbox. The other
way round a kill in between would leave old rows before a group that has read on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import asyncpg
from aiokafka.errors import KafkaError

from services.chassis.backup import catalogue, loading, manifest, preconditions
from services.chassis.backup.manifest import Manifest, Refused
from services.chassis.backup.progress import Progress
from services.chassis.database import sessions
from services.chassis.database.migrations import migrate_within
from services.chassis.database.pool import Transaction
from services.chassis.messaging import group_offsets, group_rewind
from services.chassis.messaging.epochs import raise_epoch
from services.chassis.messaging.group_rewind import CLOCKS_DIFFER, Rewind
from services.chassis.runtime import failpoint
from services.chassis.runtime.settings import Settings
from services.contracts.topics import Topic


class History(Protocol):
    """What a service has said of itself since a snapshot, as its topic has it."""

    @property
    def epoch(self) -> int: ...
    @property
    def undecodable(self) -> int: ...
    @property
    def kept_since(self) -> datetime | None: ...


H = TypeVar("H", bound=History)

SESSION_SECONDS = 15.0  # a member that has stopped counts for the time of its session, 10 s


async def no_leases(tx: Transaction) -> int:
    return 0


@dataclass(frozen=True)
class CatchUp(Generic[H]):
    """How a restored service catches up with its own events since the snapshot, in the transaction that loads the rows.

    Attributes:
        read: reads the history of the topic since a moment.
        apply: applies it, given the epoch of the snapshot; returns counters for the operator.
    """

    topic: Topic
    read: Callable[[Settings, Topic, datetime], Awaitable[H]]
    apply: Callable[[Transaction, H, int], Awaitable[Mapping[str, int]]]


@dataclass(frozen=True)
class Backed:
    """A service whose database is backed up.

    Attributes:
        url: the address of PostgreSQL itself, not of a pooler.
        topics: what the consumer group of the service reads.
        release_leases: ends the leases of processes that are no more; returns how many.
    """

    service: str
    url: Callable[[], str]
    packages: Sequence[str]
    topics: Sequence[Topic] = ()
    release_leases: Callable[[Transaction], Awaitable[int]] = no_leases


@dataclass(frozen=True)
class RestoreResult:
    """What a restore did, or would do.

    Attributes:
        resync: services that must state what they own, because the log does not have everything any more.
        again_only_since: removals and the like before this moment are not in the log any more, so they were not applied
            again; None if all are.
        already: it was done before, and nothing was changed now.
    """

    service: str
    taken_at: datetime
    rows: int
    tables: Mapping[str, int]
    resync: Sequence[str] = ()
    epoch: int | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    migrations: Sequence[str] = ()
    again_only_since: datetime | None = None
    already: bool = False
    dry_run: bool = False


async def restore(
    backed: Backed,
    settings: Settings,
    catch_up: CatchUp[Any],
    folder: Path,
    *,
    dry_run: bool = False,
    force: bool = False,
) -> RestoreResult:
    """Restore a service's database, or with `dry_run` only look whether that can be done.

    Args:
        force: also where other services have deleted events since; then `resync` mends what differs.

    Raises:
        Refused: it cannot be restored; nothing was changed.
    """
    source = manifest.read(folder, backed.service)
    preconditions.check_files(folder, source)
    preconditions.check_migrations(source, backed.packages)
    tables = {table.name: table.rows for table in source.tables}
    found = RestoreResult(backed.service, source.taken_at, source.rows, tables, dry_run=dry_run)
    connection = await sessions.connect(backed.url(), backed.service, parameters=catalogue.PARAMETERS, timeout=10)
    try:
        await sessions.set_json_codec(connection)
        if await loading.is_loaded_from(connection, source):
            return replace(found, already=True)
        pruned = preconditions.check_age(source, settings, datetime.now(UTC), force=force)
        await preconditions.check_target(connection, source)
        rewind, history = await _ask_broker(backed, settings, catch_up, source)
        lost = sorted({*pruned, *(topic.partition(".")[0] for topic in rewind.lost_topics)})
        kept = history.kept_since
        found = replace(found, resync=lost, again_only_since=kept if kept and kept > source.taken_at else None)
        if dry_run:
            return found
        if backed.topics:
            await _rewind(backed, settings, rewind)
        failpoint.reach("restore.rewound")
        return await _load(connection, backed, catch_up, folder, source, history, found)
    finally:
        await connection.close()


async def _ask_broker(
    backed: Backed, settings: Settings, catch_up: CatchUp[Any], source: Manifest
) -> tuple[Rewind, Any]:
    rewind = Rewind({}, ())
    try:
        if backed.topics:
            preconditions.check_group(backed.service, await _members_that_stay(backed.service, settings))
            rewind = await group_rewind.plan(settings, backed.service, backed.topics, source.offsets, source.taken_at)
        since: datetime = source.taken_at - CLOCKS_DIFFER
        return rewind, await catch_up.read(settings, catch_up.topic, since)
    except (KafkaError, OSError) as error:
        raise _no_broker(backed.service, error) from error


async def _members_that_stay(service: str, settings: Settings) -> int:
    """Return how many members the group has once the session of a stopped one has ended."""
    patience = time.monotonic() + SESSION_SECONDS
    count = await group_offsets.member_count(settings, service)
    while count and time.monotonic() < patience:
        await asyncio.sleep(1)
        count = await group_offsets.member_count(settings, service)
    return count


async def _rewind(backed: Backed, settings: Settings, rewind: Rewind) -> None:
    try:
        await group_rewind.rewind(settings, backed.service, backed.topics, rewind)
    except (KafkaError, OSError) as error:
        raise _no_broker(backed.service, error) from error


def _no_broker(service: str, error: BaseException) -> Refused:
    return Refused(
        f"Kafka is needed to restore {service}, for what was said since the backup and for its consumer group: "
        f"{str(error) or type(error).__name__}"
    )


async def _load(
    connection: Any,
    backed: Backed,
    catch_up: CatchUp[Any],
    folder: Path,
    source: Manifest,
    history: Any,
    found: RestoreResult,
) -> RestoreResult:
    progress = Progress(f"{backed.service}: loaded")
    try:
        async with connection.transaction():
            tx = Transaction(connection)
            await loading.load(connection, folder, source, backed.packages, progress)
            applied = await migrate_within(connection, backed.packages)
            released = await backed.release_leases(tx)
            epoch = await raise_epoch(tx, max(source.epoch, history.epoch))
            counters = await catch_up.apply(tx, history, source.epoch)
            await loading.mark(connection, source)
            failpoint.reach("restore.loaded")
    except asyncpg.LockNotAvailableError:
        raise Refused(f"Somebody uses the tables of {backed.service}: stop its processes first.") from None
    failpoint.reach("restore.committed")
    unread = {"unreadable records": history.undecodable} if history.undecodable else {}
    counters = {"leases ended": released, **unread, **counters}
    return replace(found, epoch=epoch, counters=counters, migrations=tuple(applied))
