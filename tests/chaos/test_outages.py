"""Kafka, PostgreSQL and Valkey away, for seconds or minutes: writing goes on, nothing is lost."""

import asyncio
import time

import pytest

from tests.chaos.conftest import Scene
from tests.chaos.counts import rounds, seconds
from tests.waiting import eventually

pytestmark = pytest.mark.xdist_group("chaos")


async def unpublished(scene: Scene) -> int:
    return int(await scene.ledger.value("comments", "select count(*) from outbox where published_at is null"))


@seconds(short=[5], full=[5, 60, 180])
async def test_kafka_killed_and_gone(scene: Scene, away: int) -> None:
    """The relay is back within 15 s of the broker, without a restart, however long it was away."""
    relay = scene.stack.part("comments", "relay").process.pid
    await asyncio.to_thread(scene.servers.broker.kill)
    written = len(scene.ledger.operations)
    async with scene.writing(pause=0.1):
        await asyncio.sleep(away)  # the length of the outage is what is tested
    assert all(operation.outcome == "ok" for operation in scene.ledger.operations[written:])
    waiting = await unpublished(scene)
    assert waiting > 0
    await asyncio.to_thread(scene.servers.broker.start)
    back = time.monotonic()

    async def moves() -> bool:
        return await unpublished(scene) < waiting

    await eventually(moves, timeout=60)
    recovered = time.monotonic() - back
    print(f"relay recovered {recovered:.1f} s after a broker outage of {away} s")
    if away > 5:  # the full test has the machine to itself
        assert recovered <= 15
    findings = await scene.verdict()
    assert scene.stack.part("comments", "relay").process.pid == relay
    assert findings.duplicate_mails == 0 or findings.altered_duplicates == 0


@rounds(short=1, full=10)
@pytest.mark.parametrize("how", ["fast", "kill"])
async def test_postgres_restarted(scene: Scene, rounds: int, how: str) -> None:
    for _ in range(rounds):
        async with scene.writing():
            stop = scene.servers.postgres.kill if how == "kill" else scene.servers.postgres.stop
            await asyncio.to_thread(stop)
            await asyncio.to_thread(scene.servers.postgres.start)
            done = len([each for each in scene.ledger.operations if each.outcome == "ok"])
            await eventually(
                lambda done=done: len([each for each in scene.ledger.operations if each.outcome == "ok"]) > done + 5,  # type: ignore[misc]  # a default binds the value
                timeout=120,
            )
    await scene.verdict()


@rounds(short=1, full=5)
async def test_valkey_stopped(scene: Scene, rounds: int) -> None:
    """Everything goes on without it, and with it again."""
    for _ in range(rounds):
        await asyncio.to_thread(scene.servers.valkey.kill)
        before = len(scene.ledger.operations)
        await scene.writers.write(20)
        await asyncio.to_thread(scene.servers.valkey.start)
        await scene.writers.write(20)
        assert all(operation.outcome == "ok" for operation in scene.ledger.operations[before:])
    await scene.verdict()
