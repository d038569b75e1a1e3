"""Durable comments through the gateway: how many, how late, and what one costs in each part."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from uuid import uuid4

import orjson

from tests.benchmarks.bounds import pgbench_rate
from tests.benchmarks.measurement import Measurement, Unit, prices, quantile, require
from tests.benchmarks.system import System
from tests.benchmarks.turns import Measure
from tests.benchmarks.wire import drive, request
from tests.stack import paused

CLIENTS = 16
POSTS = 8
FIRST, COUNT = 300, 1500
WRITES = FIRST + COUNT
NUMBERS = itertools.count()  # of all comments of a run, for no text may have a twin

PROSE = "Well said, and I would add one thing: a discussion lives from answers, not from counts. " * 5
TEXTS = (PROSE, PROSE, PROSE, PROSE + "See https://example.com/why and *read on*.")


def comment_requests(system: System, posts: Sequence[str]) -> Iterator[bytes]:
    """Comments of some 450 characters by people in turn on all posts; each has a key, one in four a link."""
    for number in NUMBERS:
        text = f"Number {number}. {TEXTS[number % len(TEXTS)]}"
        headers = {"Authorization": f"Bearer {system.crowd.next().access_token}", "Idempotency-Key": str(uuid4())}
        body = orjson.dumps({"body": text})
        yield request("POST", f"/v1/posts/{posts[number % len(posts)]}/comments", headers, body)


async def comments(system: System) -> Measure:
    """Comments accepted from 16 clients, each of which sends the next one when it has its answer.

    notify stands still meanwhile: mails are measured by themselves.
    """
    posts = [await system.publish(f"Post {number}", system.author) for number in range(POSTS)]

    async def measure() -> list[Measurement]:
        first = await drive(system.port, comment_requests(system, posts), clients=CLIENTS, count=FIRST)
        require(first.statuses, 201)
        with paused(system.stack.part("notify")), system.spent() as cost:
            sample = await drive(system.port, comment_requests(system, posts), clients=CLIENTS, count=COUNT)
        require(sample.statuses, 201)
        await system.settle()
        bound = await asyncio.to_thread(pgbench_rate, system.stack.database_urls["comments"])
        late = [1000 * seconds for seconds in sample.latencies]
        return [
            Measurement(
                "comments accepted from 16 clients",
                sample.rate,
                Unit.RATE,
                bound=f"pgbench insert + commit {bound:,.0f}/s",
                to_bound=sample.rate / bound,
                goal="1,560/s",
            ),
            Measurement("comment accepted, p50", quantile(late, 0.5), Unit.LATENCY),
            Measurement("comment accepted, p99", quantile(late, 0.99), Unit.LATENCY, goal="≤ 20 ms"),
            *prices("comment accepted: price", cost.by_part, COUNT, goal="≤ 640 µs"),
        ]

    return measure
