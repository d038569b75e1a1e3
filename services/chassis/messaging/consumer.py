"""The consumer: passes events from Kafka to handlers, each effect once, in the order of the partition.

The inbox row of an event and its effect are written in one transaction; the offset is committed after it. So after any
crash an event is redelivered until it was handled, and dropped as a duplicate after that. The records of a poll share
transactions; if one fails, it is rolled back, and each partition and then each record gets a transaction of its own.
What cannot be handled stops at most its partition.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from services.chassis.database.pool import Database
from services.chassis.messaging.brake import Brake
from services.chassis.messaging.connection import connection
from services.chassis.messaging.dead_letter_writer import DeadLetterWriter
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.partition_control import PartitionControl
from services.chassis.messaging.patience import Interrupted, Patience
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.record_processor import RecordProcessor
from services.chassis.messaging.topics import create_topics
from services.chassis.messaging.unreachable import Unreachable
from services.chassis.messaging.watchdog import ConsumerWatchdog
from services.chassis.runtime.process import Unstoppable
from services.chassis.runtime.repetition import Repetition
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import COMMITS_FAILED, CONSUMERS_DISCARDED, begin_group
from services.chassis.runtime.timeouts import wait_at_most
from services.chassis.runtime.waiting import sleep_unless_set
from services.contracts.topics import CONSUMER_GROUPS, Topic

log = structlog.get_logger(__name__)

SESSION_MS = 10_000
HEARTBEAT_MS = (
    500  # a member learns by its next heartbeat that another one comes or leaves; partitions rest until all know
)
REBALANCE_MS = 60_000
REVOKE_SECONDS = 20
SHUTDOWN_SECONDS = 8
POLL_MS = 250
MAX_POLL_RECORDS = 500
FETCH_BYTES = 512 * 1024  # of one partition, kept in memory


class Consumer:
    """One member of a consumer group.

    Args:
        group: the group's name, without prefix; its dead letters go to `<group>.dead-letter`.
        topics: the topics it reads; missing ones are created.
        handlers: event types without a handler are skipped.
        db: the database of inbox and effects.

    Raises:
        ValueError: the group is not one of the contracts, so it has no dead-letter topic.
    """

    def __init__(
        self, group: str, topics: Sequence[Topic], handlers: Handlers, db: Database, settings: Settings
    ) -> None:
        if group not in CONSUMER_GROUPS:
            raise ValueError(f"{group} is not one of the groups in contracts.topics")
        self.group = group
        self._topics = topics
        self._settings = settings
        self._producer = Producer(settings)
        self._patience = Patience(group)
        self._brake = Brake(group, topics, db, settings.kafka_prefix)
        self._writer = DeadLetterWriter(group, settings.kafka_prefix, self._producer, self._patience)
        self._processor = RecordProcessor(group, handlers, db, self._brake, self._writer, self._patience, settings)
        self._watchdog = ConsumerWatchdog(group, topics, settings)
        self._repetition = Repetition()
        self._healthy = True
        self._joined = False
        begin_group(group)

    async def ready(self) -> bool:
        """Return true from the first time Kafka was reached until the consumer fails.

        A later outage of Kafka does not make it unready: the other roles of the process go on without Kafka.
        """
        return self._healthy and self._joined

    async def run(self, stop: asyncio.Event) -> None:
        """Handle events until `stop` is set, through every outage of Kafka and PostgreSQL.

        Raises:
            Stalled: the group has unhandled records and makes no progress.
            Unstoppable: what handles them goes on nevertheless; another run would handle them beside it.
        """
        self._healthy, self._joined = True, False
        ended = asyncio.Event()
        watch = asyncio.create_task(
            self._watchdog.run(ended, is_waiting=self._patience.is_waiting, halted=self._brake.read_halted)
        )
        consume = asyncio.create_task(self._consume(stop))
        try:
            finished, _ = await asyncio.wait([consume, watch], return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                task.result()  # the watchdog raises Stalled
        except Exception:
            self._healthy = False
            raise
        finally:
            ended.set()
            consume.cancel()
            _, left = await asyncio.wait([consume, watch], timeout=SHUTDOWN_SECONDS)
            watch.cancel()
            await self._producer.close()
            if consume in left and not stop.is_set():
                raise Unstoppable(f"the consumer of {self.group} ignores its cancellation")

    async def _consume(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._run_client(stop)
            except (KafkaError, OSError) as error:
                # also aiokafka's UnknownError, when another process joins the group with the same group_instance_id
                if stop.is_set():
                    return
                if not isinstance(error, Unreachable):
                    who = {"group": self.group, "instance": self._settings.instance}
                    log.warning("consumer restarts", **who, error=repr(error))
                elif self._repetition.is_due(str(error)):
                    log.warning(str(error), group=self.group)
                CONSUMERS_DISCARDED.labels(self.group).inc()
                await sleep_unless_set(stop, 1.0)

    async def _run_client(self, stop: asyncio.Event) -> None:
        """Consume with one Kafka client until `stop` is set or it fails; a failed client must not be reused."""
        settings = self._settings
        timeout = settings.kafka_timeout_seconds
        creating = create_topics(
            settings.kafka_bootstrap_servers,
            settings.kafka_prefix,
            replication_factor=settings.kafka_replication_factor,
            min_insync_replicas=settings.kafka_min_insync_replicas,
            seconds=timeout,
            credential=connection(settings),
        )
        await wait_at_most(timeout + 1, creating, unless=stop)
        client = AIOKafkaConsumer(
            **connection(settings),
            group_id=settings.kafka_prefix + self.group,
            group_instance_id=f"{self.group}-{settings.instance}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            max_poll_interval_ms=24 * 60 * 60 * 1000,  # the watchdog ends stalls; an outage may take longer
            request_timeout_ms=int(timeout * 1000),
            metadata_max_age_ms=10_000,  # a topic that is made anew, as after a loss of Kafka, is found soon
            max_poll_records=MAX_POLL_RECORDS,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        self._brake.forget()
        control = PartitionControl(client, self._brake, self._writer, self._patience, partial(self._commit, client))
        listener = _RebalanceListener(self._patience, self._brake, control)
        client.subscribe([settings.kafka_prefix + topic.name for topic in self._topics], listener=listener)
        try:
            await wait_at_most(REBALANCE_MS / 1000 + timeout, client.start(), unless=stop)
            self._joined = True
            while not stop.is_set():
                polled = await wait_at_most(timeout, client.getmany(timeout_ms=POLL_MS))
                async with listener:
                    with contextlib.suppress(Interrupted):
                        await self._handle(client, await control.obey(polled, stop), stop)
                        await control.pause_stopped(stop)
        finally:
            await _close(client, leaves=stop.is_set())

    async def _handle(
        self, client: AIOKafkaConsumer, polled: Mapping[TopicPartition, Sequence[Any]], stop: asyncio.Event
    ) -> None:
        if polled:
            await self._commit(client, await self._processor.process(polled, stop))
        if self._brake.counting:
            await self._commit(client, await self._processor.release(stop))

    async def _commit(self, client: AIOKafkaConsumer, done: Mapping[TopicPartition, int]) -> bool:
        """Commit the offsets and return whether that was done.

        If a rebalance prevents it, the next owner reads the records again and drops them.

        Raises:
            TimeoutError: the client cannot commit; it must not be reused.
        """
        assigned = client.assignment()
        offsets = {partition: offset for partition, offset in done.items() if partition in assigned}
        if not offsets:
            return False
        try:
            await wait_at_most(self._settings.kafka_timeout_seconds, client.commit(offsets))
        except (CommitFailedError, IllegalStateError) as error:
            COMMITS_FAILED.labels(self.group).inc()
            log.warning("offsets were not committed", group=self.group, error=repr(error))
            return False
        return True


class _RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Delays a rebalance, for a bounded time, until the current batch is processed and committed: `async with` it.

    Never enter it around a poll: the poll runs the listener, which would wait for itself.
    """

    def __init__(self, patience: Patience, brake: Brake, control: PartitionControl) -> None:
        self._patience = patience
        self._brake = brake
        self._control = control
        self._idle = asyncio.Event()
        self._idle.set()

    async def __aenter__(self) -> None:
        self._patience.rebalancing.clear()
        self._idle.clear()

    async def __aexit__(self, *_: object) -> None:
        self._idle.set()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._patience.rebalancing.set()
        try:
            async with asyncio.timeout(REVOKE_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            log.warning("handler too slow for a rebalance; its records will be redelivered")
        self._brake.forget()
        self._control.forget()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        log.info("partitions assigned", count=len(assigned))


async def _close(client: AIOKafkaConsumer, *, leaves: bool) -> None:
    """Stop a client within 5 s or abandon it.

    Args:
        leaves: whether its partitions go to other members now. If not, this instance keeps them for `SESSION_MS`.
    """
    if leaves and client._coordinator is not None:  # it has got as far as that
        client._coordinator._group_instance_id = None  # aiokafka sends LeaveGroup only for a member without one
    try:
        await wait_at_most(5, client.stop())
    except Exception as error:
        log.warning("kafka consumer did not stop", error=repr(error))
        with contextlib.suppress(Exception):
            await wait_at_most(1, client._client.close())
