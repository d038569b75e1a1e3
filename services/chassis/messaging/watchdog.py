"""The consumer watchdog: ends a consumer whose group has records to handle and does not move.

An idle topic is not a stall, and neither is a broker or a database that is away: a restart would not help.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import CONSUMER_LAG
from services.chassis.runtime.timeouts import wait_at_most
from services.chassis.runtime.waiting import sleep_until
from services.contracts.topics import Topic

log = structlog.get_logger(__name__)

LOOK_SECONDS = 15.0


class Stalled(Exception):
    """Records wait and nothing moves; only a new process may help."""


class ConsumerWatchdog:
    """Looks at the group from outside, with a client of its own, which shares no fault with the consumer's."""

    def __init__(self, group: str, topics: Sequence[Topic], settings: Settings) -> None:
        self._settings = settings
        self._group = group
        self._topics = topics
        self._limit = settings.consumer_stall_seconds

    async def run(self, over: asyncio.Event, busy: Callable[[], bool]) -> None:
        """Watch until `over` is set, and keep the metric of the group's lag.

        Args:
            busy: whether the member waits for something that is away, which is no stall.

        Raises:
            Stalled: for the time of the limit some partition had records to handle and its offset did not move.
        """
        behind: dict[TopicPartition, tuple[int, float]] = {}
        while not over.is_set():
            if await sleep_until(over, min(LOOK_SECONDS, self._limit / 4)):
                return
            try:
                offsets = await wait_at_most(30, self._look())
            except (KafkaError, OSError) as error:
                log.info("the group cannot be looked at", group=self._group, error=repr(error))
                behind.clear()
                continue
            self._measure(offsets)
            now = time.monotonic()
            waiting = {} if busy() else {place: done for place, (done, end) in offsets.items() if done < end}
            behind = {
                place: behind[place] if place in behind and behind[place][0] == done else (done, now)
                for place, done in waiting.items()
            }
            for place, (done, since) in behind.items():
                if now - since >= self._limit:
                    raise Stalled(
                        f"{self._group}: {place.topic} {place.partition} has records from {done} on and nothing has "
                        f"moved for {now - since:.0f} s"
                    )

    def _measure(self, offsets: Mapping[TopicPartition, tuple[int, int]]) -> None:
        for topic in self._topics:
            name = self._settings.kafka_prefix + topic.name
            lag = sum(max(0, end - done) for place, (done, end) in offsets.items() if place.topic == name)
            CONSUMER_LAG.labels(self._group, topic.name).set(lag)

    async def _look(self) -> dict[TopicPartition, tuple[int, int]]:
        """For each partition the offset at which the group goes on, and the end."""
        client = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers,
            group_id=self._settings.kafka_prefix + self._group,
            enable_auto_commit=False,
            request_timeout_ms=5_000,
        )
        try:
            await client.start()
            places = [
                TopicPartition(self._settings.kafka_prefix + topic.name, number)
                for topic in self._topics
                for number in range(topic.partitions)
            ]
            begins, ends = await client.beginning_offsets(places), await client.end_offsets(places)
            done = {place: await client.committed(place) for place in places}
            return {place: (max(done[place] or 0, begins[place]), ends[place]) for place in places}
        finally:
            with contextlib.suppress(Exception):
                await wait_at_most(5, client.stop())
