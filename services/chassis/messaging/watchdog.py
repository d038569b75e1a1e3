"""The consumer watchdog: ends a consumer whose group has unhandled records and makes no progress.

An idle topic is no stall, and neither is an unavailable broker or database: a restart would not help. A partition that
is stopped or paused stands still as it should.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.errors import Problem
from services.chassis.messaging.group_offsets import read_offsets
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.timeouts import wait_at_most
from services.chassis.runtime.waiting import sleep_unless_set
from services.contracts.topics import Topic

log = structlog.get_logger(__name__)

CHECK_SECONDS = 15.0


class Stalled(Exception):
    """There are unhandled records and no progress; only a new process may help."""


class ConsumerWatchdog:
    """Watches the offsets of the group, read with a client that shares no fault with the consumer's client."""

    def __init__(self, group: str, topics: Sequence[Topic], settings: Settings) -> None:
        self._settings = settings
        self._group = group
        self._topics = topics
        self._limit = settings.consumer_stall_seconds

    async def run(
        self,
        stop: asyncio.Event,
        is_waiting: Callable[[], bool],
        halted: Callable[[], Awaitable[Collection[TopicPartition]]],
    ) -> None:
        """Watch until `stop` is set.

        Args:
            is_waiting: returns whether the consumer waits for an unavailable dependency, which is no stall.
            halted: reads the partitions of the group that are stopped or paused.

        Raises:
            Stalled: a partition had unhandled records for the time of the limit and its offset did not move.
        """
        behind: dict[TopicPartition, tuple[int, float]] = {}
        while not await sleep_unless_set(stop, min(CHECK_SECONDS, self._limit / 4)):
            try:
                offsets = await wait_at_most(30, read_offsets(self._settings, self._group, self._topics))
                still = await halted()
            except (KafkaError, OSError, Problem) as error:
                log.info("offsets of the group could not be read", group=self._group, error=repr(error))
                behind.clear()
                continue
            now = time.monotonic()
            waiting = is_waiting()
            for part, (done, end) in offsets.items():
                if waiting or done >= end or part in still:
                    behind.pop(part, None)
                elif part not in behind or behind[part][0] != done:
                    behind[part] = (done, now)
                elif now - behind[part][1] >= self._limit:
                    raise Stalled(
                        f"{self._group}: {part.topic} {part.partition} has records from {done} on and nothing has "
                        f"moved for {now - behind[part][1]:.0f} s"
                    )
