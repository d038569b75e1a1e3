"""Durable comments through the gateway: how many, how late, and what one costs in each part."""

import asyncio
import itertools
from collections.abc import Iterator
from uuid import uuid4

import orjson

from tests.benchmarks.bounds import pgbench_rate
from tests.benchmarks.cores import spent
from tests.benchmarks.house import House
from tests.benchmarks.table import Row, quantiles
from tests.benchmarks.wire import drive, request
from tests.stack import paused

CLIENTS = 16
COUNT = 3000


PROSE = "Well said, and I would add one thing: a discussion lives from answers, not from counts. " * 5
TEXTS = (PROSE, PROSE, PROSE, PROSE + "See https://example.com/why and *read on*.")


def comment_requests(house: House) -> Iterator[bytes]:
    """Comments of some 450 characters by turns of all people on all posts; each has a key, one in four a link."""
    for number in itertools.count():
        person, post = house.people[number % len(house.people)], house.posts[number % len(house.posts)]
        text = f"Number {number}. {TEXTS[number % len(TEXTS)]}"
        headers = {"Authorization": f"Bearer {person.access_token}", "Idempotency-Key": str(uuid4())}
        yield request("POST", f"/v1/posts/{post}/comments", headers, orjson.dumps({"body": text}))


async def comments(house: House) -> list[Row]:
    """Comments accepted, by 16 clients, each of which sends the next one when it has its answer.

    The service that makes mails of them stands still meanwhile: it is measured by itself.
    """
    await drive(house.port, comment_requests(house), clients=CLIENTS, count=400)
    with paused(house.stack.part("notify")), spent(house.stack, house.servers) as cost:
        sample = await drive(house.port, comment_requests(house), clients=CLIENTS, count=COUNT)
    assert set(sample.statuses) == {201}, sample.statuses
    bound = await asyncio.to_thread(pgbench_rate, house.stack.database_urls["comments"])
    return [
        Row(
            "comments accepted per second, 16 clients",
            f"{sample.rate:,.0f}",
            f"pgbench insert + commit {bound:,.0f}",
            sample.rate / bound,
            "1,560/s",
        ),
        Row(
            "the same, latency ms (p50, p99)",
            quantiles((1000 * seconds for seconds in sample.latencies), 0.5, 0.99),
            goal="p99 ≤ 20 ms",
        ),
        Row("… its price in processor time, µs", f"{1e6 * cost.total / COUNT:,.0f}", cost.each(COUNT), goal="≤ 640"),
    ]
