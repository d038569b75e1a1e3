"""The relay: publishes outbox rows to Kafka in order and marks them as published (the order: see `outbox.py`).

One relay per database owns the outbox, by a session advisory lock on a connection of its own. It reads and marks rows
on the same connection, so a relay that has lost the lock can do neither: PostgreSQL ends the session of a relay that
was paused for 10 s (`idle_session_timeout`), and another takes over. No transaction is open during a call of Kafka;
each read and each mark is one statement.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from services.chassis.database import sessions
from services.chassis.database.address_faults import AddressRefused
from services.chassis.database.pool import Database
from services.chassis.database.transient_errors import is_transient
from services.chassis.messaging.outbox import OutboxRow
from services.chassis.messaging.producer import Producer
from services.chassis.runtime import failpoint
from services.chassis.runtime.repetition import Repetition
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import RELAY_AGE, RELAY_BACKLOG, RELAY_OWNER, RELAY_PUBLISHED, RELAY_SECONDS
from services.chassis.runtime.throttle import Throttle
from services.chassis.runtime.waiting import Periodic, first_set, sleep_unless_set
from services.contracts.event import Envelope

log = structlog.get_logger(__name__)

RELAY_LOCK = 0x5261_7070_6F72_7402  # arbitrary, unique among the advisory locks of the database
IDLE_SECONDS = 10
HEARTBEAT_SECONDS = 2
STANDBY_SECONDS = 1

SELECT_UNPUBLISHED = """
select id, event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, payload, epoch
from outbox
where published_at is null
order by id
limit $1
"""

MARK_PUBLISHED = "update outbox set published_at = now() where id = any($1::bigint[]) and published_at is null"

SELECT_BACKLOG = """
select (select count(*) from (select 1 from outbox where published_at is null limit 10000) as waiting) as backlog,
       (select time from outbox where published_at is null order by id limit 1) as oldest
"""


class Relay:
    """Publishes the outbox of one database.

    Args:
        db: its commits wake the relay; rows of other processes are found by polling.
        db_url: the address for the relay's own connection, not that of a pooler.
    """

    def __init__(self, db: Database, db_url: str, producer: Producer, settings: Settings) -> None:
        self._name = db.name
        self._url = db_url
        self._producer = producer
        self._batch = settings.relay_batch
        self._poll = settings.relay_poll_seconds
        self._throttle = Throttle(settings.relay_pace_seconds)
        self._woken = asyncio.Event()
        self._repetition = Repetition()
        self._is_standby = False
        self._connected = False
        self._connection_lock = asyncio.Lock()
        db.on_outbox = self.wake
        self._owns(False)

    def wake(self) -> None:
        """Publish new rows now instead of at the next poll; harmless when there are none."""
        self._woken.set()

    async def ready(self) -> bool:
        """Return true on standby, and from the first time Kafka was reached on.

        A later outage of Kafka does not make it unready: the other roles of the process go on without Kafka.
        """
        return self._is_standby or self._connected

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until `stop` is set, through every outage of PostgreSQL and Kafka.

        Raises:
            PoolerFound: the address leads to a connection pooler.
        """
        try:
            while not stop.is_set():
                try:
                    async with self._owned_connection(stop) as connection:
                        if connection is not None:
                            await self._publish(connection, stop)
                except AddressRefused as refused:
                    if self._repetition.is_due(str(refused)):
                        log.error(str(refused))
                    await sleep_unless_set(stop, STANDBY_SECONDS)
                except Exception as error:
                    if not is_transient(error):
                        raise
                    log.warning("relay has no database connection", error=repr(error))
                    await sleep_unless_set(stop, STANDBY_SECONDS)
        finally:
            await self._producer.close()

    @contextlib.asynccontextmanager
    async def _owned_connection(self, stop: asyncio.Event) -> AsyncIterator[Any | None]:
        """Yield a connection that holds the lock, or None if `stop` is set first."""
        parameters = {
            "application_name": "relay",
            "idle_session_timeout": f"{IDLE_SECONDS}s",
            "statement_timeout": "10s",
            "jit": "off",
        }
        connection = await sessions.connect(self._url, self._name, parameters=parameters, timeout=5, command_timeout=10)
        try:
            while not await connection.fetchval("select pg_try_advisory_lock($1)", RELAY_LOCK):
                self._is_standby = True
                await sleep_unless_set(stop, STANDBY_SECONDS)
                if stop.is_set():
                    yield None
                    return
            self._is_standby = False
            log.info("relay owns the outbox")
            self._owns(True)
            async with Periodic("relay heartbeat", HEARTBEAT_SECONDS, partial(self._heartbeat, connection)):
                yield connection
        finally:
            self._owns(False)
            try:
                await connection.close(timeout=2)
            except Exception:
                connection.terminate()  # the server has ended the session

    def _owns(self, owns: bool) -> None:
        """Update the metrics of ownership. Only the owner knows what waits; a standby relay reports 0."""
        RELAY_OWNER.labels(self._name).set(owns)
        if not owns:
            RELAY_BACKLOG.labels(self._name).set(0)
            RELAY_AGE.labels(self._name).set(0)

    async def _heartbeat(self, connection: Any) -> None:
        """Query the database, so that the session does not reach its idle timeout while Kafka is slow.

        The query measures the backlog, for the metrics.
        """
        if connection.is_closed():
            return
        async with self._connection_lock:
            row = await connection.fetchrow(SELECT_BACKLOG)
        RELAY_BACKLOG.labels(self._name).set(row["backlog"])
        age = (datetime.now(UTC) - row["oldest"]).total_seconds() if row["oldest"] else 0
        RELAY_AGE.labels(self._name).set(age)

    async def _publish(self, connection: Any, stop: asyncio.Event) -> None:
        """Read, send and mark batches of rows until `stop` is set and nothing more can be published."""
        while True:
            await self._throttle.wait()
            self._woken.clear()
            async with self._connection_lock:  # fails after the lock is lost, because the session has ended
                rows = [_row(record) for record in await connection.fetch(SELECT_UNPUBLISHED, self._batch)]
            failpoint.reach("relay.read")
            published = await self._producer.send(rows) if rows else []
            if not self._connected and not stop.is_set():
                self._connected = bool(published) or await self._producer.connect()
            if published:
                failpoint.reach("relay.produced")
                async with self._connection_lock:
                    failpoint.reach_soon("relay.marking")
                    await connection.execute(MARK_PUBLISHED, published)
                failpoint.reach("relay.marked")
                _count(rows, set(published))
            if stop.is_set() and not published:
                return
            if not rows:
                await first_set(self._woken, stop, within=self._poll)


def _row(record: Any) -> OutboxRow:
    return OutboxRow(
        record["id"],
        record["topic"],
        Envelope(
            id=record["event_id"],
            source=record["source"],
            type=record["type"],
            subject=record["subject"],
            time=record["time"],
            key=record["key"],
            data=record["payload"],
            correlation_id=record["correlation_id"],
            causation_id=record["causation_id"],
            traceparent=record["traceparent"],
            epoch=record["epoch"],
        ),
    )


def _count(rows: Sequence[OutboxRow], published: set[int]) -> None:
    now = datetime.now(UTC)
    for row in rows:
        if row.id in published:
            RELAY_PUBLISHED.labels(row.topic).inc()
            RELAY_SECONDS.observe((now - row.envelope.time).total_seconds())
