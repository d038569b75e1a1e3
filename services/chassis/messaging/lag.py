"""The lag of consumer groups, measured by a process that is no member of them, so that it is seen while they are down.

A measurement is four requests to the broker for each group, with clients of its own that are closed after it. While the
broker does not answer, the lag is unknown, and its metrics have no value.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.chassis.messaging.broker_clients import administering, partitions_of, reading
from services.chassis.runtime.metrics import Gauge
from services.chassis.runtime.settings import Settings
from services.chassis.runtime.telemetry import CONSUMER_LAG, CONSUMER_STUCK
from services.chassis.runtime.timeouts import wait_at_most
from services.chassis.runtime.waiting import Periodic
from services.contracts.topics import Topic

log = structlog.get_logger(__name__)

# registered only in processes that measure: elsewhere its 0 would be false
LAG_UNKNOWN = Gauge("rapport_consumer_lag_unknown", "1 while the lag of consumers cannot be measured")

EVERY_SECONDS = 10.0
ANSWER_SECONDS = 20.0

Offsets = dict[TopicPartition, tuple[int, int]]


class LagMeter:
    """Measures how far groups are behind their topics, and how long they have stood still.

    Args:
        subscriptions: the topics that each group reads.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        subscriptions: Mapping[str, Sequence[Topic]],
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._subscriptions = subscriptions
        self._settings = settings
        self._clock = clock
        self._stuck_since: dict[tuple[str, TopicPartition], tuple[int, float]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Measure until `stop` is set, through every outage of Kafka."""
        await Periodic("measure lag", EVERY_SECONDS, self.measure, jitter=0.1).run(stop)

    async def measure(self) -> None:
        """Measure once. If the broker does not tell, no lag is known, and every partition counts as moving."""
        try:
            found = await wait_at_most(ANSWER_SECONDS, self._read())
        except (KafkaError, OSError) as error:
            log.warning("the lag of consumers cannot be measured", error=repr(error))
            self._stuck_since.clear()
            CONSUMER_LAG.clear()
            CONSUMER_STUCK.clear()
            LAG_UNKNOWN.set(1)
            return
        LAG_UNKNOWN.set(0)
        for group, offsets in found.items():
            for topic in self._subscriptions[group]:
                name = self._settings.kafka_prefix + topic.name
                own = {part: offset for part, offset in offsets.items() if part.topic == name}
                CONSUMER_LAG.labels(group, topic.name).set(sum(end - done for done, end in own.values()))
                CONSUMER_STUCK.labels(group, topic.name).set(max(self._stuck(group, *each) for each in own.items()))

    def _stuck(self, group: str, part: TopicPartition, offset: tuple[int, int]) -> float:
        """Return for how many seconds a partition has had unhandled records while its offset did not move."""
        done, end = offset
        if done >= end:
            self._stuck_since.pop((group, part), None)
            return 0.0
        now = self._clock()
        known, since = self._stuck_since.get((group, part), (-1, now))
        if known != done:
            since = now
        self._stuck_since[group, part] = (done, since)
        return now - since

    async def _read(self) -> dict[str, Offsets]:
        """Return for each group and partition the next offset of the group, and the end."""
        async with reading(self._settings) as consumer, administering(self._settings) as admin:
            return {group: await self._read_group(consumer, admin, group) for group in self._subscriptions}

    async def _read_group(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient, group: str) -> Offsets:
        name = self._settings.kafka_prefix + group
        parts = [part for topic in self._subscriptions[group] for part in partitions_of(self._settings, topic)]
        begins, ends = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
        committed = await admin.list_consumer_group_offsets(name, partitions=parts)
        if any(part not in committed for part in parts):
            # aiokafka does not look at the error of the whole answer, which has no partitions then
            raise KafkaError(f"the broker does not tell the offsets of {name}")
        # -1 says that the group has none
        return {part: (min(max(committed[part].offset, begins[part]), ends[part]), ends[part]) for part in parts}
