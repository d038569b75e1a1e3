"""Order and visibility: a transaction that commits late, a paused relay, a group that is rebalanced all the time."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from services.chassis.client import ServiceClient, within
from services.chassis.identity import Caller, Signer
from tests.chaos.conftest import Scene
from tests.chaos.counts import PATIENT, rounds
from tests.servers import free_port
from tests.stack import paused
from tests.waiting import eventually

pytestmark = pytest.mark.xdist_group("chaos")


@pytest.mark.parametrize(
    ("hold", "others"),
    [
        pytest.param(5, 200, id="short", marks=pytest.mark.timeout(PATIENT)),
        pytest.param(30, 5000, id="full", marks=[pytest.mark.chaos, pytest.mark.timeout(3600)]),
    ],
)
async def test_an_event_whose_transaction_commits_late_is_not_passed_over(scene: Scene, hold: int, others: int) -> None:
    """One process stands still right before its commit; its outbox row has an early id and becomes visible last."""
    late_post, *other_posts = scene.writers.posts
    port = free_port()
    late = await scene.stack.start(
        "comments", "api", name="late", failpoints="command.before_commit:1:stop", COMMENTS_PORT=str(port)
    )
    client = ServiceClient(
        f"http://127.0.0.1:{port}", "comments", Signer(scene.stack.keys["GATEWAY_SIGNING_KEY"], "gateway")
    )
    caller = Caller("gateway", person_id=scene.person_id(0), roles=frozenset({"reader"}))
    operation = scene.ledger.intend(f"late {uuid4()}")
    posting = asyncio.create_task(
        client.call(
            "POST",
            f"/posts/{late_post}/comments",
            caller=caller,
            body={"body": operation.text},
            deadline=within(hold + 60),
        )
    )
    await eventually(lambda: standing_still(late.process.pid) or posting.done(), timeout=30)
    assert not posting.done(), await posting
    begun = time.monotonic()
    scene.writers.posts, everything = other_posts, scene.writers.posts
    try:
        await scene.writers.write(others, at_once=8)
        await eventually(lambda: time.monotonic() - begun >= hold, timeout=hold + 10)
    finally:
        scene.writers.posts = everything
        late.signal(signal.SIGCONT)
    answer = await posting
    await client.close()
    assert answer.status == 201, answer.data
    operation.outcome = "ok"
    await scene.verdict()
    late.kill()


def standing_still(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize(
    ("pause", "rounds"),
    [
        pytest.param(14, 1, id="short", marks=pytest.mark.timeout(PATIENT)),
        pytest.param(60, 20, id="full", marks=[pytest.mark.chaos, pytest.mark.timeout(7200)]),
    ],
)
async def test_a_paused_relay_is_replaced_and_may_wake_up(scene: Scene, pause: int, rounds: int) -> None:
    """A second relay takes over within 15 s of the pause; the first one wakes up late and does no harm."""
    for _ in range(rounds):
        first = scene.stack.part("comments", "relay")
        second = await scene.stack.start("comments", "relay", name=f"relay-{uuid4().hex[:4]}")
        with paused(first):
            begun = time.monotonic()
            await scene.writers.write(10)

            async def moves() -> bool:
                return not await scene.ledger.value(
                    "comments", "select count(*) from outbox where published_at is null"
                )

            await eventually(moves, timeout=60)
            taken_over = time.monotonic() - begun
            print(f"the second relay took over after {taken_over:.1f} s")
            if rounds > 1:  # the full test has the machine to itself
                assert taken_over <= 15
            while time.monotonic() - begun < pause:
                await scene.writers.write(5, pause=0.2)
        await scene.writers.write(20)
        await scene.verdict()
        first.kill()
        scene.stack.parts["comments", "relay"] = second


@rounds(short=2, full=20)
async def test_a_rebalance_storm(scene: Scene, rounds: int) -> None:
    """Members of notify's group come and go, by kill -9 too, while handlers are slow and events arrive."""
    async with scene.writing():
        for number in range(rounds):
            extra = await scene.stack.start("notify", "consumer", name=f"extra-{number}", INSTANCE=f"extra-{number}")
            async with slow_handlers(scene, seconds=3):
                if number % 2:
                    extra.signal(signal.SIGTERM)
                    await asyncio.to_thread(extra.process.wait, 30)
                else:
                    scene.stack.part("notify", "consumer").kill()
                    await scene.stack.start("notify", "consumer", INSTANCE=f"main-{number}")
            if extra.alive:
                extra.kill()
    await scene.verdict()


@asynccontextmanager
async def slow_handlers(scene: Scene, seconds: float) -> AsyncIterator[None]:
    """Every handler of notify waits for a lock that long."""
    connection = await asyncpg.connect(scene.stack.database_urls["notify"])
    try:
        async with connection.transaction():
            await connection.execute("lock table comments in exclusive mode")
            holding = asyncio.create_task(asyncio.sleep(seconds))
            yield
            await holding
    finally:
        await connection.close()
