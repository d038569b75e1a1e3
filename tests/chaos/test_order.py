"""Order and visibility: transactions that commit late or never, relays that come and go, continuous rebalancing."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.chassis.client.client import ServiceClient, within
from services.chassis.client.connection_pool import ConnectionPool
from services.chassis.identity import Caller, Signer
from tests.chaos.conftest import System
from tests.chaos.counts import HOUR, PATIENT
from tests.chaos.ledger import read_topic
from tests.servers import free_port
from tests.stack import Part, paused
from tests.waiting import eventually

full = [pytest.mark.chaos, pytest.mark.timeout(HOUR)]
IDLE_TRANSACTION_SECONDS = 60
LONGEST_HOLD = 50


@asynccontextmanager
async def locked_until_waited_for(system: System, post: str) -> AsyncIterator[None]:
    """Lock a discussion until the comment that is posted in the block waits for it, in a transaction."""
    connection = await asyncpg.connect(system.stack.database_urls["comments"])

    async def is_waited_for() -> bool:
        sql = "select count(*) from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))"
        return bool(await connection.fetchval(sql))

    try:
        async with connection.transaction():
            await connection.execute("select from discussions where post_id = $1 for update", UUID(post))
            yield
            await eventually(is_waited_for)
    finally:
        await connection.close()


@asynccontextmanager
async def late_comment(system: System, post: str, patience: float) -> AsyncIterator[tuple[Part, asyncio.Task[int]]]:
    """Stop a separate process right before the commit of one comment, whose event already has an early id.

    One that nobody is in the way of is written by a statement that commits by itself; this one has to wait before.

    The task returns the status of the answer, 0 when there was none.
    """
    port = free_port()
    late = await system.stack.start(
        "comments", "api", name="late", failpoints="command.before_commit:1:stop", COMMENTS_PORT=str(port)
    )
    signer, connections = Signer(system.stack.keys["GATEWAY_SIGNING_KEY"], "gateway"), ConnectionPool()
    client = ServiceClient(f"http://127.0.0.1:{port}", "comments", signer, connections=connections)
    operation = system.ledger.intend(f"late {uuid4()}")

    async def post_it() -> int:
        caller = Caller("gateway", person_id=system.person_id(0), roles=frozenset({"reader"}))
        path, body = f"/posts/{post}/comments", {"body": operation.text}
        try:
            answer = await client.call("POST", path, caller=caller, body=body, deadline=within(patience))
        except Exception:
            operation.outcome = "failed"  # it was killed before it could commit
            return 0
        operation.outcome = "ok" if answer.status == 201 else "failed"
        return answer.status

    async with locked_until_waited_for(system, post):
        posting = asyncio.create_task(post_it())
    try:
        await eventually(lambda: blocked(late.process.pid) or posting.done(), timeout=30)
        assert not posting.done(), "it did not wait before its commit"
        yield late, posting
    finally:
        late.signal(signal.SIGCONT)
        await posting
        await connections.close()
        late.kill()


def blocked(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def rolled_back(system: System, stop: asyncio.Event, pause: float) -> int:
    """Draw ids from the outbox's sequence that never become rows."""
    connection = await asyncpg.connect(system.stack.database_urls["comments"])
    drawn = 0
    try:
        while not stop.is_set():
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(DRAW_ID)
            await transaction.rollback()
            drawn += 1
            await asyncio.sleep(pause)
        return drawn
    finally:
        await connection.close()


DRAW_ID = """
insert into outbox (event_id, topic, type, source, subject, key, time, payload)
values (gen_random_uuid(), 'comments.events', 'never', '/', gen_random_uuid(), gen_random_uuid(), now(), '{}')
"""
PUBLISH_DELAY = """
select percentile_disc(0.99) within group (order by extract(epoch from published_at - time)) from outbox
where id > {since} and key <> '{late}'
"""


@pytest.mark.parametrize(
    ("holds", "others"),
    [
        pytest.param([5.0], 200, id="short", marks=pytest.mark.timeout(PATIENT)),
        pytest.param([30.0], 5000, id="long", marks=full),
        pytest.param([random.Random(7).uniform(0.2, 6) for _ in range(50)], 100, id="often", marks=full),
    ],
)
async def test_an_event_whose_transaction_commits_late_is_not_passed_over(
    system: System, holds: list[float], others: int
) -> None:
    """Other transactions commit meanwhile, one id in five is unused, one of five held transactions rolls back."""
    late_post, *other_posts = system.writers.posts
    since = await system.ledger.value("comments", "select coalesce(max(id), 0) from outbox")
    stop = asyncio.Event()
    gaps = asyncio.create_task(rolled_back(system, stop, pause=0.02))
    system.writers.posts, everything = other_posts, system.writers.posts
    try:
        async with system.without_mail():
            for number, hold in enumerate(holds):
                async with late_comment(system, late_post, hold + 60) as (late, posting):
                    begun = time.monotonic()
                    async with asyncio.timeout(max(hold, LONGEST_HOLD)):
                        await system.writers.write(others, at_once=16)
                    await eventually(lambda: time.monotonic() - begun >= hold, timeout=hold + 10)  # noqa: B023  # awaited here
                    if number % 5 == 4:
                        late.kill()
                    else:
                        late.signal(signal.SIGCONT)
                        assert await posting == 201
            stop.set()
            drawn = await gaps
            await system.verdict()
    finally:
        stop.set()
        system.writers.posts = everything
    delay = await system.ledger.value("comments", PUBLISH_DELAY.format(since=since, late=late_post))
    print(f"{len(holds)} held, {drawn} ids never used; the others' events were published within {delay:.2f} s (p99)")


@pytest.mark.chaos
@pytest.mark.timeout(HOUR)
async def test_a_transaction_held_for_too_long_is_ended(system: System) -> None:
    """PostgreSQL ends its session, so that vacuum and the relay's age limit never depend on a stopped process."""
    async with late_comment(system, system.writers.posts[0], 200) as (late, posting):
        await asyncio.sleep(IDLE_TRANSACTION_SECONDS + 10)
        late.signal(signal.SIGCONT)
        assert await posting in (0, 503)
    await system.verdict()


RELAY_POINTS = ("relay.read", "relay.sent", "relay.produced", "relay.marking", "relay.marked")
SELECT_OLDEST = """
select coalesce(extract(epoch from max(clock_timestamp() - time)), 0) from outbox where published_at is null
"""


class Relays:
    """The relays of posts, which come and go at random."""

    def __init__(self, system: System, chance: random.Random) -> None:
        self.system = system
        self.chance = chance
        self.running = [system.stack.part("posts", "relay")]
        self.began = Counter[str]()

    async def reach(self, count: int) -> None:
        """Start or end relays until so many run."""
        while len(self.running) < count:
            await self.start()
        while len(self.running) > count:
            leaving = self.running.pop(self.chance.randrange(len(self.running)))
            if self.chance.random() < 0.5:
                self.began["stopped"] += 1
                await asyncio.to_thread(leaving.stop)
            else:
                self.began["killed"] += 1
                leaving.kill()

    async def start(self, failpoints: str = "") -> Part:
        name = f"relay-{uuid4().hex[:6]}"
        self.began["started"] += 1
        self.running.append(await self.system.stack.start("posts", "relay", name=name, failpoints=failpoints))
        return self.running[-1]

    async def pause(self, seconds: float) -> None:
        """Pause one of several; the others take over."""
        self.began["paused"] += 1
        with paused(self.chance.choice(self.running)):
            await asyncio.sleep(seconds)

    async def fail(self, seconds: float) -> None:
        """Start another one, which is killed or paused at a named point, in the middle of a batch."""
        point, stops = self.chance.choice(RELAY_POINTS), self.chance.random() < 0.5
        failing = await self.start(f"{point}:{self.chance.randrange(5, 50)}{':stop' if stops else ''}")
        self.began[f"{point} {'paused' if stops else 'killed'}"] += 1
        await asyncio.sleep(seconds)
        self.running.remove(failing)
        failing.signal(signal.SIGCONT)
        await asyncio.sleep(0.5)  # what it sends late arrives
        failing.kill()

    async def end(self) -> None:
        """Leave one relay, under the name of the first."""
        await self.reach(0)
        await self.system.stack.start("posts", "relay")


@asynccontextmanager
async def oldest_events(system: System, service: str) -> AsyncIterator[list[float]]:
    """Yield the ages of the oldest event that waits, looked at again and again inside the block."""
    connection, ages = await asyncpg.connect(system.stack.database_urls[service]), list[float]()

    async def look() -> None:
        while True:
            ages.append(float(await connection.fetchval(SELECT_OLDEST)))
            await asyncio.sleep(0.2)

    looking = asyncio.create_task(look())
    try:
        yield ages
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await connection.close()


async def out_of_order(system: System, service: str) -> int:
    """Count the first occurrences of events in Kafka behind one of the same key that was written later."""
    connection = await asyncpg.connect(system.stack.database_urls[service])
    try:
        numbers = {row["event_id"]: row["id"] for row in await connection.fetch("select event_id, id from outbox")}
    finally:
        await connection.close()
    last, seen, found = dict[UUID, int](), set[UUID](), 0
    for record in await read_topic(system.stack, f"{service}.events"):
        if record.id not in seen:
            seen.add(record.id)
            found += numbers[record.id] < last.get(record.key, 0)
            last[record.key] = numbers[record.id]
    return found


MINUTES = float(os.environ.get("CHAOS_MINUTES", "10"))


@pytest.mark.parametrize(
    ("seconds", "pause"),
    [
        pytest.param(1, 14, id="short", marks=pytest.mark.timeout(PATIENT)),
        pytest.param(60 * MINUTES, 20, id="full", marks=full),
    ],
)
async def test_relays_come_and_go(system: System, seconds: float, pause: float) -> None:
    """One, two and four of them are killed, paused, stopped and added; the others take over within 15 s.

    One that was paused wakes up late and does no harm.
    """
    chance = random.Random(23)  # random choices of a test, not secrets
    relays, waited = Relays(system, chance), list[float]()
    system.writers.posts_share, share = 0.9, system.writers.posts_share
    try:
        async with system.without_mail(), system.writing(at_once=8), oldest_events(system, "posts") as waited:
            begun = time.monotonic()
            while time.monotonic() - begun < seconds:
                for members in (2, 4, 1):
                    await relays.reach(members)
                    if members > 1:
                        await relays.pause(chance.uniform(0.7, 1) * pause)
                        await relays.fail(chance.uniform(0.1, 0.5) * pause)
                    if seconds < pause:
                        break
    finally:
        system.writers.posts_share = share
        await relays.end()
    findings = await system.verdict()
    found = await out_of_order(system, "posts")
    listed = ", ".join(f"{count} {what}" for what, count in sorted(relays.began.items()))
    print(f"{listed}; {findings.raw_duplicates} repeated; an event waited {max(waited):.1f} s at most")
    assert found == 0
    if seconds > pause:  # the full test has the machine to itself
        assert max(waited) <= 15


STORM = (4, 2, 1)


@pytest.mark.parametrize(
    ("cycles", "step", "slow"),
    [
        pytest.param(1, 3.0, 3.0, id="short", marks=pytest.mark.timeout(PATIENT)),
        pytest.param(10, 20.0, 25.0, id="full", marks=full),
    ],
)
async def test_a_rebalance_storm(system: System, cycles: int, step: float, slow: float) -> None:
    """Members of notify's group join and leave, by kill -9 too, while handlers are slow and events arrive."""
    chance = random.Random(11)  # random choices of a test, not secrets
    main = system.stack.part("notify", "consumer")
    others: list[Part] = []
    killed = 0

    async def join() -> None:
        name = f"member-{uuid4().hex[:6]}"
        others.append(await system.stack.start("notify", "consumer", name=name, INSTANCE=name))

    async with system.writing():
        for number in range(cycles):
            for members in STORM:
                while len(others) + 1 < members:
                    await join()
                while len(others) + 1 > members:
                    leaving = others.pop(chance.randrange(len(others)))
                    assert leaving.alive, leaving.tail()
                    if chance.random() < 0.5:
                        await asyncio.to_thread(leaving.stop)
                    else:
                        leaving.kill()
                        killed += 1
                begun = time.monotonic()
                if members == 2 and (number % 2 == 0):
                    async with slow_handlers(system, slow):
                        others.pop().kill()
                        killed += 1
                        await join()
                await eventually(lambda: time.monotonic() - begun >= step, timeout=slow + 60)  # noqa: B023  # awaited here
    for member in others:
        assert member.alive, member.tail()
        await asyncio.to_thread(member.stop)
    assert main.alive, main.tail()
    print(f"{cycles * len(STORM)} steps, {killed} members killed")
    await system.verdict()


@asynccontextmanager
async def slow_handlers(system: System, seconds: float) -> AsyncIterator[None]:
    """Delay every handler of notify by a lock of that length."""
    connection = await asyncpg.connect(system.stack.database_urls["notify"])
    try:
        async with connection.transaction():
            await connection.execute("lock table comments in exclusive mode")
            holding = asyncio.create_task(asyncio.sleep(seconds))
            yield
            await holding
    finally:
        await connection.close()
