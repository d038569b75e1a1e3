"""Retention: delete expired outbox rows, inbox rows and idempotency keys, a few thousand at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from services.chassis.database import idempotency
from services.chassis.database.pool import Database, Transaction
from services.chassis.messaging import inbox, outbox
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import PRUNED
from services.chassis.runtime.waiting import Periodic

EVERY_SECONDS = 600
BATCH_SIZE = 5000

Prune = Callable[[Transaction], Awaitable[int]]


class Pruner:
    """Prunes the chassis' tables and those of the service.

    Args:
        more: the service's own tables; each function deletes expired rows and returns how many.
    """

    def __init__(self, db: Database, settings: Settings, *, more: Mapping[str, Prune] | None = None) -> None:
        self._db = db
        self._tables: dict[str, Prune] = {
            "outbox": lambda tx: outbox.prune(tx, timedelta(days=settings.outbox_retention_days), BATCH_SIZE),
            "inbox": lambda tx: inbox.prune(tx, timedelta(days=settings.inbox_retention_days), BATCH_SIZE),
            "idempotency_keys": lambda tx: idempotency.prune(tx, BATCH_SIZE),
            **(more or {}),
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Prune periodically until `stop` is set, through outages of the database."""
        await Periodic("retention", EVERY_SECONDS, self.prune, jitter=0.2).run(stop)

    async def prune(self) -> None:
        """Delete all expired rows, in transactions of at most `BATCH_SIZE` rows, so that no lock is held for long."""
        for table, prune in self._tables.items():
            count = BATCH_SIZE
            while count == BATCH_SIZE:
                async with self._db.transaction() as tx:
                    count = await prune(tx)
                PRUNED.labels(table).inc(count)
