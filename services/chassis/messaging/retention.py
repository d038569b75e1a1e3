"""Retention: deletes outbox rows, inbox rows and idempotency keys whose time is over, a few thousand at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from services.chassis.database import idempotency
from services.chassis.database.pool import Database, Transaction
from services.chassis.messaging import inbox, outbox
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import POOL_BUSY, POOL_SIZE, PRUNED
from services.chassis.runtime.waiting import Periodic

EVERY_SECONDS = 600
MOST = 5000

Prune = Callable[[Transaction], Awaitable[int]]


class Pruner:
    """Keeps the chassis' tables small and says how full the pool is.

    Args:
        name: the service, as the label of the pool's metrics.
        more: the service's own tables; each function deletes what is over and returns how many rows.
    """

    def __init__(
        self, name: str, database: Database, settings: Settings, *, more: Mapping[str, Prune] | None = None
    ) -> None:
        self._database = database
        self._tables: dict[str, Prune] = {
            "outbox": lambda tx: outbox.prune(tx, timedelta(days=settings.outbox_retention_days), MOST),
            "inbox": lambda tx: inbox.prune(tx, timedelta(days=settings.inbox_retention_days), MOST),
            "idempotency_keys": lambda tx: idempotency.prune(tx, MOST),
            **(more or {}),
        }
        POOL_SIZE.labels(name).set_function(lambda: database.size)
        POOL_BUSY.labels(name).set_function(lambda: database.busy)

    async def run(self, stop: asyncio.Event) -> None:
        """Prune now and then until `stop` is set. A database that is away is waited for."""
        await Periodic("retention", EVERY_SECONDS, self.prune, jitter=0.2).run(stop)

    async def prune(self) -> None:
        """Delete all that is over, in transactions of at most `MOST` rows, so that no lock is held for long."""
        for table, prune in self._tables.items():
            count = MOST
            while count == MOST:
                async with self._database.transaction() as tx:
                    count = await prune(tx)
                PRUNED.labels(table).inc(count)
