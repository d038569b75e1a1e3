"""From polled records to committed effects: what one member of a group does between a poll and its offset commit."""

import asyncio
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
from services.chassis.messaging.producer import Producer, Unsent
from services.chassis.runtime import failpoint
from services.chassis.runtime.context import Context, bound, next_hop
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import CONSUMED, CONSUMER_RETRIES, DEAD_LETTERS, HANDLER_SECONDS
from services.chassis.runtime.waiting import first_set
from services.contracts.event import Envelope, Event, registry

log = structlog.get_logger(__name__)

ATTEMPTS = 5
MOST_FAILURES = 20
PARALLEL = 4  # partitions at a time; each needs a connection of the pool
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)


def is_transient(error: Exception) -> bool:
    """Return whether a handler failed because something it needs is away, so that trying again will help.

    The database and other services say so by a 503. Any other exception is the handler's own.
    """
    return isinstance(error, Problem) and error.kind == "unavailable"


class TooManyFailures(Exception):
    """So many records in a row failed that the fault is not theirs."""


class _HandOver(Exception):
    """The process stops, or the partition goes to somebody else: put everything down."""


@dataclass(frozen=True)
class DecodedRecord:
    """A record and what is known of it: an event with its handler, or why it cannot be understood."""

    record: Any
    envelope: Envelope | None = None
    event: Event | None = None
    handler: Handler | None = None
    error: Undecodable | None = None


class RecordProcessor:
    """Applies polled records through the handlers of a group.

    Attributes:
        leave: set by a rebalance; what is not begun is left to the next owner.
        waiting_for_dependency: at least one partition is trying again because of a transient failure.
    """

    def __init__(
        self, group: str, handlers: Handlers, database: Database, producer: Producer, settings: Settings
    ) -> None:
        self._group = group
        self._handlers = handlers
        self._database = database
        self._producer = producer
        self._prefix = settings.kafka_prefix
        self._batch = settings.consumer_batch
        self._places = asyncio.Semaphore(PARALLEL)
        self._given_up: list[tuple[DecodedRecord, Exception, int]] = []
        self._failed_in_a_row = 0
        self._waiting = 0
        self.leave = asyncio.Event()

    @property
    def waiting_for_dependency(self) -> bool:
        return self._waiting > 0

    async def process(
        self, polled: Mapping[TopicPartition, Sequence[Any]], stop: asyncio.Event
    ) -> dict[TopicPartition, int]:
        """Apply all, partitions side by side, and return the offset at which each partition goes on.

        Raises:
            TooManyFailures: more than `MOST_FAILURES` records failed with none passing in between.
        """
        done: dict[TopicPartition, int] = {}
        self._given_up.clear()
        outcomes = await asyncio.gather(
            *(self._partition(partition, records, done, stop) for partition, records in polled.items()),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if outcome is not None and not isinstance(outcome, _HandOver):
                raise outcome
        try:
            await self._send_dead_letters(stop)
        except _HandOver:
            return {}
        return done

    async def _partition(
        self, partition: TopicPartition, records: Sequence[Any], done: dict[TopicPartition, int], stop: asyncio.Event
    ) -> None:
        async with self._places:
            for start in range(0, len(records), self._batch):
                if stop.is_set() or self.leave.is_set():
                    return
                chunk = records[start : start + self._batch]
                for failed, run in groupby(self._decode(chunk), key=lambda received: received.error is not None):
                    if failed:
                        for received in run:
                            assert received.error is not None
                            self._give_up(received, received.error, 0)
                    else:
                        await self._process_batch(list(run), stop)
                done[partition] = chunk[-1].offset + 1

    def _decode(self, records: Sequence[Any]) -> Iterator[DecodedRecord]:
        """Decode what this group handles; pass over the rest."""
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
        """All in one transaction; if that fails, each alone, so that one cannot fail the others."""
        if len(items) > 1:
            try:
                await self._transaction(items)
                return
            except Exception as error:
                log.info("records are tried alone", group=self._group, count=len(items), error=repr(error))
        for item in items:
            await self._process_alone(item, stop)

    async def _process_alone(self, item: DecodedRecord, stop: asyncio.Event) -> None:
        failures = 0
        while True:
            try:
                await self._transaction([item])
                return
            except Exception as error:
                if is_transient(error):
                    await self._wait_for_dependency(error, stop)
                    continue
                failures += 1
                where = _where(item.record)
                log.warning("handler failed", group=self._group, **where, failures=failures, exc_info=failures == 1)
                if failures == ATTEMPTS:
                    self._give_up(item, error, failures)
                    return
                CONSUMER_RETRIES.labels(self._group, "handler").inc()
                await self._pause(PAUSES[failures - 1], stop)

    async def _transaction(self, items: Sequence[DecodedRecord]) -> None:
        envelopes = [item.envelope for item in items if item.envelope is not None]
        async with self._database.transaction() as tx:
            new = await inbox.unseen(tx, envelopes)
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
        self._failed_in_a_row = 0
        for item, outcome in zip(items, outcomes, strict=True):
            self._consumed(item.record, outcome)
        if "handled" in outcomes:
            self._handlers.applied()

    async def _handle(self, tx: Any, handler: Handler, event: Any, envelope: Envelope) -> None:
        context = Context(envelope.correlation_id, envelope.id, next_hop(envelope.traceparent))
        began = time.perf_counter()
        with bound(context):
            await handler(tx, event, envelope)
        HANDLER_SECONDS.labels(self._group, envelope.type).observe(time.perf_counter() - began)

    def _give_up(self, item: DecodedRecord, error: Exception, attempts: int) -> None:
        self._failed_in_a_row += 1
        if self._failed_in_a_row > MOST_FAILURES:
            raise TooManyFailures(
                f"{self._failed_in_a_row} records in a row could not be handled by {self._group}; the last one, "
                f"{_where(item.record)}, because of {error!r}. Look at the cause before more are put aside"
            ) from error
        self._given_up.append((item, error, attempts))

    async def _send_dead_letters(self, stop: asyncio.Event) -> None:
        """Write the dead letters of this poll. Not before: if all fails, nothing is put aside and it comes again."""
        for item, error, attempts in self._given_up:
            while True:
                try:
                    await dead_letter.put(self._producer, self._group, self._prefix, item.record, error, attempts)
                    break
                except Unsent as unsent:
                    await self._wait_for_dependency(unsent, stop)
            cause = "undecodable" if item.error is not None else "handler"
            DEAD_LETTERS.labels(self._group, cause).inc()
            self._consumed(item.record, "dead-letter")
            log.error("record put aside", group=self._group, **_where(item.record), cause=cause, error=repr(error))

    async def _wait_for_dependency(self, error: Exception, stop: asyncio.Event) -> None:
        """Wait before another attempt after a transient failure; these are not counted."""
        log.warning("waiting for what a handler needs", group=self._group, error=repr(error))
        CONSUMER_RETRIES.labels(self._group, "transient").inc()
        self._waiting += 1
        try:
            await self._pause(1.0, stop)
        finally:
            self._waiting -= 1

    async def _pause(self, seconds: float, stop: asyncio.Event) -> None:
        if await first_set(stop, self.leave, within=seconds):
            raise _HandOver

    def _consumed(self, record: Any, outcome: str) -> None:
        CONSUMED.labels(self._group, record.topic.removeprefix(self._prefix), outcome).inc()


def _where(record: Any) -> dict[str, object]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}
