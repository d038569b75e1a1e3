"""The dead-letter writer: puts records aside for an operator, through outages of Kafka."""

import asyncio
from typing import Any

import structlog

from services.chassis.messaging import dead_letter
from services.chassis.messaging.patience import Patience
from services.chassis.messaging.producer import Producer, Unacknowledged
from services.chassis.runtime.telemetry import CONSUMED, DEAD_LETTERS

log = structlog.get_logger(__name__)


class DeadLetterWriter:
    """Writes the dead letters of one consumer."""

    def __init__(self, group: str, prefix: str, producer: Producer, patience: Patience) -> None:
        self._group = group
        self._prefix = prefix
        self._producer = producer
        self._patience = patience

    async def put_aside(self, record: Any, error: Exception, attempts: int, cause: str, stop: asyncio.Event) -> None:
        """Publish a record as a dead letter and return when Kafka has it.

        Args:
            cause: `undecodable`, `handler` or `skipped`.

        Raises:
            Interrupted: the process stops, or the partition is revoked; the record must not be skipped.
        """
        while True:
            try:
                await dead_letter.publish(self._producer, self._group, self._prefix, record, error, attempts)
                break
            except Unacknowledged as unacknowledged:
                await self._patience.wait(unacknowledged, stop)
        DEAD_LETTERS.labels(self._group, cause).inc()
        CONSUMED.labels(self._group, record.topic.removeprefix(self._prefix), "dead-letter").inc()
        log.error("dead letter sent", group=self._group, **position(record), cause=cause, error=repr(error))


def position(record: Any) -> dict[str, object]:
    """Return where a record stands, for the log."""
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}
