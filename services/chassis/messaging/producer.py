"""An idempotent Kafka producer with bounded waits, whose client is discarded at the first failure.

The reasons are in the source of aiokafka 0.14 (see ADR 13):

- A batch for a partition without a leader for longer than `request_timeout_ms` takes its sequence numbers and then
  fails without being sent. The next batch of the partition is refused as out of order for ever, or, if the broker does
  not know the producer yet, accepted *without the failed one*. So a partition never has more than one batch in flight
  here: a batch is acknowledged as a whole or not at all, and no other batch can overtake it.
- With idempotence on, neither a send nor the flush of `stop()` has a deadline. So both are bounded here.
- An out-of-order or fenced producer cannot recover. So after any failure a new one is made, and the caller sends again
  what was not acknowledged. What the old one still delivers is a duplicate, which consumers drop by its id.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import lru_cache

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from services.chassis.messaging.cloudevents import Headers, to_headers, to_key
from services.chassis.messaging.connection import connection
from services.chassis.messaging.outbox import OutboxRow
from services.chassis.messaging.topic_settings import DEAD_LETTER_BYTES
from services.chassis.messaging.topics import create_topics
from services.chassis.messaging.unreachable import Unreachable
from services.chassis.runtime import failpoint
from services.chassis.runtime.repetition import Repetition
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import PRODUCERS_DISCARDED, begin_producers
from services.chassis.runtime.timeouts import wait_at_most
from services.chassis.runtime.waiting import Backoff

log = structlog.get_logger(__name__)

BATCH_BYTES = 512 * 1024
MAX_BACKOFF_SECONDS = 2.0
partitioner = DefaultPartitioner()


@lru_cache(maxsize=4096)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key, as Kafka's own clients choose it."""
    numbers = range(partitions)
    return int(partitioner(key, numbers, numbers))


class Unacknowledged(Exception):
    """Kafka did not acknowledge the record in time; whether it was written is unknown."""


class Producer:
    """Sends outbox rows and single records, for one task at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: AIOKafkaProducer | None = None
        self._backoff = Backoff(0.1, MAX_BACKOFF_SECONDS)
        self._repetition = Repetition()
        begin_producers()

    async def connect(self, stop: asyncio.Event) -> bool:
        """Connect before there is anything to send, unless `stop` is set; return whether Kafka answers."""
        await self._wait_for_backoff()
        try:
            await wait_at_most(self._settings.kafka_timeout_seconds, self._started_client(), unless=stop)
        except (KafkaError, OSError) as error:
            await self._discard_client(type(error).__name__, str(error))
            return False
        except BaseException:
            await self._discard_client("interrupted")
            raise
        self._backoff.succeed()
        return True

    async def send(self, rows: Sequence[OutboxRow]) -> list[int]:
        """Publish rows, in the order of their ids, and return the acknowledged ids.

        Rows of one key stay in order: of a partition either all sent rows are acknowledged or none. Rows beyond one
        batch of a partition are left out, and must be sent again.
        """
        sent: dict[asyncio.Future[object], list[int]] = {}
        failure: BaseException | None = None
        await self._wait_for_backoff()
        try:
            await wait_at_most(self._settings.kafka_timeout_seconds, self._send(rows, sent))
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            failure = error
        except BaseException:
            await self._discard_client("interrupted")
            raise
        acknowledged = []
        for future, ids in sent.items():
            if not future.done():
                future.cancel()
            elif future.exception() is None:
                acknowledged += ids
            else:
                failure = future.exception()
        if failure is not None:
            await self._discard_client(type(failure).__name__, str(failure))
        else:
            self._backoff.succeed()
        return sorted(acknowledged)

    async def send_record(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        """Publish one record on a partition of a topic, whose name includes the prefix.

        Raises:
            Unacknowledged: it was not acknowledged in time.
        """
        await self._wait_for_backoff()

        async def send() -> None:
            client = await self._started_client()
            batch = client.create_batch()
            batch.append(key=key, value=value, timestamp=None, headers=headers)
            await (await client.send_batch(batch, topic, partition=partition))

        try:
            await wait_at_most(self._settings.kafka_timeout_seconds, send())
        except (KafkaError, OSError) as error:
            await self._discard_client(type(error).__name__, str(error))
            raise Unacknowledged(f"{topic}: {error!r}") from error
        except BaseException:
            await self._discard_client("interrupted")
            raise

    async def close(self) -> None:
        """Close the client. No send is in progress, because each one was awaited."""
        client, self._client = self._client, None
        if client is not None:
            await _close(client)

    async def _wait_for_backoff(self) -> None:
        """Wait before a new client is made after a failure, outside the time limit of a send."""
        if self._client is None:
            await asyncio.sleep(self._backoff.remaining)

    async def _started_client(self) -> AIOKafkaProducer:
        if self._client is None:
            settings = self._settings
            await create_topics(
                settings.kafka_bootstrap_servers,
                settings.kafka_prefix,
                replication_factor=settings.kafka_replication_factor,
                min_insync_replicas=settings.kafka_min_insync_replicas,
                seconds=settings.kafka_timeout_seconds,
                credential=connection(settings),
            )
            self._client = AIOKafkaProducer(
                **connection(settings),
                enable_idempotence=True,
                acks="all",
                linger_ms=0,
                max_batch_size=BATCH_BYTES,
                max_request_size=DEAD_LETTER_BYTES,
                request_timeout_ms=int(settings.kafka_timeout_seconds * 500),  # half of the timeout, in ms
                metadata_max_age_ms=60_000,
            )
            await self._client.start()
        return self._client

    async def _send(self, rows: Sequence[OutboxRow], sent: dict[asyncio.Future[object], list[int]]) -> None:
        client = await self._started_client()
        for (topic, partition), (batch, ids) in (await self._pack(client, rows)).items():
            sent[await client.send_batch(batch, topic, partition=partition)] = ids
        failpoint.reach_soon("relay.sent")
        await asyncio.wait(sent)

    async def _pack(
        self, client: AIOKafkaProducer, rows: Sequence[OutboxRow]
    ) -> dict[tuple[str, int], tuple[BatchBuilder, list[int]]]:
        """Return one batch for each partition, filled in the order of the rows until it is full."""
        packed: dict[tuple[str, int], tuple[BatchBuilder, list[int]]] = {}
        full = set()
        partitions: dict[str, int] = {}
        for row in rows:
            topic = self._settings.kafka_prefix + row.topic
            key = to_key(row.envelope)
            if topic not in partitions:
                partitions[topic] = len(await client.partitions_for(topic))
            partition = (topic, partition_of(key, partitions[topic]))
            if partition in full:
                continue
            if partition not in packed:
                packed[partition] = (client.create_batch(), [])
            batch, ids = packed[partition]
            added = batch.append(key=key, value=row.envelope.data, timestamp=None, headers=to_headers(row.envelope))
            if added is None:
                full.add(partition)
            else:
                ids.append(row.id)
        return packed

    async def _discard_client(self, reason: str, detail: str = "") -> None:
        client, self._client = self._client, None
        PRODUCERS_DISCARDED.labels("interrupted" if reason == "interrupted" else "failed").inc()
        self._backoff.fail()
        if reason != Unreachable.__name__:
            log.warning(
                "kafka producer discarded", reason=reason, detail=detail, retry_in_seconds=self._backoff.remaining
            )
        elif self._repetition.is_due(detail):
            log.warning(detail, reason=reason)
        if client is not None:
            await _close(client)


async def _close(client: AIOKafkaProducer) -> None:
    """Close a client within 3 s, in whatever state it is.

    `stop()` waits without a limit for pending batches, so these are failed before.
    """
    client._message_accumulator.fail_all(ProducerClosed())
    try:
        await wait_at_most(2, client.stop())
    except Exception:  # its sender task has ended, or waits for a response that does not come
        with contextlib.suppress(Exception):
            await wait_at_most(1, client.client.close())
        sender = client._sender.sender_task
        if sender is not None:
            sender.cancel()
