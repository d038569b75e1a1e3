"""Outages of Kafka and PostgreSQL, for seconds or minutes: writes continue, nothing is lost."""

import asyncio
import signal
import time

import pytest

from tests.chaos.conftest import System
from tests.chaos.counts import rounds, seconds_and_rounds
from tests.chaos.findings import percentile
from tests.chaos.ledger import Operation
from tests.waiting import eventually


async def unpublished(system: System) -> int:
    return int(await system.ledger.value("comments", "select count(*) from outbox where published_at is null"))


@seconds_and_rounds(short=[5], full=[5, 60, 180], rounds=5)
async def test_kafka_killed_and_gone(system: System, away: int, rounds: int) -> None:
    """The relay publishes again within 15 s of the broker's return, without a restart, however long the outage was."""
    relay = system.stack.part("comments", "relay").process.pid
    for _ in range(rounds):
        usual = await measured(system, 5)
        await asyncio.to_thread(system.servers.broker.kill)
        outage = await measured(system, away)
        assert all(operation.outcome in ("ok", "failed") for operation in outage)
        assert sum(operation.attempts > 1 for operation in outage) <= len(outage) * 0.001
        waiting = await unpublished(system)
        assert waiting > 0
        await asyncio.to_thread(system.servers.broker.start)
        back = time.monotonic()

        async def moves(waiting: int = waiting) -> bool:
            return await unpublished(system) < waiting

        await eventually(moves, timeout=60)
        recovered = time.monotonic() - back
        drained = asyncio.create_task(drain_rate(system, waiting, back))
        if rounds > 1:  # the full test has the machine to itself
            assert recovered <= 15
        await system.verdict()
        print(
            f"Kafka away for {away} s: the relay was back after {recovered:.1f} s and published {await drained:.0f}/s; "
            f"{len(outage) / away:.0f} writes/s meanwhile, p99 {p99(outage):.3f} s, before {p99(usual):.3f} s"
        )
    assert system.stack.part("comments", "relay").process.pid == relay


async def measured(system: System, seconds: float) -> list[Operation]:
    """Return the clients' operations of that time."""
    begun = len(system.ledger.operations)
    async with system.writing(pause=0.1):
        await asyncio.sleep(seconds)  # the outage must last that long
    return system.ledger.operations[begun:]


async def drain_rate(system: System, waiting: int, since: float) -> float:
    """Return the events published per second until none waits."""

    async def none_waits() -> bool:
        return not await unpublished(system)

    await eventually(none_waits, timeout=300)
    return waiting / (time.monotonic() - since)


def p99(operations: list[Operation]) -> float:
    return percentile([operation.seconds for operation in operations], 0.99)


@rounds(short=1, full=10)
@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
async def test_postgres_restarted(system: System, rounds: int, how: str) -> None:
    """Writes continue within 10 s of its return; meanwhile the only error is 503, and no connection leaks."""
    postgres = system.servers.postgres
    slowest = 0.0
    for _ in range(rounds):
        async with system.writing():
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
            back, done = time.monotonic(), succeeded(system)
            await eventually(lambda done=done: succeeded(system) > done + 5, timeout=120)  # type: ignore[misc]  # binds the value
            slowest = max(slowest, time.monotonic() - back)
    await system.verdict()
    print(f"PostgreSQL {how}, {rounds} times: writing went on within {slowest:.1f} s of its return")
    if rounds > 1:  # the full test has the machine to itself
        assert slowest <= 10

    async def none_busy() -> bool:
        return await system.busy_connections() == 0

    await eventually(none_busy, timeout=10)


def succeeded(system: System) -> int:
    return sum(operation.outcome == "ok" for operation in system.ledger.operations)
