"""The consumer runner: events from Kafka to handlers, each handled once, in the order of its partition.

The note that an event was handled (inbox) and its effect are written in one transaction; only then is the offset
committed. So whatever dies, in whatever order, an event is delivered until it was handled, and dropped after that.
Consecutive records of a partition share a transaction; if one of them fails, all are rolled back and tried alone.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from services.chassis.database.pool import Database
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.record_processor import RecordProcessor
from services.chassis.messaging.topics import create_topics
from services.chassis.messaging.watchdog import ConsumerWatchdog
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import COMMITS_FAILED, CONSUMERS_DISCARDED
from services.chassis.runtime.timeouts import wait_at_most
from services.chassis.runtime.waiting import sleep_until
from services.contracts.topics import CONSUMER_GROUPS, Topic

log = structlog.get_logger(__name__)

SESSION_MS = 10_000
REBALANCE_MS = 60_000
HAND_OVER_SECONDS = 20
LAST_SECONDS = 8
POLL_MS = 250
MOST_RECORDS = 500
FETCH_BYTES = 512 * 1024  # of a partition at a time, kept in memory


class Consumer:
    """One member of a consumer group.

    Args:
        group: the group's name, without prefix; its dead letters go to `<group>.dead-letter`.
        topics: what it reads. It creates missing ones.
        handlers: what it does. Types without a handler are passed over.
        database: where inbox and effects are written.

    Raises:
        ValueError: the contracts know no such group, so there is no topic for its dead letters.
    """

    def __init__(
        self, group: str, topics: Sequence[Topic], handlers: Handlers, database: Database, settings: Settings
    ) -> None:
        if group not in CONSUMER_GROUPS:
            raise ValueError(f"{group} is not one of the groups in contracts.topics")
        self.group = group
        self._topics = topics
        self._settings = settings
        self._producer = Producer(settings)
        self._processor = RecordProcessor(group, handlers, database, self._producer, settings)
        self._watch = ConsumerWatchdog(group, topics, settings)
        self._healthy = True

    async def ready(self) -> bool:
        """False once too many records in a row have failed."""
        return self._healthy

    async def run(self, stop: asyncio.Event) -> None:
        """Handle events until `stop` is set, through every outage of Kafka and PostgreSQL.

        Raises:
            TooManyFailures: more than 20 records in a row could not be handled.
            Stalled: there are records to handle and nothing moves.
        """
        over = asyncio.Event()
        watch = asyncio.create_task(self._watch.run(over, busy=lambda: self._processor.waiting_for_dependency))
        work = asyncio.create_task(self._work(stop))
        try:
            for task in (await asyncio.wait([work, watch], return_when=asyncio.FIRST_COMPLETED))[0]:
                task.result()  # of the watch: Stalled
        except Exception:
            self._healthy = False
            raise
        finally:
            over.set()
            work.cancel()
            await asyncio.wait([work, watch], timeout=LAST_SECONDS)  # what is stuck may not even be cancelled
            watch.cancel()
            await self._producer.close()

    async def _work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._session(stop)
            except (KafkaError, OSError) as error:
                # an unknown error is also how aiokafka says that another process has taken this instance
                log.warning(
                    "consumer starts anew", group=self.group, instance=self._settings.instance, error=repr(error)
                )
                CONSUMERS_DISCARDED.labels(self.group).inc()
                await sleep_until(stop, 1.0)

    async def _session(self, stop: asyncio.Event) -> None:
        """The life of one Kafka client, until `stop`, or until it fails and must not be used again."""
        settings = self._settings
        timeout = settings.kafka_timeout_seconds
        await create_topics(
            settings.kafka_bootstrap_servers,
            settings.kafka_prefix,
            replication_factor=settings.kafka_replication_factor,
            seconds=settings.kafka_timeout_seconds,
        )
        client = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            group_id=settings.kafka_prefix + self.group,
            group_instance_id=f"{self.group}-{settings.instance}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=3_000,
            rebalance_timeout_ms=REBALANCE_MS,
            max_poll_interval_ms=24 * 60 * 60 * 1000,  # the stall watch does this; a long outage is no reason to leave
            request_timeout_ms=int(timeout * 1000),
            metadata_max_age_ms=60_000,
            max_poll_records=MOST_RECORDS,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        turn = _Turn(self._processor)
        client.subscribe([settings.kafka_prefix + topic.name for topic in self._topics], listener=turn)
        try:
            await wait_at_most(REBALANCE_MS / 1000 + timeout, client.start())
            while not stop.is_set():
                polled = await wait_at_most(timeout, client.getmany(timeout_ms=POLL_MS))
                if polled:
                    async with turn:
                        await self._commit(client, await self._processor.process(polled, stop))
        finally:
            await _close(client)

    async def _commit(self, client: AIOKafkaConsumer, done: Mapping[TopicPartition, int]) -> None:
        """Commit where each partition goes on. If the group has moved on meanwhile, others repeat and drop by inbox.

        Raises:
            TimeoutError: the client cannot commit; it must not be used again.
        """
        assigned = client.assignment()
        offsets = {partition: offset for partition, offset in done.items() if partition in assigned}
        if not offsets:
            return
        try:
            await wait_at_most(self._settings.kafka_timeout_seconds, client.commit(offsets))
        except (CommitFailedError, IllegalStateError) as error:
            COMMITS_FAILED.labels(self.group).inc()
            log.warning("offsets were not committed", group=self.group, error=repr(error))


class _Turn(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """The time between a poll and its commit. A rebalance waits for its end, but not for ever, and asks it to hurry.

    It is never held during a poll: a listener that waits for a poll waits for itself.
    """

    def __init__(self, processor: RecordProcessor) -> None:
        self._processor = processor
        self._over = asyncio.Event()
        self._over.set()

    async def __aenter__(self) -> None:
        self._processor.leave.clear()
        self._over.clear()

    async def __aexit__(self, *_: object) -> None:
        self._over.set()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._processor.leave.set()
        try:
            async with asyncio.timeout(HAND_OVER_SECONDS):
                await self._over.wait()
        except TimeoutError:
            log.warning("a handler was too slow for a rebalance; its records will be delivered again")

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        log.info("partitions assigned", count=len(assigned))


async def _close(client: AIOKafkaConsumer) -> None:
    """Stop a client within 5 s, or leave it. A static member says no goodbye: its place is kept for a restart."""
    try:
        await wait_at_most(5, client.stop())
    except Exception as error:
        log.warning("kafka consumer did not stop", error=repr(error))
        with contextlib.suppress(Exception):
            await wait_at_most(1, client._client.close())
