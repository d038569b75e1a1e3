"""kill -9 at named points: between any two steps, the rest of the system continues and nothing is lost or duplicated.

The points of the mailer are in `test_mail`.
"""

import asyncio
import signal
import time

import pytest

from tests.chaos.conftest import System
from tests.chaos.counts import HOUR, PATIENT
from tests.chaos.findings import percentile
from tests.waiting import eventually

COMMAND_POINTS = [
    "command.begun",
    "command.event_added",
    "command.before_commit",
    "command.committing",
    "command.after_commit",
    "answer.ready",
]
RELAY_POINTS = ["relay.read", "relay.sent", "relay.produced", "relay.marking", "relay.marked"]
CONSUMER_POINTS = ["consumer.before_commit", "consumer.handled"]

APIS = [(service, "api", point) for service in ("posts", "comments") for point in COMMAND_POINTS]
RELAYS = [(service, "relay", point) for service in ("posts", "comments", "notify") for point in RELAY_POINTS]
CONSUMERS = [(service, "consumer", point) for service in ("comments", "notify") for point in CONSUMER_POINTS]
ONCE = [  # each point, in the service where most depends on it
    *[("comments", "api", point) for point in COMMAND_POINTS],
    *[("comments", "relay", point) for point in RELAY_POINTS],
    *[("notify", "consumer", point) for point in CONSUMER_POINTS],
]
KILLS = 20
WRITES = 2500  # at each point of a service's API
RESUMES_WITHIN = 5.0


async def kill(system: System, service: str, role: str, point: str, times: int = 1) -> None:
    """Kill the role at the failpoint `times` times, each time a little later."""
    await asyncio.to_thread(system.stack.part(service, role).stop)
    for number in range(times):
        armed = await system.stack.start(service, role, failpoints=f"{point}:{1 + number % 5}", wait=False)
        await eventually(lambda armed=armed: not armed.alive, timeout=120)  # type: ignore[misc]  # binds the value
        assert armed.process.returncode == -signal.SIGKILL, armed.tail()


@pytest.mark.timeout(PATIENT)
async def test_killed_once_at_every_named_point(system: System) -> None:
    for service, role, point in ONCE:
        async with system.writing(pause=0.05):
            await kill(system, service, role, point)
            await system.stack.start(service, role)
    await system.verdict()


@pytest.mark.chaos
@pytest.mark.timeout(HOUR)
@pytest.mark.parametrize(("service", "role", "point"), APIS, ids=[f"{s}-{p}" for s, _, p in APIS])
async def test_commands_are_written_whole_or_not_at_all(system: System, service: str, role: str, point: str) -> None:
    """Clients repeat a request under its key until it is answered; each is done once and each has its event."""
    written = len(system.ledger.operations)
    system.writers.posts_share = 0.8 if service == "posts" else 0.0
    try:
        async with system.without_mail():
            async with system.writing(at_once=16, pause=0.05):
                await kill(system, service, role, point, KILLS)
                await system.stack.start(service, role)
            await system.writers.write(max(0, written + WRITES - len(system.ledger.operations)), at_once=16)
            unknown = sum(operation.outcome == "unknown" for operation in system.ledger.operations[written:])
            print(f"{KILLS} kills, {len(system.ledger.operations) - written} operations, {unknown} of them unknown")
            await system.verdict()
    finally:
        system.writers.posts_share = 0.0


@pytest.mark.chaos
@pytest.mark.timeout(HOUR)
@pytest.mark.parametrize(("service", "role", "point"), RELAYS, ids=[f"{s}-{p}" for s, _, p in RELAYS])
async def test_a_killed_relay_publishes_everything(system: System, service: str, role: str, point: str) -> None:
    """A restarted relay continues where the killed one stopped; every fourth time the delay is measured."""
    resumed = []
    system.writers.posts_share = 0.8 if service == "posts" else 0.0
    try:
        async with system.writing(pause=0.05):
            for _ in range(KILLS // 4):
                await kill(system, service, role, point, 4)
                begun = time.monotonic()
                published = await system.ledger.value(service, LAST_PUBLISHED)
                await system.stack.start(service, role, wait=False)

                async def continues(since: object = published) -> bool:
                    return bool(await system.ledger.value(service, LAST_PUBLISHED) != since)

                await eventually(continues, timeout=60)
                resumed.append(time.monotonic() - begun)
                await system.stack.ready(system.stack.part(service, role))
        print(f"{KILLS} kills, published again within {max(resumed):.1f} s at most")
        await system.verdict()
        assert percentile(resumed, 0.99) <= RESUMES_WITHIN
    finally:
        system.writers.posts_share = 0.0


LAST_PUBLISHED = "select max(published_at) from outbox"


@pytest.mark.chaos
@pytest.mark.timeout(HOUR)
@pytest.mark.parametrize(
    ("service", "role", "point"), CONSUMERS, ids=[f"{service}-{point}" for service, _, point in CONSUMERS]
)
async def test_a_killed_consumer_handles_everything_once(system: System, service: str, role: str, point: str) -> None:
    system.writers.posts_share = 0.8 if service == "comments" else 0.0
    try:
        async with system.writing(pause=0.05):
            await kill(system, service, role, point, KILLS)
            await system.stack.start(service, role)
        await system.verdict()
    finally:
        system.writers.posts_share = 0.0
