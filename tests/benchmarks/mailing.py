"""Mail about replies: how long after the reply, at what price, and how fast to a slow mail server."""

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

import orjson

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
SLOW_REPLIES, SLOW_DOT, CONNECTIONS = 60, 0.1, 4  # the last is the default of NOTIFY_MAIL_CONNECTIONS
MAILS_PER_REPLY = 2  # to the author of the parent and to the author of the post
WRITES = sum(RATES) * SECONDS + SLOW_REPLIES
TEXT = re.compile(rb"reply ([0-9a-f]{32})")

Parent = tuple[str, str]  # a post and a comment on it


async def _parents(system: System) -> list[Parent]:
    """Publish posts with a comment each, whose authors get mail."""
    posts = [await system.publish(f"Post with replies {number}") for number in range(POSTS)]
    return [(post_id, (await system.client.comment(system.reader, post_id, "first"))["id"]) for post_id in posts]


async def delays(system: System) -> Measure:
    """From the answer that a reply is accepted to the final dot of the first mail about it; settle window off."""
    parents = await _parents(system)

    async def measure() -> list[Measurement]:
        found = []
        for rate in RATES:
            found += await _delay(system, parents, rate)
            await system.settle()
        return found

    return measure


async def _delay(system: System, parents: list[Parent], rate: int) -> list[Measurement]:
    before, accepted, statuses = len(system.sink.messages), dict[str, float](), Counter[int]()
    seen = before

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", system.port, limit=1 << 20)
        for turn in range(rate * SECONDS // CLIENTS):
            text, begun = uuid4().hex, time.perf_counter()
            raw = _reply(system.crowd.next(), parents[(number + turn) % len(parents)], text)
            status, _, _ = await exchange(reader, writer, raw)
            statuses[status] += 1
            if status == 201:
                accepted[text] = time.time()
            await asyncio.sleep(max(0.0, CLIENTS / rate - (time.perf_counter() - begun)))
        writer.close()

    arrived: dict[str, float] = {}

    def all_there() -> bool:
        """Look at each mail once; several tell of one reply."""
        nonlocal seen
        for mail in system.sink.messages[seen:]:
            seen += 1
            for text in TEXT.findall(mail.content.replace(b"=\r\n", b"")):
                arrived.setdefault(text.decode(), mail.received_at)
        return accepted.keys() <= arrived.keys() and seen - before >= MAILS_PER_REPLY * len(accepted)

    with system.spent() as cost:
        begun = time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(CLIENTS)))
        reached = len(accepted) / (time.perf_counter() - begun)
        require(statuses, 201)
        await eventually(all_there, timeout=120)
    late = [1000 * (arrived[text] - moment) for text, moment in accepted.items()]
    work = f"reply accepted → mail, {rate}/s"
    bound = "" if reached > 0.9 * rate else f"only {reached:.0f}/s were accepted"
    goal = "≤ 250 ms" if rate == max(RATES) else ""
    found = [
        Measurement(f"{work}, p50", quantile(late, 0.5), Unit.LATENCY, bound=bound),
        Measurement(f"{work}, p99", quantile(late, 0.99), Unit.LATENCY, bound=bound, goal=goal),
    ]
    if rate == max(RATES):
        price = {part: seconds for part, seconds in cost.by_part.items() if part.startswith("notify")}
        found += prices("mail handed over: price in notify", price, seen - before)[:1]
    return found


async def slow_server(system: System) -> Measure:
    """Mails a second to a mail server that takes 100 ms to accept each; they are all waiting when the first leaves."""
    parents = await _parents(system)

    def replies() -> Iterator[bytes]:
        for number in itertools.count():
            yield _reply(system.crowd.next(), parents[number % len(parents)], uuid4().hex)

    async def measure() -> list[Measurement]:
        sink, before = system.sink, len(system.sink.messages)
        count = SLOW_REPLIES * MAILS_PER_REPLY
        sink.delays["dot"] = SLOW_DOT
        try:
            with paused(system.stack.part("notify")):
                sample = await drive(system.port, replies(), clients=CLIENTS, count=SLOW_REPLIES)
                require(sample.statuses, 201)
                await asyncio.sleep(1)  # the relay of comments has published them
            await eventually(lambda: len(sink.messages) >= before + count, timeout=120)
        finally:
            del sink.delays["dot"]
        moments = sorted(mail.received_at for mail in sink.messages[before : before + count])
        rate, bound = (count - 1) / (moments[-1] - moments[0]), CONNECTIONS / SLOW_DOT
        work = f"mails to a server that takes {1000 * SLOW_DOT:.0f} ms"
        said = f"{CONNECTIONS} connections, nothing else: {bound:.0f}/s"
        return [Measurement(work, rate, Unit.RATE, bound=said, to_bound=rate / bound)]

    return measure


def _reply(who: Person, parent: Parent, text: str) -> bytes:
    post_id, comment_id = parent
    body = orjson.dumps({"body": f"reply {text}", "parent_id": comment_id})
    return request("POST", f"/v1/posts/{post_id}/comments", {"Authorization": f"Bearer {who.access_token}"}, body)
