"""Valkey stopped, emptied, slow or read-only: reads stay fast, limits hold, and no answer goes to a wrong user."""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
from redis.asyncio import Redis

from services.gateway.access.counters import Policy
from services.gateway.access.rate_limits import POSTING, SIGN_IN_PER_ADDRESS
from tests.chaos.conftest import System
from tests.chaos.counts import HOUR, PATIENT, rounds, seconds
from tests.chaos.writers import Writers
from tests.client import Client, HttpResponse, Person
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.servers import free_port
from tests.stack import Part
from tests.waiting import eventually

EXCESS = 1.2  # tolerated factor over a sensitive limit


@dataclass
class Limited:
    """A separate gateway with rate limits on; with them off it would not use Valkey.

    Attributes:
        valkey: the proxy between it and Valkey.
        comments: the proxy between it and comments.
    """

    system: System
    part: Part
    client: Client
    writers: Writers
    valkey: FaultProxy
    comments: FaultProxy

    async def spend(self, policy: Policy, who: str, count: int) -> list[HttpResponse]:
        """Send concurrent requests of one kind as one user."""
        if policy is POSTING:  # counted before it is refused with sign-in-required
            path, body = f"/v1/posts/{self.writers.posts[0]}/comments", {"body": "Who am I?"}
        else:
            path, body = "/v1/sign-in", {"email": who}
        forwarded = {"X-Forwarded-For": address_of(who)}
        return await asyncio.gather(*(self.client.call("POST", path, body, headers=forwarded) for _ in range(count)))

    async def window(self, policy: Policy, least: float) -> None:
        """Wait until the policy's window lasts that long still."""
        await eventually(lambda: policy.window - time.time() % policy.window > least, timeout=policy.window, pause=0.1)

    async def counted(self) -> bool:
        """Return whether the gateway counts in Valkey."""
        async with Redis.from_url(self.system.servers.valkey.url) as direct:
            before = len(await direct.keys("rapport:limit:posting:*"))
            await self.spend(POSTING, f"{uuid4()}", 1)
            return len(await direct.keys("rapport:limit:posting:*")) > before


def address_of(who: str) -> str:
    """Return an address that only this user has."""
    chance = random.Random(who)
    return f"2001:db8:{chance.randrange(65536):x}:{chance.randrange(65536):x}::1"


@pytest.fixture(scope="module")
async def limited(system: System) -> AsyncIterator[Limited]:
    port, stack = free_port(), system.stack
    async with fault_proxy(system.servers.valkey.port) as valkey, fault_proxy(stack.ports["comments"]) as comments:
        part = await stack.start(
            "gateway",
            "api",
            name="limited",
            RATE_LIMITS="on",
            GATEWAY_PORT=str(port),
            REDIS_URL=f"redis://127.0.0.1:{valkey.port}/0",
            COMMENTS_URL=f"http://127.0.0.1:{comments.port}",
            TRUSTED_PROXIES="127.0.0.1",
        )
        async with Client(f"http://127.0.0.1:{port}", system.sink, timeout=10, stays=True) as client:
            writers = Writers(client, system.ledger, system.writers.author, system.writers.people, system.writers.posts)
            yield Limited(system, part, client, writers, valkey, comments)
        part.kill()


@dataclass
class Reads:
    """The results of all reads."""

    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)

    @property
    def available(self) -> float:
        return 1 - len(self.failed) / len(self.seconds)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.seconds, n=100)[98]

    async def read(self, client: Client, who: Person, path: str, is_right: Callable[[HttpResponse], bool]) -> None:
        """Read once and check that the answer belongs to its reader."""
        begun = time.monotonic()
        try:
            answer = await client.call("GET", path, who=who)
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failed.append(repr(error))
        else:
            if answer.status != 200:
                self.failed.append(f"{answer.status}: {answer.body!r}")
            elif not is_right(answer):
                self.mixed.append(f"{who.id}: {path}: {answer.body!r}")
        self.seconds.append(time.monotonic() - begun)

    async def keep_reading(self, limited: Limited, who: Person, stop: asyncio.Event) -> None:
        """Read as a signed-in user, whose requests bypass the cache and are all counted."""
        while not stop.is_set():
            post = random.choice(limited.writers.posts)
            await self.read(limited.client, who, "/v1/me", lambda answer: answer.json["id"] == who.id)
            await self.read(
                limited.client,
                who,
                f"/v1/posts/{post}",
                lambda answer, post=post: answer.json["id"] == post,  # type: ignore[misc]  # binds the value
            )
            await self.read(
                limited.client,
                who,
                f"/v1/posts/{post}/comments?limit=5",
                lambda answer, post=post: all(item["post_id"] == post for item in answer.json["items"]),  # type: ignore[misc]  # binds the value
            )
            await asyncio.sleep(0.05)  # below the limit of reads


@asynccontextmanager
async def using(limited: Limited) -> AsyncIterator[Reads]:
    """Let users read, and some write, inside the block."""
    reads, stop = Reads(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for who in limited.writers.people:
            group.create_task(reads.keep_reading(limited, who, stop))
        group.create_task(limited.writers.keep_writing(stop, at_once=2, pause=0.6))  # below the limit of posting
        try:
            yield reads
        finally:
            stop.set()


@asynccontextmanager
async def killed(limited: Limited) -> AsyncIterator[None]:
    server = limited.system.servers.valkey
    await asyncio.to_thread(server.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)


@asynccontextmanager
async def emptied(limited: Limited) -> AsyncIterator[None]:
    """Run FLUSHALL repeatedly."""
    async with Redis.from_url(limited.system.servers.valkey.url) as direct:
        stop = asyncio.Event()

        async def keep_emptying() -> None:
            while not stop.is_set():
                await direct.flushall()
                await asyncio.sleep(0.05)

        emptying = asyncio.create_task(keep_emptying())
        try:
            yield
        finally:
            stop.set()
            await emptying


@asynccontextmanager
async def slow(limited: Limited) -> AsyncIterator[None]:
    limited.valkey.delay = 1.0  # in each direction
    try:
        yield
    finally:
        limited.valkey.heal()


@asynccontextmanager
async def silent(limited: Limited) -> AsyncIterator[None]:
    limited.valkey.mode = "drop"
    try:
        yield
    finally:
        limited.valkey.heal()
        limited.valkey.reset()
        limited.valkey.heal()


@asynccontextmanager
async def broken(limited: Limited) -> AsyncIterator[None]:
    limited.valkey.reset()
    try:
        yield
    finally:
        limited.valkey.heal()


@asynccontextmanager
async def read_only(limited: Limited) -> AsyncIterator[None]:
    """Make Valkey a read-only replica that refuses every write."""
    async with Redis.from_url(limited.system.servers.valkey.url) as direct:
        await direct.replicaof("127.0.0.1", 1)
        try:
            yield
        finally:
            await direct.replicaof("NO", "ONE")


Fault = Callable[[Limited], AbstractAsyncContextManager[None]]


@rounds(short=1, full=5)
async def test_valkey_stopped(system: System, limited: Limited, rounds: int) -> None:
    """Everything continues without Valkey, and after its return."""
    for _ in range(rounds):
        before = len(system.ledger.operations)
        async with killed(limited):
            await limited.writers.write(20)
        await limited.writers.write(20)
        assert all(operation.outcome != "unknown" for operation in system.ledger.operations[before:])
    await system.verdict()


@seconds(short=[2], full=[60])
@pytest.mark.parametrize("fault", [killed, emptied, slow, silent, broken, read_only])
async def test_valkey_in_trouble(system: System, limited: Limited, fault: Fault, away: int) -> None:
    """Half of two limits is used before the fault; twice the limit is requested during the fault and after it."""
    full = away > 2
    async with using(limited) as calm:
        await asyncio.sleep(min(away, 20))
    await limited.window(SIGN_IN_PER_ADDRESS, away + 30)
    await limited.window(POSTING, 15)
    poster, sleeper = f"{uuid4()}", f"{uuid4().hex[:12]}@example.com"
    posted = await limited.spend(POSTING, poster, POSTING.quota // 2)
    asked = await limited.spend(SIGN_IN_PER_ADDRESS, sleeper, SIGN_IN_PER_ADDRESS.quota // 2)
    before = len(system.ledger.operations)
    async with using(limited) as troubled:
        async with fault(limited):
            begun, questions = time.monotonic(), limited.valkey.asks
            posted += await limited.spend(POSTING, poster, POSTING.quota)
            asked += await limited.spend(SIGN_IN_PER_ADDRESS, sleeper, SIGN_IN_PER_ADDRESS.quota)
            await asyncio.sleep(max(0.0, begun + away - time.monotonic()))  # the fault must last that long
            questions = limited.valkey.asks - questions
        asked += await limited.spend(SIGN_IN_PER_ADDRESS, sleeper, SIGN_IN_PER_ADDRESS.quota)
        await eventually(limited.counted, timeout=30)
        asked += await limited.spend(SIGN_IN_PER_ADDRESS, sleeper, SIGN_IN_PER_ADDRESS.quota)
    allowed = [sum(1 for answer in answers if answer.status != 429) for answers in (posted, asked)]
    print(
        f"{fault.__name__} for {away} s: {len(troubled.seconds)} reads, {troubled.available:.4%} available; p99 "
        f"{calm.p99 * 1000:.0f} ms, in trouble {troubled.p99 * 1000:.0f} ms, longest {max(troubled.seconds):.2f} s; "
        f"{questions} questions to Valkey; {allowed[0]} of {POSTING.quota} posts and {allowed[1]} of "
        f"{SIGN_IN_PER_ADDRESS.quota} sign-ins allowed"
    )
    assert {answer.status for answer in posted} == {401, 429}
    assert {answer.status for answer in asked} == {202, 429}
    assert POSTING.quota <= allowed[0] <= EXCESS * POSTING.quota
    assert SIGN_IN_PER_ADDRESS.quota <= allowed[1] <= EXCESS * SIGN_IN_PER_ADDRESS.quota
    assert not calm.failed
    assert troubled.available >= 0.999, troubled.failed[:5]
    assert not calm.mixed + troubled.mixed
    if fault is not emptied:  # an emptied Valkey still answers, so the gateway keeps calling it
        assert questions < len(troubled.seconds) / 2
    if full:  # the full test has the machine to itself
        assert troubled.p99 <= 3 * calm.p99
    assert all(operation.outcome != "unknown" for operation in system.ledger.operations[before:])
    await system.verdict()


@pytest.mark.parametrize(
    ("readers", "rounds"),
    [
        pytest.param(20, 10, id="short", marks=pytest.mark.timeout(PATIENT)),
        pytest.param(100, 200, id="full", marks=[pytest.mark.chaos, pytest.mark.timeout(HOUR)]),
    ],
)
async def test_a_hot_page_is_asked_for_once_at_a_time(
    system: System, limited: Limited, readers: int, rounds: int
) -> None:
    """One read at a time reaches the owner, without Valkey and while another gateway's writes invalidate the page."""
    path = f"/v1/posts/{system.writers.posts[0]}/comments"
    async with silent(limited), system.writing(pause=0.01):
        limited.comments.delay, limited.comments.most_asked = 0.04, 0
        before = limited.comments.asks
        try:
            for _ in range(rounds):
                answers = await asyncio.gather(*(limited.client.call("GET", path) for _ in range(readers)))
                assert {answer.status for answer in answers} == {200}
        finally:
            limited.comments.heal()
    print(f"{readers * rounds} reads of one page asked {limited.comments.asks - before} times")
    assert limited.comments.most_asked == 1
    await system.verdict()


@rounds(short=400, full=10_000)
async def test_a_storm_of_clients_who_hang_up(system: System, limited: Limited, rounds: int) -> None:
    """Clients disconnect at any moment; the others get their own answers, and only those are counted."""
    await eventually(limited.counted, timeout=30)
    files = open_files(limited.part)
    left, over = iter(range(rounds)), asyncio.Event()
    chance = random.Random(1)
    paths = ["/v1/me", f"/v1/posts/{limited.writers.posts[0]}/comments?limit=5"]
    remaining: list[list[int]] = []

    async def hang_up() -> None:
        for _ in left:
            staying = chance.uniform(0, cycle)
            await begin(limited, chance.choice(limited.writers.people), chance.choice(paths), staying)
            await asyncio.sleep(cycle - staying)
        over.set()

    async def count_down() -> None:
        while not over.is_set():
            await limited.window(POSTING, 10)  # twenty requests take less
            who = f"{uuid4()}"
            remaining.append([left_of((await limited.spend(POSTING, who, 1))[0]) for _ in range(20)])

    limited.valkey.delay, limited.comments.delay = 0.002, 0.005
    try:
        async with using(limited) as calm:
            await asyncio.sleep(1)
        # The work of a disconnected client continues, so the test must not ask for more than the machine can do.
        cycle = 4 * statistics.median(calm.seconds)
        async with using(limited) as reads, asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(hang_up())
            group.create_task(count_down())
    finally:
        limited.valkey.heal()
        limited.comments.heal()
    print(
        f"{rounds} hung up: {len(reads.seconds)} reads, {reads.available:.4%} available, p99 {reads.p99 * 1000:.0f} ms"
    )
    assert all(each == list(range(POSTING.quota - 1, POSTING.quota - 21, -1)) for each in remaining), remaining
    assert not reads.mixed
    assert reads.available >= 0.999, reads.failed[:5]
    assert limited.valkey.connections <= 2  # one asks, and after a failure another one tries anew
    assert open_files(limited.part) <= files + 100  # idle connections to services are kept for a while
    await system.verdict()


async def begin(limited: Limited, who: Person, path: str, staying: float) -> None:
    """Send a request and disconnect before or during the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(limited.client.url.rpartition(":")[2]))
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {who.access_token}\r\n\r\n"
    writer.write(request.encode())
    try:
        async with asyncio.timeout(staying):
            while await reader.read(65536):
                pass
    except TimeoutError:
        pass
    finally:
        writer.transport.abort()


def left_of(answer: HttpResponse) -> int:
    return int(answer.headers["RateLimit"].partition("r=")[2].partition(";")[0])


def open_files(part: Part) -> int:
    return len(list(Path(f"/proc/{part.process.pid}/fd").iterdir()))
