"""Poison on real Kafka and PostgreSQL: more than 20 failures in a row stop one partition, and nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.chassis.errors import Problem
from services.chassis.messaging import dead_letter
from services.chassis.messaging.consumer import Consumer
from services.chassis.messaging.group_offsets import read_offsets
from services.chassis.messaging.partition_operations import PartitionOperations
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.people import PersonRenamed
from services.contracts.topics import PEOPLE
from tests.conftest import NewDatabase, OwnDatabase
from tests.integration.chassis_effects import (
    GROUP,
    Effects,
    consumer_for,
    effects_are,
    has_dead_letters,
    publish,
    send,
)
from tests.integration.chassis_harness import renamed_event, running
from tests.waiting import eventually


@pytest.fixture
def settings(kafka: str, kafka_prefix: str) -> Settings:
    return Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)


@pytest.fixture
async def db(new_database: NewDatabase) -> OwnDatabase:
    db = await new_database("services.chassis")
    async with db.transaction() as tx:
        await tx.execute(
            "create table effects (id bigint generated always as identity, event_id uuid, person_id uuid, version int)"
        )
    return db


@pytest.fixture
def effects(db: OwnDatabase) -> Effects:
    return Effects(db)


@pytest.fixture
def operator(db: OwnDatabase, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> PartitionOperations:
    monkeypatch.setattr("services.chassis.messaging.partition_operations.SUBSCRIPTIONS", {GROUP: (PEOPLE,)})
    return PartitionOperations(db, GROUP, settings)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.chassis.messaging.record_processor.RETRY_SECONDS", (0.0,) * 5)


async def garbage(settings: Settings, count: int, partition: int = 0) -> None:
    producer = Producer(settings)
    for number in range(count):
        await send(settings, None, b"garbage %d" % number, [], partition=partition, producer=producer)
    await producer.close()


async def partition_of(operator: PartitionOperations, number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = (await operator.status())["partitions"][number]
    assert found["partition"] == number
    return found


async def is_in(operator: PartitionOperations, state: str, number: int = 0, **fields: Any) -> bool:
    found = await partition_of(operator, number)
    return {"state": state, **fields}.items() <= found.items()


async def next_offset(settings: Settings, number: int = 0) -> int:
    """Return what the group has committed."""
    offsets = await read_offsets(settings, GROUP, [PEOPLE])
    return offsets[TopicPartition(settings.kafka_prefix + PEOPLE.name, number)][0]


def metric(state: str, partition: int = 0) -> float | None:
    labels = {"group": GROUP, "topic": PEOPLE.name, "partition": str(partition)}
    return REGISTRY.get_sample_value(f"rapport_consumer_partition_{state}", labels)


@contextlib.asynccontextmanager
async def stopped(effects: Effects, settings: Settings, operator: PartitionOperations) -> AsyncIterator[Consumer]:
    """Run a consumer whose partition 0 stops at 60 garbage records behind 3 good ones."""
    await publish(settings, *(renamed_event(version=version) for version in range(3)))
    await garbage(settings, 60)
    consumer = consumer_for(effects, settings)
    async with running(consumer.run):
        await eventually(lambda: is_in(operator, "stopped", next_offset=3), timeout=30)
        yield consumer


async def test_garbage_in_one_poll_stops_its_partition_alone(
    effects: Effects, settings: Settings, operator: PartitionOperations
) -> None:
    """The others go on; restarted twice it is the same: no dead letter, no crash, nothing committed beyond."""
    with capture_logs() as logs:
        async with stopped(effects, settings, operator) as consumer:
            await publish(settings, renamed_event(version=7), partition=1)
            await effects_are(effects, [0, 1, 2, 7])
            assert await consumer.ready()
            await eventually(lambda: metric("stopped") == 1)
            assert metric("stopped", 1) == metric("paused") == 0
    [line] = [entry for entry in logs if entry["log_level"] == "critical"]
    assert (line["topic"], line["partition"], line["offset"], line["failures"]) == (PEOPLE.name, 0, 3, 21)
    for round in range(2):
        consumer = consumer_for(effects, settings)
        async with running(consumer.run):
            await publish(settings, renamed_event(version=8 + round), partition=1)
            await effects_are(effects, [0, 1, 2, 7, *range(8, 9 + round)], timeout=30)
            assert await consumer.ready()
    found = await partition_of(operator)
    assert (found["state"], found["next_offset"], found["end"], found["lag"], found["failures"]) == (
        *("stopped", 3, 63, 60, 21),
    )
    assert found["reason"].startswith("Undecodable: ")
    assert found["since"]
    assert await next_offset(settings) == 3
    assert await dead_letter.entries(settings, GROUP) == []


async def test_a_stopped_partition_is_no_stall(
    effects: Effects, settings: Settings, operator: PartitionOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog looks often enough to end the consumer, and does not."""
    looks = 0

    async def counted(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return await read_offsets(*arguments)

    monkeypatch.setattr("services.chassis.messaging.watchdog.read_offsets", counted)
    settings = settings.model_copy(update={"consumer_stall_seconds": 4.0})
    async with stopped(effects, settings, operator):
        async with effects.db.transaction() as tx:
            await tx.execute("update consumer_partitions set since = now() - interval '1 hour'")
        before = looks
        await eventually(lambda: looks >= before + 8, timeout=40)  # one a second
        await publish(settings, renamed_event(version=7), partition=1)
        await effects_are(effects, [0, 1, 2, 7])


async def test_failures_of_a_handler_stop_the_partition_and_resume_tries_again(
    effects: Effects, settings: Settings, operator: PartitionOperations
) -> None:
    """No dead letter: once the cause is removed, all records have their effects, in order."""

    async def fail(event: PersonRenamed) -> None:
        if event.version < 100:
            raise ValueError("everything\0")

    effects.before = fail
    await publish(settings, *(renamed_event(version=version) for version in range(30)))
    async with running(consumer_for(effects, settings).run):
        await publish(settings, renamed_event(version=100), partition=1)
        await eventually(lambda: is_in(operator, "stopped", failures=21, next_offset=0), timeout=30)
        await effects_are(effects, [100])
        assert await operator.resume(PEOPLE.name, 0, dry_run=True) == [{"topic": PEOPLE.name, "partition": 0}]
        await operator.resume(None, None, dry_run=False)
        calls = effects.calls
        await eventually(lambda: effects.calls >= calls + 21 * 5, timeout=30)  # a fresh count, and the same end
        await eventually(lambda: is_in(operator, "stopped", failures=21, next_offset=0), timeout=30)
        effects.before = None
        await operator.resume(PEOPLE.name, 0, dry_run=False)
        await effects_are(effects, [100, *range(30)], timeout=30)
        await eventually(lambda: is_in(operator, "running", lag=0, failures=0))
        await eventually(lambda: metric("stopped") == 0)
    assert await dead_letter.entries(settings, GROUP) == []


async def test_skip_puts_the_range_aside_and_goes_on_behind_it(
    effects: Effects, settings: Settings, operator: PartitionOperations
) -> None:
    async with stopped(effects, settings, operator):
        await publish(settings, renamed_event(version=9))
        for first, last, sentence in (
            (2, 62, "people.events 0 stands at 3"),
            (4, 62, "people.events 0 stands at 3"),
            (3, 64, "people.events 0 has no record 64: its last one is 63"),
        ):
            with pytest.raises(Problem, match=sentence) as refused:
                await operator.skip(PEOPLE.name, 0, first, last, dry_run=False)
            assert refused.value.kind == "wrong-state"
        with pytest.raises(Problem, match=r"people.events 1 runs: pause it first"):
            await operator.skip(PEOPLE.name, 1, 0, 0, dry_run=False)
        for wrong in ((PEOPLE.name, 12, 0, 0), ("posts.events", 0, 0, 0), (PEOPLE.name, 0, 3, 2)):
            with pytest.raises(Problem, match="invalid"):
                await operator.skip(*wrong, dry_run=False)
        await operator.skip(PEOPLE.name, 0, 3, 62, dry_run=True)
        assert await is_in(operator, "stopped", skipping=None)
        await operator.skip(PEOPLE.name, 0, 3, 62, dry_run=False)
        await effects_are(effects, [0, 1, 2, 9], timeout=30)
        await operator.skip(PEOPLE.name, 0, 3, 62, dry_run=False)  # repeated after it was done: nothing happens
        await publish(settings, renamed_event(version=10))
        await effects_are(effects, [0, 1, 2, 9, 10])
        await eventually(lambda: is_in(operator, "running", lag=0, skipping=None, failures=0))
    letters = await dead_letter.entries(settings, GROUP)
    assert [letter.offset for letter in letters] == list(range(3, 63))
    assert {letter.error for letter in letters} == {"Skipped: by an operator"}
    assert [letter.value for letter in letters] == [b"garbage %d" % number for number in range(60)]


async def test_skip_is_obeyed_by_a_consumer_that_starts_later_and_goes_on_after_a_kill(
    effects: Effects, settings: Settings, operator: PartitionOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stopped(effects, settings, operator):
        pass
    await operator.skip(PEOPLE.name, 0, 3, 62, dry_run=False)
    real, published = dead_letter.publish, 0

    async def publish_some(*arguments: Any) -> None:
        nonlocal published
        published += 1
        if published == 30:
            await asyncio.Event().wait()
        await real(*arguments)

    monkeypatch.setattr(dead_letter, "publish", publish_some)
    killed = asyncio.create_task(consumer_for(effects, settings).run(asyncio.Event()))
    await eventually(lambda: published == 30, timeout=30)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    assert await is_in(operator, "stopped", skipping="3..62")
    async with running(consumer_for(effects, settings).run):
        await publish(settings, renamed_event(version=9))
        await effects_are(effects, [0, 1, 2, 9], timeout=30)
        await eventually(lambda: is_in(operator, "running", lag=0))
    letters = await dead_letter.entries(settings, GROUP)
    assert {letter.offset for letter in letters} == set(range(3, 63))  # some of them twice, as after any kill


async def test_pause_and_resume_of_a_partition_that_runs(
    effects: Effects, settings: Settings, operator: PartitionOperations
) -> None:
    await publish(settings, renamed_event(version=1))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [1])
        assert len(await operator.pause(PEOPLE.name, None, dry_run=True)) == PEOPLE.partitions
        await operator.pause(PEOPLE.name, 0, dry_run=False)
        await eventually(lambda: metric("paused") == 1)
        await publish(settings, renamed_event(version=2))
        await publish(settings, renamed_event(version=3), partition=1)
        await effects_are(effects, [1, 3])
        assert await is_in(operator, "paused", next_offset=1, lag=1, reason="paused by an operator")
    async with running(consumer_for(effects, settings).run):  # a restart finds it paused
        await publish(settings, renamed_event(version=4), partition=1)
        await effects_are(effects, [1, 3, 4], timeout=30)
        await operator.resume(PEOPLE.name, 0, dry_run=False)
        await effects_are(effects, [1, 3, 4, 2])
        assert (await operator.status())["running"] is True


async def test_a_rebalance_finds_a_partition_stopped(
    effects: Effects, settings: Settings, operator: PartitionOperations
) -> None:
    """A second member joins, then the first one leaves for good: whoever has the partition leaves it alone."""
    second = settings.model_copy(update={"instance": "second"})
    async with contextlib.AsyncExitStack() as later:
        async with stopped(effects, settings, operator):
            await later.enter_async_context(running(consumer_for(effects, second).run))
            for number in range(PEOPLE.partitions - 1):
                await publish(settings, renamed_event(version=10 + number), partition=number + 1)
            await eventually(lambda: has_effects(effects, 14), timeout=40)
        for number in range(PEOPLE.partitions - 1):
            await publish(settings, renamed_event(version=30 + number), partition=number + 1)
        await eventually(lambda: has_effects(effects, 25), timeout=60)  # after the session of the first has ended
        assert await is_in(operator, "stopped", next_offset=3, failures=21)
        await operator.skip(PEOPLE.name, 0, 3, 62, dry_run=False)
        await publish(settings, renamed_event(version=50))
        await eventually(lambda: has_effects(effects, 26), timeout=30)
    assert len(await dead_letter.entries(settings, GROUP)) == 60


async def has_effects(effects: Effects, count: int) -> bool:
    return len(await effects.versions()) == count


async def test_failures_are_counted_over_polls_and_restarts(
    effects: Effects, settings: Settings, operator: PartitionOperations
) -> None:
    """A row that gets no longer becomes dead letters, as before; the next process goes on counting."""
    for _ in range(2):
        async with running(consumer_for(effects, settings).run):
            before = len(await dead_letter.entries(settings, GROUP))
            await garbage(settings, 10)
            await eventually(lambda count=before + 10: has_dead_letters(settings, count), timeout=30)  # type: ignore[misc]
    await eventually(lambda: is_in(operator, "running", failures=20))
    async with running(consumer_for(effects, settings).run):
        await garbage(settings, 1)
        await eventually(lambda: is_in(operator, "stopped", failures=21, next_offset=20), timeout=30)
    assert len(await dead_letter.entries(settings, GROUP)) == 20


async def test_a_success_clears_the_count(effects: Effects, settings: Settings, operator: PartitionOperations) -> None:
    """Three times 15 garbage records with a good one behind them stop nothing; also in one poll, and over restarts."""
    for version in range(3):
        await garbage(settings, 15)
        await publish(settings, renamed_event(version=version))
    async with running(consumer_for(effects, settings).run):
        await effects_are(effects, [0, 1, 2], timeout=30)
        await eventually(lambda: has_dead_letters(settings, 45))
        await garbage(settings, 15)
        await eventually(lambda: is_in(operator, "running", failures=15))
    async with running(consumer_for(effects, settings).run):
        await publish(settings, renamed_event(version=3))
        await effects_are(effects, [0, 1, 2, 3], timeout=30)
        await eventually(lambda: is_in(operator, "running", failures=0, reason=None))
        await eventually(lambda: has_dead_letters(settings, 60))


async def test_one_garbage_record_behind_others_is_one_dead_letter(
    effects: Effects, settings: Settings, operator: PartitionOperations
) -> None:
    await publish(settings, renamed_event(version=1))
    await garbage(settings, 1)
    async with running(consumer_for(effects, settings).run):
        await eventually(lambda: has_dead_letters(settings, 1), timeout=30)
        await eventually(lambda: is_in(operator, "running", lag=0, failures=1))
        await publish(settings, renamed_event(version=2))
        await effects_are(effects, [1, 2])
    assert len(await dead_letter.entries(settings, GROUP)) == 1


async def test_status_without_a_consumer_and_without_kafka(
    settings: Settings, operator: PartitionOperations, db: OwnDatabase
) -> None:
    await create_topics(settings.kafka_bootstrap_servers, settings.kafka_prefix)
    answer = await operator.status()
    assert answer["running"] is False
    assert {(each["state"], each["lag"]) for each in answer["partitions"]} == {("running", 0)}
    away = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:9"})
    answer = await PartitionOperations(db, GROUP, away).status()
    assert (answer["running"], answer["partitions"][0]["lag"]) == (None, None)
