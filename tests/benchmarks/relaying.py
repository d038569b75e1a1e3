"""A backlog of events: what each costs on its way from an outbox through Kafka into a reader's database."""

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from uuid import uuid4

import asyncpg

from services.chassis.messaging.outbox_slices import RELAYS
from tests.benchmarks import cores
from tests.benchmarks.measurement import Measurement, MeasurementError, Unit, prices
from tests.benchmarks.system import System
from tests.benchmarks.turns import Measure
from tests.waiting import eventually

EVENTS = int(os.environ.get("BENCH_EVENTS", "200000"))
POSTS = 2_000
VERSIONS = EVENTS // POSTS
MEMBERS = (1, 2, 4)
FLAT = 1.15

FILL = """
insert into outbox (event_id, topic, type, source, subject, key, time, correlation_id, traceparent, payload)
select uuidv7(), 'posts.events', 'dev.rapport.posts.edited.v1', '/services/posts', post_id, post_id, now(),
       gen_random_uuid()::text, '00-' || replace(gen_random_uuid()::text, '-', '') || '-00f067aa0ba902b7-01',
       convert_to(json_build_object(
           'post_id', post_id, 'author_id', gen_random_uuid(), 'kind', 'post', 'status', 'published',
           'discussion', 'open', 'version', version, 'revision', version, 'occurred_at', '2026-01-01T00:00:00.000Z',
           'imported', false, 'text_id', gen_random_uuid())::text, 'UTF8')
from generate_series(1, $2::int) as version, unnest($1::uuid[]) as post_id
order by version
"""
EMPTY = "truncate {table}"  # the number of its rows is part of the price, and the last would pay for the first
COUNT_HANDLED = "select count(*) from inbox"
COUNT_NEWEST = "select count(*) from discussions where post_id = any($1::uuid[]) and version = $2"


async def backlog(system: System) -> Measure:
    """Events of posts that have waited, published by relays of posts and handled by consumers of comments.

    Nothing else of the product runs meanwhile.
    """

    async def measure() -> list[Measurement]:
        await system.stop()
        try:
            found: list[Measurement] = []
            for members in MEMBERS:
                price, rate = await _clear(system, members)
                found += _told(members, price, rate, first=found[0].value if found else None)
            return found
        finally:
            await system.stop()
            await system.start()

    return measure


def _told(members: int, price: Mapping[str, float], rate: float, first: float | None) -> list[Measurement]:
    who = f"{members} {'relay and consumer' if members == 1 else 'relays and consumers'}"
    total, *parts = prices(f"event from outbox to reader, {who}", price, EVENTS)
    if first is not None:
        total = replace(total, bound=f"with 1: {first:.0f} µs", to_bound=total.value / first, goal=f"≤ {FLAT} of it")
    return [
        total,
        *parts,
        Measurement(f"events a second of one core, {who}", 1e6 / total.value, Unit.RATE, goal="≥ 5,000/s"),
        Measurement(f"backlog of {EVENTS:,} cleared, {who}", rate, Unit.RATE),
    ]


async def _clear(system: System, members: int) -> tuple[dict[str, float], float]:
    """Let so many relays and consumers clear a backlog.

    Returns:
        processor time of relays, consumers and PostgreSQL in seconds, and events a second.

    Raises:
        MeasurementError: an event was lost, or handled twice.
    """
    urls, ids = system.stack.database_urls, [uuid4() for _ in range(POSTS)]
    posts, comments = await asyncpg.connect(urls["posts"]), await asyncpg.connect(urls["comments"])
    try:
        await posts.execute(EMPTY.format(table="outbox"))
        await comments.execute(EMPTY.format(table="inbox"))
        await posts.execute("select pg_advisory_lock($1)", RELAYS)  # relays wait, as for one of an older version
        for number in range(members):
            await system.stack.start("posts", "relay", name=f"relay {number}")
            await system.stack.start("comments", "consumer", name=f"consumer {number}", INSTANCE=f"bench-{number}")
        await posts.execute(FILL, ids, VERSIONS)
        await posts.execute("vacuum analyze outbox")
        cores.pin_all(system.stack, system.servers)

        async def is_cleared() -> bool:  # the newest version of each post is handled last
            return bool(await comments.fetchval(COUNT_NEWEST, ids, VERSIONS) == POSTS)

        with system.spent() as cost:
            begun = time.perf_counter()
            await posts.execute("select pg_advisory_unlock($1)", RELAYS)
            await eventually(is_cleared, timeout=600, pause=0.5)
            seconds = time.perf_counter() - begun
        if (handled := await comments.fetchval(COUNT_HANDLED)) != EVENTS:
            raise MeasurementError(f"{EVENTS:,} events were written, and {handled:,} were handled.")
    finally:
        await posts.close()
        await comments.close()
    await system.stop()
    price = {"PostgreSQL": cost.by_part["PostgreSQL"], "relays": 0.0, "consumers": 0.0}
    for part, used in cost.by_part.items():
        if part.startswith(("posts ", "comments ")):
            price["relays" if part.startswith("posts ") else "consumers"] += used
    return price, EVENTS / seconds
