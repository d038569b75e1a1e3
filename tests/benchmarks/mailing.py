"""Mail about replies: how late, at what rate and price, to a slow mail server, and to many followers."""

import asyncio
import itertools
import math
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import asyncpg
import orjson

from tests.benchmarks import cores
from tests.benchmarks.measurement import Measurement, Unit, prices, quantile, require
from tests.benchmarks.system import System
from tests.benchmarks.turns import Measure
from tests.benchmarks.wire import drive, exchange, request
from tests.client import Person
from tests.stack import paused
from tests.waiting import eventually

CLIENTS = 8
POSTS = 8
SECONDS = 4
RATES = (20, 200)
GOAL_MS = 250
PROBES = 4  # rates that are tried between those of `RATES`: the highest that keeps to the goal is found within 16 %
SLOW_DOT = 0.1
CONNECTIONS = {4: 60, 16: 160}  # to a slow mail server: dialogues at once, and replies
BACKLOG = 200
FOLLOWERS = 10_000
SINGLE_RATE, SINGLE_SECONDS = 20, 4  # of replies, while many followers are told of another comment
MAILS_PER_REPLY = 2  # to the author of the parent and to the author of the post
WRITES = (
    (sum(RATES) + PROBES * max(RATES)) * SECONDS
    + sum(CONNECTIONS.values())
    + BACKLOG
    + 2 * SINGLE_RATE * SINGLE_SECONDS
    + 1
)
TEXT = re.compile(rb"reply ([0-9a-f]{32})")

Parent = tuple[str, str]  # a post and a comment on it


async def _parents(system: System) -> list[Parent]:
    """Publish posts with a comment each, whose authors get mail."""
    posts = [await system.publish(f"Post with replies {number}") for number in range(POSTS)]
    return [(post_id, (await system.client.comment(system.reader, post_id, "first"))["id"]) for post_id in posts]


@dataclass(frozen=True)
class Delays:
    """What became of replies that were sent at a steady rate.

    Attributes:
        reached: how many were accepted each second.
        late: from the answer that a reply is accepted to the final dot of the first mail about it, in milliseconds.
    """

    rate: float
    reached: float
    late: list[float]

    @property
    def p99(self) -> float:
        return quantile(self.late, 0.99)

    @property
    def holds(self) -> bool:
        """Whether all were accepted at this rate, and the mails went in time."""
        return self.reached >= 0.95 * self.rate and self.p99 <= GOAL_MS


async def delays(system: System) -> Measure:
    """From the answer that a reply is accepted to the final dot of the first mail about it; settle window off.

    And the highest rate at which 99 % of the mails go in time, and what a mail costs in each part.
    """
    parents = await _parents(system)

    async def measure() -> list[Measurement]:
        found, tried = [], []
        for rate in RATES:
            tried.append(await _replies(system, parents, rate, SECONDS))
            found += _rows(tried[-1])
            await system.settle()
        highest = await _highest(system, parents, tried)
        goal = f"≥ 2.6 × base, or {max(RATES)}/s"
        found.append(Measurement(f"highest rate with p99 ≤ {GOAL_MS} ms", highest, Unit.RATE, goal=goal))
        return found + await _backlog(system, parents)

    return measure


def _rows(delays: Delays) -> list[Measurement]:
    work = f"reply accepted → mail, {delays.rate:.0f}/s"
    bound = "" if delays.reached > 0.9 * delays.rate else f"only {delays.reached:.0f}/s were accepted"
    goal = f"≤ {GOAL_MS} ms" if delays.rate == max(RATES) else ""
    return [
        Measurement(f"{work}, p50", quantile(delays.late, 0.5), Unit.LATENCY, bound=bound),
        Measurement(f"{work}, p99", delays.p99, Unit.LATENCY, bound=bound, goal=goal),
    ]


async def _highest(system: System, parents: list[Parent], tried: list[Delays]) -> float:
    """Return the highest rate tried at which the mails go in time, after some more tries between good and bad ones."""
    good = max((each.rate for each in tried if each.holds), default=0.0)
    bad = min((each.rate for each in tried if not each.holds), default=math.inf)
    for _ in range(PROBES):
        if good == 0 or bad == math.inf or bad <= good:
            break
        rate = math.sqrt(good * bad)
        if (await _replies(system, parents, rate, SECONDS)).holds:
            good = rate
        else:
            bad = rate
        await system.settle()
    return good


async def _replies(system: System, parents: list[Parent], rate: float, seconds: float) -> Delays:
    """Send replies at this rate, and wait for all mails about them."""
    seen = len(system.sink.messages)
    accepted, statuses = dict[str, float](), Counter[int]()

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", system.port, limit=1 << 20)
        for turn in range(round(rate * seconds / CLIENTS)):
            text, begun = uuid4().hex, time.perf_counter()
            raw = _reply(system.crowd.next(), parents[(number + turn) % len(parents)], text)
            status, _, _ = await exchange(reader, writer, raw)
            statuses[status] += 1
            if status == 201:
                accepted[text] = time.time()
            await asyncio.sleep(max(0.0, CLIENTS / rate - (time.perf_counter() - begun)))
        writer.close()

    arrived: dict[str, list[float]] = {}

    def all_there() -> bool:
        """Look at each mail once; several tell of one reply."""
        nonlocal seen
        for mail in system.sink.messages[seen:]:
            seen += 1
            for text in {*TEXT.findall(mail.content.replace(b"=\r\n", b""))}:
                arrived.setdefault(text.decode(), []).append(mail.received_at)
        return all(len(arrived.get(text, ())) >= MAILS_PER_REPLY for text in accepted)

    begun = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    reached = len(accepted) / (time.perf_counter() - begun)
    require(statuses, 201)
    await eventually(all_there, timeout=120)
    return Delays(rate, reached, [1000 * (arrived[text][0] - moment) for text, moment in accepted.items()])


async def _backlog(system: System, parents: list[Parent]) -> list[Measurement]:
    """Hand over what has waited while notify stood still; nothing else is done, so the price is the mails'."""
    sink, before, count = system.sink, len(system.sink.messages), BACKLOG * MAILS_PER_REPLY
    with paused(system.stack.part("notify")):
        sample = await drive(system.port, _requests(system, parents), clients=CLIENTS, count=BACKLOG)
        require(sample.statuses, 201)
        await asyncio.sleep(1)  # the relay of comments has published them
    with system.spent() as cost:
        begun = time.perf_counter()
        await eventually(lambda: len(sink.messages) >= before + count, timeout=120)
        rate = count / (time.perf_counter() - begun)
        await system.settle()
    work = "mails handed over, a backlog"
    return [Measurement(work, rate, Unit.RATE), *prices("mail: price from event to record", cost.by_part, count)]


async def slow_server(system: System) -> Measure:
    """Mails a second to a mail server that takes 100 ms to accept each; they are all waiting when the first leaves."""
    parents = await _parents(system)

    async def measure() -> list[Measurement]:
        return [await _slow(system, parents, dialogues, replies) for dialogues, replies in CONNECTIONS.items()]

    return measure


async def _slow(system: System, parents: list[Parent], dialogues: int, replies: int) -> Measurement:
    await asyncio.to_thread(system.stack.part("notify").stop)
    notify = await system.stack.start("notify", NOTIFY_MAIL_CONNECTIONS=str(dialogues))
    cores.pin([notify.process.pid], cores.SERVER_CORE)
    sink, before, count = system.sink, len(system.sink.messages), replies * MAILS_PER_REPLY
    sink.delays["dot"] = SLOW_DOT
    try:
        with paused(notify):
            sample = await drive(system.port, _requests(system, parents), clients=CLIENTS, count=replies)
            require(sample.statuses, 201)
            await asyncio.sleep(1)  # the relay of comments has published them
        await eventually(lambda: len(sink.messages) >= before + count, timeout=120)
    finally:
        del sink.delays["dot"]
    moments = sorted(mail.received_at for mail in sink.messages[before : before + count])
    rate, bound = (count - 1) / (moments[-1] - moments[0]), dialogues / SLOW_DOT
    work = f"mails to a server that takes {1000 * SLOW_DOT:.0f} ms, {dialogues} connections"
    goal = "≥ 35/s" if dialogues == min(CONNECTIONS) else ""
    return Measurement(
        work, rate, Unit.RATE, bound=f"nothing but the waiting: {bound:.0f}/s", to_bound=rate / bound, goal=goal
    )


INSERT_PEOPLE = """
with person as (
    insert into people (id, name) select gen_random_uuid(), 'Follower' from generate_series(1, $1) returning id
)
insert into addresses (person_id, address, lookup)
select id, id || '@example.com', id || '@example.com' from person
returning person_id
"""
INSERT_FOLLOWS = """
insert into follows (id, post_id, person_id, follows) select gen_random_uuid(), $1, unnest($2::uuid[]), true
"""
COUNT_TOLD = "select count(*) from notifications where comment_id = $1"
GIVE_UP = """
update notifications set state = 'skipped', why = 'unsubscribed', due_at = null
where comment_id = $1 and state = 'waiting' and lease_token is null
"""


async def followers(system: System) -> Measure:
    """10,000 people with addresses follow a discussion and hear of one comment, while replies are mailed elsewhere.

    They are written into the databases: to sign in and follow one by one would take longer than all measurements.
    """
    parents = await _parents(system)
    post_id = await system.publish("Post that many follow", system.author)
    async with _database(system, "people") as people, _database(system, "notify") as notify:
        ids = [row["person_id"] for row in await people.fetch(INSERT_PEOPLE, FOLLOWERS)]
        await notify.execute(INSERT_FOLLOWS, post_id, ids)

    async def told(notify: asyncpg.Connection, comment_id: str) -> float:
        async def are_told() -> bool:
            return bool(await notify.fetchval(COUNT_TOLD, comment_id) >= FOLLOWERS)

        begun = time.perf_counter()
        await eventually(are_told, timeout=120)
        return 1000 * (time.perf_counter() - begun)

    async def measure() -> list[Measurement]:
        alone = await _replies(system, parents, SINGLE_RATE, SINGLE_SECONDS)
        await system.settle()
        async with _database(system, "notify") as notify:
            comment = await system.client.comment(system.author, post_id, "of which many hear")
            all_told = asyncio.create_task(told(notify, comment["id"]))
            replies = asyncio.create_task(_replies(system, parents, SINGLE_RATE, SINGLE_SECONDS))
            seconds = await all_told
            await asyncio.sleep(SINGLE_SECONDS)
            await notify.execute(GIVE_UP, comment["id"])  # their mails would take longer than all that is measured
            meanwhile = await replies
        return [
            Measurement(f"{FOLLOWERS:,} followers have their row", seconds, Unit.LATENCY, goal="≤ 1,000 ms"),
            Measurement(
                "reply accepted → mail meanwhile, p99",
                meanwhile.p99,
                Unit.LATENCY,
                bound=f"without them {alone.p99:.0f} ms",
                to_bound=meanwhile.p99 / alone.p99,
                goal="≤ 2 ×",
            ),
        ]

    return measure


@asynccontextmanager
async def _database(system: System, service: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(system.stack.database_urls[service])
    try:
        yield connection
    finally:
        await connection.close()


def _requests(system: System, parents: list[Parent]) -> Iterator[bytes]:
    for number in itertools.count():
        yield _reply(system.crowd.next(), parents[number % len(parents)], uuid4().hex)


def _reply(who: Person, parent: Parent, text: str) -> bytes:
    post_id, comment_id = parent
    body = orjson.dumps({"body": f"reply {text}", "parent_id": comment_id})
    return request("POST", f"/v1/posts/{post_id}/comments", {"Authorization": f"Bearer {who.access_token}"}, body)
