"""Kafka and PostgreSQL away, for seconds or minutes: writing goes on, nothing is lost."""

import asyncio
import signal
import time

import pytest

from tests.chaos.conftest import Scene
from tests.chaos.counts import rounds, seconds_and_rounds
from tests.chaos.findings import percentile
from tests.chaos.ledger import Operation
from tests.waiting import eventually


async def unpublished(scene: Scene) -> int:
    return int(await scene.ledger.value("comments", "select count(*) from outbox where published_at is null"))


@seconds_and_rounds(short=[5], full=[5, 60, 180], rounds=5)
async def test_kafka_killed_and_gone(scene: Scene, away: int, rounds: int) -> None:
    """The relay is back within 15 s of the broker, without a restart, however long it was away."""
    relay = scene.stack.part("comments", "relay").process.pid
    for _ in range(rounds):
        usual = await measured(scene, 5)
        await asyncio.to_thread(scene.servers.broker.kill)
        outage = await measured(scene, away)
        assert all(operation.outcome in ("ok", "failed") for operation in outage)
        assert sum(operation.attempts > 1 for operation in outage) <= len(outage) * 0.001
        waiting = await unpublished(scene)
        assert waiting > 0
        await asyncio.to_thread(scene.servers.broker.start)
        back = time.monotonic()

        async def moves(waiting: int = waiting) -> bool:
            return await unpublished(scene) < waiting

        await eventually(moves, timeout=60)
        recovered = time.monotonic() - back
        drained = asyncio.create_task(drain_rate(scene, waiting, back))
        if rounds > 1:  # the full test has the machine to itself
            assert recovered <= 15
        await scene.verdict()
        print(
            f"Kafka away for {away} s: the relay was back after {recovered:.1f} s and published {await drained:.0f}/s; "
            f"{len(outage) / away:.0f} writes/s meanwhile, p99 {p99(outage):.3f} s, before {p99(usual):.3f} s"
        )
    assert scene.stack.part("comments", "relay").process.pid == relay


async def measured(scene: Scene, seconds: float) -> list[Operation]:
    """What clients did in that time."""
    begun = len(scene.ledger.operations)
    async with scene.writing(pause=0.1):
        await asyncio.sleep(seconds)  # the length of the outage is what is tested
    return scene.ledger.operations[begun:]


async def drain_rate(scene: Scene, waiting: int, since: float) -> float:
    """Events published in a second until none waits."""

    async def none_waits() -> bool:
        return not await unpublished(scene)

    await eventually(none_waits, timeout=300)
    return waiting / (time.monotonic() - since)


def p99(operations: list[Operation]) -> float:
    return percentile([operation.seconds for operation in operations], 0.99)


@rounds(short=1, full=10)
@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
async def test_postgres_restarted(scene: Scene, rounds: int, how: str) -> None:
    """Writing goes on within 10 s of its return; nothing but 503 was answered meanwhile, and no connection is lost."""
    postgres = scene.servers.postgres
    slowest = 0.0
    for _ in range(rounds):
        async with scene.writing():
            match how:
                case "fast":
                    await asyncio.to_thread(postgres.stop)
                case "immediate":
                    assert postgres.process is not None
                    postgres.process.send_signal(signal.SIGQUIT)
                    await asyncio.to_thread(postgres.finish)
                case "kill":
                    await asyncio.to_thread(postgres.kill)
            await asyncio.to_thread(postgres.start)
            back, done = time.monotonic(), succeeded(scene)
            await eventually(lambda done=done: succeeded(scene) > done + 5, timeout=120)  # type: ignore[misc]  # binds the value
            slowest = max(slowest, time.monotonic() - back)
    await scene.verdict()
    print(f"PostgreSQL {how}, {rounds} times: writing went on within {slowest:.1f} s of its return")
    if rounds > 1:  # the full test has the machine to itself
        assert slowest <= 10

    async def none_borrowed() -> bool:
        return await scene.borrowed_connections() == 0

    await eventually(none_borrowed, timeout=10)


def succeeded(scene: Scene) -> int:
    return sum(operation.outcome == "ok" for operation in scene.ledger.operations)
