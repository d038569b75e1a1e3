"""The relay: publishes outbox rows to Kafka in order and marks them as published (the order: see `outbox.py`).

The running relays of a database divide its outbox into slices, each owned by one of them by a session advisory lock on
a connection of its own (`outbox_slices.py`). A relay reads and marks rows on the same connection, so one that has lost
its locks can do neither: PostgreSQL ends the session of a relay that was paused for 10 s (`idle_session_timeout`), and
the others take over. No transaction is open during a call of Kafka; each read and each mark is one statement.
"""

import asyncio
import contextlib
from collections import Counter
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
from services.chassis.messaging.outbox_slices import SLICES, Slices
from services.chassis.messaging.producer import Producer
from services.chassis.runtime import failpoint
from services.chassis.runtime.repetition import Repetition
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import RELAY_AGE, RELAY_BACKLOG, RELAY_OWNER, RELAY_PUBLISHED, RELAY_SECONDS
from services.chassis.runtime.throttle import Throttle
from services.chassis.runtime.waiting import Periodic, first_set, sleep_unless_set
from services.contracts.event import Envelope

log = structlog.get_logger(__name__)

IDLE_SECONDS = 10
HEARTBEAT_SECONDS = 2
STANDBY_SECONDS = 1

SELECT_UNPUBLISHED = """
select id, event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, payload, epoch
from unnest($1::int[]) as owned (slice)
cross join lateral (
    select id, event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, payload,
           epoch
    from outbox
    where get_byte(uuid_send(key), 15) % 16 = slice and published_at is null
    order by id
    limit $2
) as waiting
"""

MARK_PUBLISHED = "update outbox set published_at = now() where id = any($1::bigint[]) and published_at is null"

SELECT_BACKLOG = """
select coalesce(sum(count), 0)::bigint as backlog, min(oldest) as oldest
from unnest($1::int[]) as owned (slice)
cross join lateral (
    select count(*), min(time) as oldest
    from (
        select time from outbox
        where get_byte(uuid_send(key), 15) % 16 = slice and published_at is null
        order by id
        limit 1000
    ) as first
) as waiting
"""


class Relay:
    """Publishes its slices of the outbox of one database.

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
        self._owned: list[int] = []
        self._is_standby = False
        self._connected = False
        self._connection_lock = asyncio.Lock()
        db.on_outbox = self.wake
        self._show_owned([])

    def wake(self) -> None:
        """Publish new rows now instead of at the next poll; harmless when there are none."""
        self._woken.set()

    async def ready(self) -> bool:
        """Return true without a slice, while others own them, and from the first time Kafka was reached on.

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
                    async with self._sliced_connection(stop) as sliced:
                        if sliced is not None:
                            await self._publish(*sliced, stop)
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
    async def _sliced_connection(self, stop: asyncio.Event) -> AsyncIterator[tuple[Any, Slices] | None]:
        """Yield a connection and the slices it owns, or None if `stop` is set before the relay may own any."""
        parameters = {
            "application_name": "relay",
            "idle_session_timeout": f"{IDLE_SECONDS}s",
            "tcp_user_timeout": f"{IDLE_SECONDS}s",  # one that is paused in the middle of a read is not idle
            "statement_timeout": "10s",
            "jit": "off",
        }
        connection = await sessions.connect(self._url, self._name, parameters=parameters, timeout=5, command_timeout=10)
        slices = Slices(connection, on_change=self.wake)
        try:
            while not await slices.join():
                self._is_standby = True
                await sleep_unless_set(stop, STANDBY_SECONDS)
                if stop.is_set():
                    yield None
                    return
            async with Periodic("relay heartbeat", HEARTBEAT_SECONDS, partial(self._heartbeat, connection)):
                yield connection, slices
        finally:
            self._is_standby = False
            self._show_owned([])
            try:
                async with asyncio.timeout(2):
                    await slices.leave()
                    await connection.close()
            except Exception:
                connection.terminate()  # the server has ended the session, or does not answer

    def _show_owned(self, slices: list[int]) -> None:
        """Update the metrics. Only its owner knows what waits in a slice; a relay without one reports 0."""
        if len(slices) != len(self._owned):
            log.info("relay owns slices of the outbox", count=len(slices), all=SLICES)
        self._owned = slices
        RELAY_OWNER.labels(self._name).set(len(slices) / SLICES)
        if not slices:
            RELAY_BACKLOG.labels(self._name).set(0)
            RELAY_AGE.labels(self._name).set(0)

    async def _heartbeat(self, connection: Any) -> None:
        """Query the database, so that the session does not reach its idle timeout while Kafka is slow.

        The query measures the backlog, for the metrics.
        """
        if connection.is_closed():
            return
        async with self._connection_lock:
            row = await connection.fetchrow(SELECT_BACKLOG, self._owned)
        RELAY_BACKLOG.labels(self._name).set(row["backlog"])
        age = (datetime.now(UTC) - row["oldest"]).total_seconds() if row["oldest"] else 0
        RELAY_AGE.labels(self._name).set(age)

    async def _publish(self, connection: Any, slices: Slices, stop: asyncio.Event) -> None:
        """Read, send and mark batches of rows until `stop` is set.

        Then others go on with the rest; a relay that is alone publishes it before it ends.
        """
        is_full = False
        while True:
            if not is_full:
                await self._throttle.wait()
            self._woken.clear()
            async with self._connection_lock:  # fails after the locks are lost, because the session has ended
                if slices.due_in == 0:
                    await slices.divide()
                    self._is_standby = not slices.owned
                    self._show_owned(slices.owned)
                share = max(1, self._batch // max(1, len(slices.owned)))  # none has to wait for another one's backlog
                rows = [_row(record) for record in await connection.fetch(SELECT_UNPUBLISHED, slices.owned, share)]
            failpoint.reach("relay.read")
            published = await self._producer.send(rows) if rows else []
            is_full = len(published) >= share
            if not self._connected and not stop.is_set():
                self._connected = bool(published) or await self._producer.connect(stop)
            if published:
                failpoint.reach("relay.produced")
                async with self._connection_lock:
                    failpoint.reach_soon("relay.marking")
                    await connection.execute(MARK_PUBLISHED, published)
                failpoint.reach("relay.marked")
                _count(rows, set(published))
            if stop.is_set() and not (published and slices.is_alone):
                return
            if not rows:
                await first_set(self._woken, stop, within=min(self._poll, slices.due_in))


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
    topics = Counter[str]()
    for row in rows:
        if row.id in published:
            topics[row.topic] += 1
            RELAY_SECONDS.observe((now - row.envelope.time).total_seconds())
    for topic, count in topics.items():
        RELAY_PUBLISHED.labels(topic).inc(count)
