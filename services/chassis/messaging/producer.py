"""A Kafka producer that cannot get stuck: idempotent, every wait bounded, thrown away at the first failure.

Why it is built this way, from aiokafka 0.14's source:

- A batch that meets a partition without a leader for longer than `request_timeout_ms` takes its sequence numbers and is
  then failed without having been sent. The next batch of that partition is refused as out of order for ever, or, if
  the broker knows nothing of this producer yet, accepted *without the failed one*. So a partition never has more than
  one batch under way here: a batch is acknowledged whole or not at all, and nothing can overtake it.
- With idempotence on, a send has no deadline, and `stop()` flushes without one. So both are bounded here.
- There is no way back from an out-of-order or fenced producer. So after any failure a new one is made, and whoever
  sends reads again what is unsent. What the old one still delivers is a repetition, which readers drop by its id.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from services.chassis.messaging.cloudevents import Headers, to_headers, to_key
from services.chassis.messaging.outbox import OutboxRow
from services.chassis.messaging.topics import DEAD_LETTER_BYTES, create_topics
from services.chassis.runtime import failpoint
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import PRODUCERS_DISCARDED
from services.chassis.runtime.timeouts import wait_at_most
from services.chassis.runtime.waiting import Backoff

log = structlog.get_logger(__name__)

BATCH_BYTES = 512 * 1024
LONGEST_BACKOFF = 2.0
partitioner = DefaultPartitioner()


class Unsent(Exception):
    """Kafka did not acknowledge in time; whether the record is there is unknown."""


class Producer:
    """Sends outbox rows and single records. One task at a time may use it.

    Args:
        settings: where Kafka is, the prefix of its topics, and how long a send may take.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: AIOKafkaProducer | None = None
        self._backoff = Backoff(0.1, LONGEST_BACKOFF)

    async def send(self, rows: Sequence[OutboxRow]) -> list[int]:
        """Publish rows, given in the order of their ids, and return the ids that Kafka has acknowledged.

        Rows of one key stay in order: of a partition either all rows taken are acknowledged or none. What does not fit
        into one batch of a partition is left out, to be given again.
        """
        sent: dict[asyncio.Future[object], list[int]] = {}
        failure: BaseException | None = None
        await self._back_off()
        try:
            await wait_at_most(self._settings.kafka_timeout_seconds, self._send(rows, sent))
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            failure = error
        except BaseException:
            await self._throw_away("interrupted")
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
            await self._throw_away(type(failure).__name__, str(failure))
        else:
            self._backoff.succeed()
        return sorted(acknowledged)

    async def send_record(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        """Publish one record as it is to a partition of a topic, whose name is given with its prefix.

        Raises:
            Unsent: it was not acknowledged in time.
        """
        await self._back_off()

        async def send() -> None:
            client = await self._ready()
            batch = client.create_batch()
            batch.append(key=key, value=value, timestamp=None, headers=headers)
            await (await client.send_batch(batch, topic, partition=partition))

        try:
            await wait_at_most(self._settings.kafka_timeout_seconds, send())
        except (KafkaError, OSError) as error:
            await self._throw_away(type(error).__name__, str(error))
            raise Unsent(f"{topic}: {error!r}") from error
        except BaseException:
            await self._throw_away("interrupted")
            raise

    async def close(self) -> None:
        """Let go of the connection. Nothing is under way here, because every send was waited for."""
        client, self._client = self._client, None
        if client is not None:
            await _discard(client)

    async def _back_off(self) -> None:
        """Wait before a new producer is made after a failure; this is no part of the time a send may take."""
        if self._client is None:
            await asyncio.sleep(self._backoff.left)

    async def _ready(self) -> AIOKafkaProducer:
        if self._client is None:
            settings = self._settings
            await create_topics(
                settings.kafka_bootstrap_servers,
                settings.kafka_prefix,
                replication_factor=settings.kafka_replication_factor,
                seconds=settings.kafka_timeout_seconds,
            )
            self._client = AIOKafkaProducer(
                bootstrap_servers=settings.kafka_bootstrap_servers,
                enable_idempotence=True,
                acks="all",
                linger_ms=0,
                max_batch_size=BATCH_BYTES,
                max_request_size=DEAD_LETTER_BYTES,
                request_timeout_ms=int(settings.kafka_timeout_seconds * 500),
                metadata_max_age_ms=60_000,
            )
            await self._client.start()
        return self._client

    async def _send(self, rows: Sequence[OutboxRow], sent: dict[asyncio.Future[object], list[int]]) -> None:
        client = await self._ready()
        for (topic, partition), (batch, ids) in (await self._pack(client, rows)).items():
            sent[await client.send_batch(batch, topic, partition=partition)] = ids
        failpoint.reach_soon("relay.sent")
        await asyncio.wait(sent)

    async def _pack(
        self, client: AIOKafkaProducer, rows: Sequence[OutboxRow]
    ) -> dict[tuple[str, int], tuple[BatchBuilder, list[int]]]:
        """One batch for each partition, filled in the order of the rows until it is full."""
        packed: dict[tuple[str, int], tuple[BatchBuilder, list[int]]] = {}
        full = set()
        partitions: dict[str, list[int]] = {}
        for row in rows:
            topic = self._settings.kafka_prefix + row.topic
            key = to_key(row.envelope)
            if topic not in partitions:
                partitions[topic] = sorted(await client.partitions_for(topic))
            place = (topic, partitioner(key, partitions[topic], partitions[topic]))
            if place in full:
                continue
            batch, ids = packed.setdefault(place, (client.create_batch(), []))
            added = batch.append(key=key, value=row.envelope.data, timestamp=None, headers=to_headers(row.envelope))
            if added is None:
                full.add(place)
            else:
                ids.append(row.id)
        return packed

    async def _throw_away(self, reason: str, detail: str = "") -> None:
        client, self._client = self._client, None
        PRODUCERS_DISCARDED.labels(reason).inc()
        self._backoff.fail()
        log.warning("kafka producer thrown away", reason=reason, detail=detail, again_in_seconds=self._backoff.left)
        if client is not None:
            await _discard(client)


async def _discard(client: AIOKafkaProducer) -> None:
    """End a producer within 3 s, whatever state it is in.

    `stop()` first waits for everything to be delivered, which may be never; so all that waits is failed before.
    """
    client._message_accumulator.fail_all(ProducerClosed())
    try:
        await wait_at_most(2, client.stop())
    except Exception:  # its sender was dead, or waits for an answer that does not come
        with contextlib.suppress(Exception):
            await wait_at_most(1, client.client.close())
        sender = client._sender.sender_task
        if sender is not None:
            sender.cancel()
