"""The stall watch: ends a consumer whose group has records to handle and does not move.

An idle topic is not a stall, and neither is a broker or a database that is away: a restart would not help.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.settings import Settings
from services.contracts.topics import Topic

log = structlog.get_logger(__name__)


class Stalled(Exception):
    """Records wait and nothing moves; only a new process may help."""


class StallWatch:
    """Looks at the group from outside, with a client of its own, when this member has not committed for a while."""

    def __init__(self, group: str, topics: Sequence[Topic], settings: Settings) -> None:
        self._settings = settings
        self._group = group
        self._topics = topics
        self._limit = settings.consumer_stall_seconds
        self._progress = time.monotonic()

    def progressed(self) -> None:
        """This member has committed something."""
        self._progress = time.monotonic()

    async def run(self, busy: Callable[[], bool]) -> None:
        """Watch for ever.

        Args:
            busy: whether the member waits for something that is away, which is no stall.

        Raises:
            Stalled: for the time of the limit some partition had records to handle and its offset did not move.
        """
        behind: dict[TopicPartition, tuple[int, float]] = {}
        while True:
            await asyncio.sleep(self._limit / 4)
            now = time.monotonic()
            if busy() or now - self._progress < self._limit / 2:
                behind.clear()
                continue
            try:
                async with asyncio.timeout(30):
                    waiting = await self._waiting()
            except (KafkaError, OSError) as error:
                log.info("the group cannot be looked at", group=self._group, error=repr(error))
                behind.clear()
                continue
            behind = {
                partition: behind[partition] if behind.get(partition, (None,))[0] == committed else (committed, now)
                for partition, committed in waiting.items()
            }
            for partition, (committed, since) in behind.items():
                if now - since >= self._limit:
                    raise Stalled(
                        f"{self._group}: {partition.topic} {partition.partition} has records after {committed} and "
                        f"nothing has moved for {now - since:.0f} s"
                    )

    async def _waiting(self) -> dict[TopicPartition, int]:
        """Partitions with records to handle, and the group's offset in each."""
        client = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers,
            group_id=self._settings.kafka_prefix + self._group,
            enable_auto_commit=False,
        )
        try:
            await client.start()
            partitions = [
                TopicPartition(self._settings.kafka_prefix + topic.name, number)
                for topic in self._topics
                for number in range(topic.partitions)
            ]
            ends = await client.end_offsets(partitions)
            waiting = {}
            for partition, end in ends.items():
                committed = await client.committed(partition) or 0
                if committed < end:
                    waiting[partition] = committed
            return waiting
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await client.stop()
