"""The consumer watchdog: ends a consumer whose group has unhandled records and makes no progress.

An idle topic is no stall, and neither is an unavailable broker or database: a restart would not help.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.messaging.connection import connection
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.timeouts import wait_at_most
from services.chassis.runtime.waiting import sleep_unless_set
from services.contracts.topics import Topic

log = structlog.get_logger(__name__)

CHECK_SECONDS = 15.0


class Stalled(Exception):
    """There are unhandled records and no progress; only a new process may help."""


class ConsumerWatchdog:
    """Reads the offsets of the group with a client of its own, which shares no fault with the consumer's client."""

    def __init__(self, group: str, topics: Sequence[Topic], settings: Settings) -> None:
        self._settings = settings
        self._group = group
        self._topics = topics
        self._limit = settings.consumer_stall_seconds

    async def run(self, stop: asyncio.Event, is_waiting: Callable[[], bool]) -> None:
        """Watch until `stop` is set.

        Args:
            is_waiting: returns whether the consumer waits for an unavailable dependency, which is no stall.

        Raises:
            Stalled: a partition had unhandled records for the time of the limit and its offset did not move.
        """
        behind: dict[TopicPartition, tuple[int, float]] = {}
        while not await sleep_unless_set(stop, min(CHECK_SECONDS, self._limit / 4)):
            try:
                offsets = await wait_at_most(30, self._read_offsets())
            except (KafkaError, OSError) as error:
                log.info("offsets of the group could not be read", group=self._group, error=repr(error))
                behind.clear()
                continue
            now = time.monotonic()
            waiting = is_waiting()
            for part, (done, end) in offsets.items():
                if waiting or done >= end:
                    behind.pop(part, None)
                elif part not in behind or behind[part][0] != done:
                    behind[part] = (done, now)
                elif now - behind[part][1] >= self._limit:
                    raise Stalled(
                        f"{self._group}: {part.topic} {part.partition} has records from {done} on and nothing has "
                        f"moved for {now - behind[part][1]:.0f} s"
                    )

    async def _read_offsets(self) -> dict[TopicPartition, tuple[int, int]]:
        """Return for each partition the next offset of the group, and the end."""
        client = AIOKafkaConsumer(
            **connection(self._settings),
            group_id=self._settings.kafka_prefix + self._group,
            enable_auto_commit=False,
            request_timeout_ms=5_000,
        )
        try:
            await client.start()
            parts = [
                TopicPartition(self._settings.kafka_prefix + topic.name, number)
                for topic in self._topics
                for number in range(topic.partitions)
            ]
            begins, ends = await client.beginning_offsets(parts), await client.end_offsets(parts)
            done = {part: await client.committed(part) for part in parts}
            return {part: (max(done[part] or 0, begins[part]), ends[part]) for part in parts}
        finally:
            with contextlib.suppress(Exception):
                await wait_at_most(5, client.stop())
