"""Partition control: pauses, resumes and skips at the client what the states of the partitions say."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.chassis.messaging.brake import Brake
from services.chassis.messaging.dead_letter_writer import DeadLetterWriter
from services.chassis.messaging.partition_states import PartitionState
from services.chassis.messaging.patience import Patience, is_unavailable
from services.chassis.runtime.timeouts import wait_at_most

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
POSITION_SECONDS = 10

Polled = Mapping[TopicPartition, Sequence[Any]]
Commit = Callable[[Mapping[TopicPartition, int]], Awaitable[bool]]


class Skipped(Exception):
    """An operator has put the record aside."""

    def __init__(self) -> None:
        super().__init__("by an operator")


class PartitionControl:
    """Keeps one client where the states say it may read.

    Args:
        commit: commits offsets with this client; returns whether it did.
    """

    def __init__(
        self, client: AIOKafkaConsumer, brake: Brake, writer: DeadLetterWriter, patience: Patience, commit: Commit
    ) -> None:
        self._client = client
        self._brake = brake
        self._writer = writer
        self._patience = patience
        self._commit = commit
        self._known: set[TopicPartition] | None = None  # the assignment when the states were read last
        self._look_at = 0.0

    def forget(self) -> None:
        """Read the states again before anything is processed: partitions come or go."""
        self._known = None

    async def obey(self, polled: Polled, stop: asyncio.Event) -> Polled:
        """Read the states if they may be old, bring the client to them, and return the records that may be processed.

        Raises:
            Interrupted: the process stops, or a rebalance begins; what was polled must not be processed.
        """
        assigned = self._client.assignment()
        if self._known != assigned:
            await self._patience.until_done(self._brake.look, stop)
            self._known, self._look_at = assigned, time.monotonic() + LOOK_SECONDS
        elif time.monotonic() >= self._look_at:
            await self._look_again()
        halted = self._brake.halted & assigned
        paused = self._client.paused()
        if not halted and not paused:
            return polled
        for partition in paused - halted:
            log.warning("partition resumed", **_position(partition))
            self._client.resume(partition)
        for partition in halted:
            state = self._brake.states[partition]
            records = polled.get(partition, ())
            if state.skipping:
                await self._skip(partition, state, records, stop)
            elif partition not in paused:
                await self._pause(partition, records, stop)
        return {partition: records for partition, records in polled.items() if partition not in halted}

    async def pause_stopped(self, stop: asyncio.Event) -> None:
        """Pause what was stopped in this pass, even if an operator has resumed it meanwhile: it is read again then.

        Raises:
            Interrupted: the process stops, or a rebalance begins.
        """
        for partition in self._brake.stopping & self._client.assignment():
            await self._pause(partition, (), stop)

    async def _look_again(self) -> None:
        self._look_at = time.monotonic() + LOOK_SECONDS
        try:
            await self._brake.look()
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.info("the states of partitions could not be read; the last known ones are used", error=repr(error))

    async def _pause(self, partition: TopicPartition, records: Sequence[Any], stop: asyncio.Event) -> None:
        offset = self._brake.first_held(partition)
        if offset is None:
            offset = records[0].offset if records else await self._read_position(partition)
        self._client.pause(partition)
        self._client.seek(partition, offset)
        self._brake.forget([partition])
        log.warning("partition paused", **_position(partition), offset=offset)
        await self._patience.until_done(lambda: self._brake.paused_at(partition, offset), stop)

    async def _skip(
        self, partition: TopicPartition, state: PartitionState, records: Sequence[Any], stop: asyncio.Event
    ) -> None:
        """Put records of the range aside, commit behind them, and let the partition run behind the last."""
        if partition in self._client.paused():
            self._client.resume(partition)
        last = state.skip_last or 0
        aside = [record for record in records if record.offset <= last]
        for record in aside:
            await self._writer.put_aside(record, Skipped(), 0, "skipped", stop)
        behind = records[len(aside) :]
        if behind:
            offset = behind[0].offset
            self._client.seek(partition, offset)
        else:
            offset = aside[-1].offset + 1 if aside else await self._read_position(partition)
        if (aside or offset > last) and await self._commit({partition: offset}) and offset > last:
            await self._patience.until_done(lambda: self._brake.end_skip(partition), stop)
            log.warning("records skipped", **_position(partition), first=state.skip_first, last=last)

    async def _read_position(self, partition: TopicPartition) -> int:
        return int(await wait_at_most(POSITION_SECONDS, self._client.position(partition)))


def _position(partition: TopicPartition) -> dict[str, object]:
    return {"topic": partition.topic, "partition": partition.partition}
