"""The record processor: runs handlers on polled records, retries failures and sends dead letters."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import structlog
from aiokafka import TopicPartition

from services.chassis.database.pool import Database, Transaction
from services.chassis.messaging import inbox
from services.chassis.messaging.brake import Brake, HeldLetter
from services.chassis.messaging.dead_letter_writer import DeadLetterWriter, position
from services.chassis.messaging.decoding import DecodedRecord, decode
from services.chassis.messaging.handlers import Handler, Handlers, context_of
from services.chassis.messaging.patience import Interrupted, Patience, is_unavailable
from services.chassis.runtime import failpoint
from services.chassis.runtime.context import bound
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import CONSUMED, CONSUMER_RETRIES, HANDLER_SECONDS

log = structlog.get_logger(__name__)

ATTEMPTS = 5
PARALLEL_PARTITIONS = 4  # each takes a connection of the pool
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0)  # between the attempts

Polled = Mapping[TopicPartition, Sequence[Any]]
Outcomes = list[tuple[Any, str]]  # of records


class _Stopped(Exception):
    """The brake has stopped the partition."""


class RecordProcessor:
    """Processes polled records with the handlers of a group."""

    def __init__(
        self,
        group: str,
        handlers: Handlers,
        db: Database,
        brake: Brake,
        writer: DeadLetterWriter,
        patience: Patience,
        settings: Settings,
    ) -> None:
        self._group = group
        self._handlers = handlers
        self._db = db
        self._brake = brake
        self._writer = writer
        self._patience = patience
        self._prefix = settings.kafka_prefix
        self._batch = settings.consumer_batch
        self._slots = asyncio.Semaphore(PARALLEL_PARTITIONS)
        self._dead_letters: list[HeldLetter] = []

    async def process(self, polled: Polled, stop: asyncio.Event) -> dict[TopicPartition, int]:
        """Process all records, and return the offset to commit for each partition.

        Records of an interrupted batch are read again, so a dead letter among them may be published a second time.
        """
        self._dead_letters.clear()
        done: dict[TopicPartition, int | None] = {}
        left = await self._process_together(polled, done, stop)
        offsets = await asyncio.gather(
            *(self._process_partition(partition, records, stop) for partition, records in left.items()),
            return_exceptions=True,
        )
        for partition, offset in zip(left, offsets, strict=True):
            if isinstance(offset, BaseException):
                raise offset
            done[partition] = done.get(partition) if offset is None else offset
        if self._brake.counting:
            done = {partition: self._brake.processed(partition, offset) for partition, offset in done.items()}
        try:
            for partition in self._brake.counting & polled.keys():
                await self._patience.until_done(partial(self._brake.note, partition), stop)
            await self._send(self._dead_letters, stop)
        except Interrupted:
            return {}
        return {partition: offset for partition, offset in done.items() if offset is not None}

    async def release(self, stop: asyncio.Event) -> dict[TopicPartition, int]:
        """Send the dead letters of rows that got no longer, and return the offset to commit for each partition."""
        offsets = {}
        with contextlib.suppress(Interrupted):
            for partition, row in self._brake.quiet():
                await self._send(row.letters, stop)
                row.letters.clear()
                offsets[partition] = row.done
        return offsets

    async def _process_together(
        self, polled: Polled, done: dict[TopicPartition, int | None], stop: asyncio.Event
    ) -> Polled:
        """Process the records of all partitions in common transactions, until one fails or a record is undecodable.

        Returns:
            what is left; its partitions are processed apart, so that a failure of one stops no other.
        """
        if self._brake.counting & polled.keys():
            return polled
        left = dict(polled)
        while left:
            if stop.is_set() or self._patience.rebalancing.is_set():
                return {}
            chunk = _first_records(left, self._batch)
            passed_over = Outcomes()
            items = [
                item
                for records in chunk.values()
                for item in decode(records, self._handlers.by_type, passed_over.append)
            ]
            if any(item.error is not None for item in items):
                return left
            try:
                if items:
                    await self._transaction(items)
            except Exception as error:
                log.info("batch failed; trying each partition", group=self._group, count=len(items), error=repr(error))
                return left
            self._count(passed_over)
            for partition, records in chunk.items():
                done[partition] = int(records[-1].offset) + 1
                left[partition] = left[partition][len(records) :]
                if not left[partition]:
                    del left[partition]
        return {}

    async def _process_partition(
        self, partition: TopicPartition, records: Sequence[Any], stop: asyncio.Event
    ) -> int | None:
        """Process the records of one partition until interrupted; return the offset behind them, None without one."""
        offset: int | None = None
        async with self._slots:
            try:
                for start in range(0, len(records), self._batch):
                    if stop.is_set() or self._patience.rebalancing.is_set():
                        break
                    chunk = records[start : start + self._batch]
                    passed_over = Outcomes()
                    decoded = list(decode(chunk, self._handlers.by_type, passed_over.append))
                    self._count(passed_over)
                    for undecodable, items in groupby(decoded, key=lambda item: item.error is not None):
                        if undecodable:
                            for item in items:
                                assert item.error is not None
                                await self._give_up(partition, item, item.error, 0, stop)
                        else:
                            await self._process_batch(partition, list(items), stop)
                    offset = int(chunk[-1].offset) + 1
            except _Stopped:
                return self._brake.first_held(partition)
            except Interrupted:
                pass
        return offset

    async def _process_batch(
        self, partition: TopicPartition, items: Sequence[DecodedRecord], stop: asyncio.Event
    ) -> None:
        """Process records in one transaction; if it fails, each in its own, so that one does not fail the others."""
        if len(items) > 1:
            try:
                await self._transaction(items)
            except Exception as error:
                log.info("batch failed; trying each record", group=self._group, count=len(items), error=repr(error))
            else:
                await self._succeeded(partition, stop)
                return
        for item in items:
            await self._process_alone(partition, item, stop)

    async def _process_alone(self, partition: TopicPartition, item: DecodedRecord, stop: asyncio.Event) -> None:
        failures = 0
        while True:
            try:
                await self._transaction([item])
            except Exception as error:
                if is_unavailable(error):
                    await self._patience.wait(error, stop)
                    continue
                failures += 1
                where = position(item.record)
                log.warning("handler failed", group=self._group, **where, failures=failures, exc_info=failures == 1)
                if failures == ATTEMPTS:
                    await self._give_up(partition, item, error, failures, stop)
                    return
                CONSUMER_RETRIES.labels(self._group, "handler").inc()
                await self._patience.pause(RETRY_SECONDS[failures - 1], stop)
            else:
                await self._succeeded(partition, stop)
                return

    async def _succeeded(self, partition: TopicPartition, stop: asyncio.Event) -> None:
        if partition in self._brake.counting:
            self._dead_letters += await self._patience.until_done(partial(self._brake.succeed, partition), stop)

    async def _transaction(self, items: Sequence[DecodedRecord]) -> None:
        """Handle, in this order, the events among these that were not handled before."""
        async with self._db.transaction() as tx:
            fresh = await self._fresh(tx, items)
            for handler, run in groupby(fresh, key=lambda item: item.handler):
                assert handler is not None
                await self._handle(tx, handler, list(run))
            failpoint.reach("consumer.before_commit")
        failpoint.reach("consumer.handled")
        self._count([(item.record, "handled") for item in fresh])
        if len(fresh) < len(items):
            handled = {id(item) for item in fresh}
            self._count([(item.record, "duplicate") for item in items if id(item) not in handled])
        if fresh:
            self._handlers.on_applied()

    async def _fresh(self, tx: Transaction, items: Sequence[DecodedRecord]) -> Sequence[DecodedRecord]:
        """Insert the ids of the events into the inbox; return the items whose event was not there, each event once."""
        new = await inbox.insert_new(tx, [item.envelope for item in items if item.envelope is not None])
        if len(new) == len(items):
            return items
        fresh = []
        for item in items:
            assert item.envelope is not None
            identity = (item.envelope.source, item.envelope.id)
            if identity in new:
                new.remove(identity)
                fresh.append(item)
        return fresh

    async def _handle(self, tx: Transaction, handler: Handler[Any], run: Sequence[DecodedRecord]) -> None:
        """Handle events with the same handler: at once if it can, else one after the other."""
        at_once = self._handlers.of_run(handler)
        if at_once is not None:
            with self._timed(run[0]):
                await at_once(tx, [(item.event, item.envelope) for item in run if item.envelope is not None])
            return
        for item in run:
            assert item.envelope is not None
            with bound(context_of(item.envelope)), self._timed(item):
                await handler(tx, item.event, item.envelope)

    @contextlib.contextmanager
    def _timed(self, item: DecodedRecord) -> Iterator[None]:
        """Observe the time of the block under the type of this event; not if it fails."""
        began = time.perf_counter()
        yield
        assert item.envelope is not None
        HANDLER_SECONDS.labels(self._group, item.envelope.type).observe(time.perf_counter() - began)

    async def _give_up(
        self, partition: TopicPartition, item: DecodedRecord, error: Exception, attempts: int, stop: asyncio.Event
    ) -> None:
        if self._brake.fail(partition, HeldLetter(item, error, attempts)):
            await self._patience.until_done(partial(self._brake.stop, partition), stop)
            raise _Stopped

    async def _send(self, letters: Sequence[HeldLetter], stop: asyncio.Event) -> None:
        for letter in letters:
            cause = "undecodable" if letter.item.error is not None else "handler"
            await self._writer.put_aside(letter.item.record, letter.error, letter.attempts, cause, stop)

    def _count(self, outcomes: Outcomes) -> None:
        for (topic, outcome), count in Counter((record.topic, outcome) for record, outcome in outcomes).items():
            CONSUMED.labels(self._group, topic.removeprefix(self._prefix), outcome).inc(count)


def _first_records(polled: Polled, most: int) -> Polled:
    """Return the first records of the partitions, one partition after the other, `most` in all."""
    first = {}
    for partition, records in polled.items():
        first[partition] = records[:most]
        most -= len(first[partition])
        if most <= 0:
            break
    return first
