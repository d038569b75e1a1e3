"""Partition operations: what an operator sees of a consumer group and asks of it, through the service's internal API.

Kafka refuses commits of others to a group that runs. So an operator's wish is a row in the database, which the consumer
reads every half second.
"""

import asyncio
import contextlib
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem, invalid, unavailable
from services.chassis.messaging import partition_states
from services.chassis.messaging.group_offsets import member_count, read_offsets
from services.chassis.messaging.partition_states import PartitionState
from services.chassis.runtime.settings import Settings
from services.contracts.event import rfc3339
from services.contracts.topics import SUBSCRIPTIONS

KAFKA_SECONDS = 15


class PartitionOperations:
    """The operations on the partitions of one group."""

    def __init__(self, db: Database, group: str, settings: Settings) -> None:
        self._db = db
        self._group = group
        self._settings = settings
        self._topics = SUBSCRIPTIONS[group]

    async def status(self) -> dict[str, Any]:
        """Return every partition with its state and offsets, and whether the consumer runs; None where Kafka is away.

        Kafka takes a killed member for a running one until its session has ended, after 10 s.
        """
        async with self._db.reader() as reader:
            states = await partition_states.select_states(reader, self._group)
        known = {(state.topic, state.partition): state for state in states}
        offsets: dict[TopicPartition, tuple[int, int]] = {}
        running: bool | None = None
        with contextlib.suppress(Problem):
            offsets, running = await self._ask_kafka()
        prefix = self._settings.kafka_prefix
        return {
            "group": self._group,
            "running": running,
            "partitions": [
                _shown(topic, number, known.get((topic, number)), offsets.get(TopicPartition(prefix + topic, number)))
                for topic, number in self._chosen(None, None)
            ],
        }

    async def pause(self, topic: str | None, partition: int | None, *, dry_run: bool) -> list[dict[str, Any]]:
        """Pause partitions that run, one or all, and return them."""
        async with self._db.transaction() as tx:
            halted = await self._lock_halted(tx)
            wanted = [key for key in self._chosen(topic, partition) if key not in halted]
            if not dry_run:
                await partition_states.pause(tx, self._group, wanted)
        return [{"topic": topic, "partition": number} for topic, number in wanted]

    async def resume(self, topic: str | None, partition: int | None, *, dry_run: bool) -> list[dict[str, Any]]:
        """Let stopped and paused partitions, one or all, try again with a fresh count, and return them.

        A skip under way ends; what was put aside stays aside.
        """
        async with self._db.transaction() as tx:
            halted = await self._lock_halted(tx)
            wanted = [key for key in self._chosen(topic, partition) if key in halted]
            if not dry_run:
                await partition_states.resume(tx, self._group, wanted)
        return [{"topic": topic, "partition": number} for topic, number in wanted]

    async def skip(self, topic: str, partition: int, first: int, last: int, *, dry_run: bool) -> None:
        """Have records of a stopped or paused partition put aside as dead letters; it runs on behind them.

        Asking again for the same records changes nothing.

        Raises:
            Problem: `wrong-state` where the partition runs or stands elsewhere; `unavailable` where Kafka is away.
        """
        self._chosen(topic, partition)
        if last < first:
            raise invalid("last", f"must not be less than {first}")
        offsets, _ = await self._ask_kafka()
        _, end = offsets[TopicPartition(self._settings.kafka_prefix + topic, partition)]
        async with self._db.transaction() as tx:
            states = await partition_states.lock_states(tx, self._group)
            state = next((state for state in states if (state.topic, state.partition) == (topic, partition)), None)
            if (
                state is not None
                and (state.skip_first, state.skip_last) == (first, last)
                and not is_halted_without_skip(state)
            ):
                return
            check_skip(f"{topic} {partition}", state, first, last, end)
            if not dry_run:
                await partition_states.skip(tx, self._group, topic, partition, first, last)

    async def _lock_halted(self, tx: Transaction) -> set[tuple[str, int]]:
        """Lock the states of the group; return the partitions that are stopped or paused, skips under way included."""
        states = await partition_states.lock_states(tx, self._group)
        return {(state.topic, state.partition) for state in states if state.state != "running"}

    def _chosen(self, topic: str | None, partition: int | None) -> list[tuple[str, int]]:
        """Return the partitions that are meant.

        Raises:
            Problem: `invalid`: the group reads no such topic or partition.
        """
        every = [(each.name, number) for each in self._topics for number in range(each.partitions)]
        names = [each.name for each in self._topics]
        if topic is not None and topic not in names:
            raise invalid("topic", f"must be one that {self._group} reads: {', '.join(names)}")
        chosen = [key for key in every if topic in (None, key[0]) and partition in (None, key[1])]
        if not chosen:
            raise invalid("partition", f"must be one of 0 to {max(number for _, number in every)}")
        return chosen

    async def _ask_kafka(self) -> tuple[dict[TopicPartition, tuple[int, int]], bool]:
        try:
            async with asyncio.timeout(KAFKA_SECONDS):
                offsets = await read_offsets(self._settings, self._group, self._topics)
                return offsets, await member_count(self._settings, self._group) > 0
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            raise unavailable("Kafka does not answer, or refuses.") from error


def is_halted_without_skip(state: PartitionState) -> bool:
    """Return whether a partition is stopped or paused, and stays so."""
    return state.state != "running" and not state.skipping


def check_skip(name: str, state: PartitionState | None, first: int, last: int, end: int) -> None:
    """Check that records may be put aside.

    Raises:
        Problem: `wrong-state`; the sentence says where the partition stands and what to do.
    """
    if state is None or state.state == "running":
        raise Problem("wrong-state", f"{name} runs: pause it first, then skip from where it stands.")
    if state.skipping:
        raise Problem("wrong-state", f"{name} puts {state.skip_first}..{state.skip_last} aside already.")
    if state.next_offset is None:
        raise Problem("wrong-state", f"{name} is not paused by its consumer yet: see that it runs, and repeat this.")
    if first != state.next_offset:
        raise Problem("wrong-state", f"{name} stands at {state.next_offset}: the range must begin there.")
    if last >= end:
        raise Problem("wrong-state", f"{name} has no record {last}: its last one is {end - 1}.")


def _shown(topic: str, number: int, state: PartitionState | None, offsets: tuple[int, int] | None) -> dict[str, Any]:
    done, end = offsets or (None, None)
    halted = state is not None and state.state != "running"
    if halted and state is not None and state.next_offset is not None:
        done = state.next_offset
    told = state is not None and (halted or state.failures > 0)
    return {
        "topic": topic,
        "partition": number,
        "state": state.state if state is not None else "running",
        "next_offset": done,
        "end": end,
        "lag": max(0, end - done) if end is not None and done is not None else None,
        "failures": state.failures if state is not None else 0,
        "reason": state.reason if state is not None else None,
        "since": rfc3339(state.since) if state is not None and told else None,
        "skipping": f"{state.skip_first}..{state.skip_last}" if state is not None and state.skipping else None,
    }
