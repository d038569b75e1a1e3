"""The record processor: runs handlers on polled records, retries failures and sends dead letters."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import structlog
from aiokafka import TopicPartition
from pydantic import ValidationError

from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.messaging import dead_letter, inbox
from services.chassis.messaging.cloudevents import Undecodable, from_record, type_of
from services.chassis.messaging.handlers import Handler, Handlers
from services.chassis.messaging.producer import Producer, Unacknowledged
from services.chassis.runtime import failpoint
from services.chassis.runtime.context import Context, bound, next_hop
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import CONSUMED, CONSUMER_RETRIES, DEAD_LETTERS, HANDLER_SECONDS
from services.chassis.runtime.waiting import first_set
from services.contracts.event import Envelope, Event, registry

log = structlog.get_logger(__name__)

ATTEMPTS = 5
MAX_CONSECUTIVE_FAILURES = 20
PARALLEL_PARTITIONS = 4  # each takes a connection of the pool
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0)  # between the attempts


def is_unavailable(error: Exception) -> bool:
    """Return whether a handler failed because a dependency is unavailable, so that a retry helps.

    The database and other services raise a 503 then. Any other exception is a failure of the handler.
    """
    return isinstance(error, Problem) and error.kind == "unavailable"


class TooManyFailures(Exception):
    """Too many records in a row failed: the cause is not in the records."""


class _Interrupted(Exception):
    """The process stops, or a rebalance revokes the partition, while a record waits for a retry."""


@dataclass(frozen=True)
class DecodedRecord:
    """A record with its event and handler, or with the error of its decoding."""

    record: Any
    envelope: Envelope | None = None
    event: Event | None = None
    handler: Handler[Any] | None = None
    error: Undecodable | None = None


class RecordProcessor:
    """Processes polled records with the handlers of a group.

    Attributes:
        rebalancing: set by a rebalance; records not yet begun are left to the next owner.
    """

    def __init__(self, group: str, handlers: Handlers, db: Database, producer: Producer, settings: Settings) -> None:
        self._group = group
        self._handlers = handlers
        self._db = db
        self._producer = producer
        self._prefix = settings.kafka_prefix
        self._batch = settings.consumer_batch
        self._slots = asyncio.Semaphore(PARALLEL_PARTITIONS)
        self._dead_letters: list[tuple[DecodedRecord, Exception, int]] = []
        self._consecutive_failures = 0
        self._waiting = 0
        self.rebalancing = asyncio.Event()

    def is_waiting(self) -> bool:
        """Return whether a partition waits for an unavailable dependency."""
        return self._waiting > 0

    async def process(
        self, polled: Mapping[TopicPartition, Sequence[Any]], stop: asyncio.Event
    ) -> dict[TopicPartition, int]:
        """Process all records, partitions concurrently, and return the offset to commit for each partition.

        Records of an interrupted batch are read again, so a dead letter among them may be published a second time.

        Raises:
            TooManyFailures: more than `MAX_CONSECUTIVE_FAILURES` records failed with no success in between.
        """
        self._dead_letters.clear()
        offsets = await asyncio.gather(
            *(self._process_partition(records, stop) for records in polled.values()), return_exceptions=True
        )
        for offset in offsets:
            if isinstance(offset, BaseException):
                raise offset
        try:
            await self._send_dead_letters(stop)
        except _Interrupted:
            return {}
        return {partition: offset for partition, offset in zip(polled, offsets, strict=True) if isinstance(offset, int)}

    async def _process_partition(self, records: Sequence[Any], stop: asyncio.Event) -> int | None:
        """Process the records of one partition until interrupted; return the offset to commit, None without one."""
        offset: int | None = None
        async with self._slots:
            with contextlib.suppress(_Interrupted):
                for start in range(0, len(records), self._batch):
                    if stop.is_set() or self.rebalancing.is_set():
                        break
                    chunk = records[start : start + self._batch]
                    for undecodable, items in groupby(self._decode(chunk), key=lambda item: item.error is not None):
                        if undecodable:
                            for item in items:
                                assert item.error is not None
                                self._give_up(item, item.error, 0)
                        else:
                            await self._process_batch(list(items), stop)
                    offset = chunk[-1].offset + 1
        return offset

    def _decode(self, records: Sequence[Any]) -> Iterator[DecodedRecord]:
        """Yield the records that the group handles, decoded; skip the others."""
        types = registry()
        for record in records:
            try:
                kind = type_of(record)
                handler = self._handlers.by_type.get(kind)
                if handler is None:
                    self._consumed(record, "ignored" if kind in types else "unknown")
                    continue
                envelope = from_record(record)
                event = types[kind].model_validate_json(envelope.data)
            except ValidationError as error:
                fields = {".".join(map(str, item["loc"])): item["type"] for item in error.errors(include_input=False)}
                yield DecodedRecord(record, error=Undecodable(f"the value does not fit its type: {fields}"))
            except Undecodable as error:
                yield DecodedRecord(record, error=error)
            else:
                yield DecodedRecord(record, envelope, event, handler)

    async def _process_batch(self, items: Sequence[DecodedRecord], stop: asyncio.Event) -> None:
        """Process records in one transaction; if it fails, each in its own, so that one does not fail the others."""
        if len(items) > 1:
            try:
                await self._transaction(items)
                return
            except Exception as error:
                log.info("batch failed; trying each record", group=self._group, count=len(items), error=repr(error))
        for item in items:
            await self._process_alone(item, stop)

    async def _process_alone(self, item: DecodedRecord, stop: asyncio.Event) -> None:
        failures = 0
        while True:
            try:
                await self._transaction([item])
                return
            except Exception as error:
                if is_unavailable(error):
                    await self._wait_for_dependency(error, stop)
                    continue
                failures += 1
                position = _position(item.record)
                log.warning("handler failed", group=self._group, **position, failures=failures, exc_info=failures == 1)
                if failures == ATTEMPTS:
                    self._give_up(item, error, failures)
                    return
                CONSUMER_RETRIES.labels(self._group, "handler").inc()
                await self._pause(RETRY_SECONDS[failures - 1], stop)

    async def _transaction(self, items: Sequence[DecodedRecord]) -> None:
        envelopes = [item.envelope for item in items if item.envelope is not None]
        async with self._db.transaction() as tx:
            new = await inbox.insert_new(tx, envelopes)
            outcomes = []
            for item in items:
                assert item.envelope is not None and item.handler is not None
                identity = (item.envelope.source, item.envelope.id)
                outcomes.append("handled" if identity in new else "duplicate")
                if identity in new:
                    new.remove(identity)
                    await self._handle(tx, item.handler, item.event, item.envelope)
            failpoint.reach("consumer.before_commit")
        failpoint.reach("consumer.handled")
        self._consecutive_failures = 0
        for item, outcome in zip(items, outcomes, strict=True):
            self._consumed(item.record, outcome)
        if "handled" in outcomes:
            self._handlers.on_applied()

    async def _handle(self, tx: Any, handler: Handler[Any], event: Any, envelope: Envelope) -> None:
        context = Context(envelope.correlation_id, envelope.id, next_hop(envelope.traceparent))
        began = time.perf_counter()
        with bound(context):
            await handler(tx, event, envelope)
        HANDLER_SECONDS.labels(self._group, envelope.type).observe(time.perf_counter() - began)

    def _give_up(self, item: DecodedRecord, error: Exception, attempts: int) -> None:
        self._consecutive_failures += 1
        if self._consecutive_failures > MAX_CONSECUTIVE_FAILURES:
            raise TooManyFailures(
                f"{self._consecutive_failures} records in a row could not be handled by {self._group}; the last one, "
                f"{_position(item.record)}, because of {error!r}. Find the cause before more become dead letters"
            ) from error
        self._dead_letters.append((item, error, attempts))

    async def _send_dead_letters(self, stop: asyncio.Event) -> None:
        """Publish the dead letters of a poll, at its end: after `TooManyFailures` there must be none of its records."""
        for item, error, attempts in self._dead_letters:
            while True:
                try:
                    await dead_letter.publish(self._producer, self._group, self._prefix, item.record, error, attempts)
                    break
                except Unacknowledged as unacknowledged:
                    await self._wait_for_dependency(unacknowledged, stop)
            cause = "undecodable" if item.error is not None else "handler"
            DEAD_LETTERS.labels(self._group, cause).inc()
            self._consumed(item.record, "dead-letter")
            log.error("dead letter sent", group=self._group, **_position(item.record), cause=cause, error=repr(error))

    async def _wait_for_dependency(self, error: Exception, stop: asyncio.Event) -> None:
        """Wait before the next attempt after a transient failure; such attempts are not counted."""
        log.warning("waiting for a dependency", group=self._group, error=repr(error))
        CONSUMER_RETRIES.labels(self._group, "transient").inc()
        self._waiting += 1
        try:
            await self._pause(1.0, stop)
        finally:
            self._waiting -= 1

    async def _pause(self, seconds: float, stop: asyncio.Event) -> None:
        if await first_set(stop, self.rebalancing, within=seconds):
            raise _Interrupted

    def _consumed(self, record: Any, outcome: str) -> None:
        CONSUMED.labels(self._group, record.topic.removeprefix(self._prefix), outcome).inc()


def _position(record: Any) -> dict[str, object]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}
