"""kill -9 at named points: between any two steps, the rest of the system goes on and nothing is lost or doubled."""

import asyncio
import signal

import pytest

from tests.chaos.conftest import Scene
from tests.chaos.counts import HOUR, PATIENT
from tests.waiting import eventually

pytestmark = pytest.mark.xdist_group("chaos")

POINTS = [
    ("comments", "api", "command.before_commit"),
    ("comments", "api", "command.after_commit"),
    ("comments", "relay", "relay.read"),
    ("comments", "relay", "relay.produced"),
    ("comments", "relay", "relay.marked"),
    ("notify", "consumer", "consumer.before_commit"),
    ("notify", "consumer", "consumer.handled"),
    ("notify", "mailer", "mailer.claimed"),
    ("notify", "mailer", "mailer.frozen"),
    ("notify", "mailer", "mailer.dot"),
    ("notify", "mailer", "mailer.sent"),
    ("notify", "mailer", "mailer.marked"),
    ("notify", "relay", "relay.produced"),
]
ROUNDS = 20
AMBIGUOUS = {"mailer.dot", "mailer.sent"}


async def kill(scene: Scene, service: str, role: str, point: str, times: int = 1) -> None:
    """Write; let the role die there again and again, each time a little later; then let it live.

    A mailer that is to die holds one dialogue, so that nothing but the named point decides what is left open.
    """
    await asyncio.to_thread(scene.stack.part(service, role).stop)
    async with scene.writing(pause=0.05):
        for number in range(times):
            armed = await scene.stack.start(
                service, role, failpoints=f"{point}:{1 + number % 5}", wait=False, NOTIFY_MAIL_CONNECTIONS="1"
            )
            await eventually(lambda armed=armed: not armed.alive, timeout=120)  # type: ignore[misc]  # binds the value
            assert armed.process.returncode == -signal.SIGKILL, armed.tail()
        await scene.stack.start(service, role)


@pytest.mark.timeout(PATIENT)
async def test_killed_once_at_every_named_point(scene: Scene) -> None:
    before = (await scene.ledger.count()).duplicate_mails
    for service, role, point in POINTS:
        await kill(scene, service, role, point)
    findings = await scene.verdict()
    assert findings.duplicate_mails - before <= len(AMBIGUOUS)


@pytest.mark.chaos
@pytest.mark.timeout(HOUR)
@pytest.mark.parametrize(("service", "role", "point"), POINTS, ids=[f"{s}-{p}" for s, _, p in POINTS])
async def test_killed_often_at_a_named_point(scene: Scene, service: str, role: str, point: str) -> None:
    before = (await scene.ledger.count()).duplicate_mails
    await kill(scene, service, role, point, ROUNDS)
    findings = await scene.verdict()
    assert findings.duplicate_mails - before <= (ROUNDS if point in AMBIGUOUS else 0)
