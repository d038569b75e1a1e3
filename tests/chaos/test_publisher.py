"""Scheduled posts, two publishers, kills at every point, servers away: each is published once, at its time while up."""

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.contracts.posts import PostPublished
from tests.chaos.conftest import System
from tests.chaos.counts import HOUR, PATIENT
from tests.chaos.findings import percentile
from tests.chaos.ledger import read_topic
from tests.waiting import eventually

PRUNED = 4  # tables that a process prunes when it begins, each in a transaction: the next one is the publisher's
POINTS = {  # and how often they are passed before it is killed there
    "command.begun": PRUNED + 1,
    "publisher.locked": 1,
    "command.event_added": 1,
    "command.before_commit": PRUNED + 1,
    "command.committing": PRUNED + 1,
    "command.after_commit": PRUNED + 1,
}
LATE = timedelta(seconds=2)
SECOND = "second publisher"

Outage = tuple[datetime, datetime]


async def schedule(system: System, count: int, first: datetime, gap: timedelta) -> dict[UUID, datetime]:
    """Schedule posts through the public API; return their times."""
    numbers, found = iter(range(count)), {}

    async def write() -> None:
        for number in numbers:
            publish_at = first + number * gap
            body = {"title": f"Scheduled {number}", "body": "A text.", "publish_at": publish_at.isoformat()}
            answer = await system.client.call("POST", "/v1/posts", body, who=system.writers.author)
            assert (answer.status, answer.json["status"]) == (201, "scheduled"), answer.body
            found[UUID(answer.json["id"])] = datetime.fromisoformat(answer.json["publish_at"])

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(write())
    return found


async def come_due(system: System, count: int, gap: timedelta) -> dict[UUID, datetime]:
    """Schedule posts and wait until the time of the first has come; return their times."""
    first = datetime.now(UTC) + timedelta(seconds=60)
    times = await schedule(system, count, first, gap)
    await eventually(lambda: datetime.now(UTC) > first, timeout=90, pause=0.1)
    return times


async def kill(system: System, point: str, number: int) -> None:
    """Let a second publisher work beside the first until it is killed at the point."""
    part = await system.stack.start("posts", "publisher", name=SECOND, failpoints=f"{point}:{number}", wait=False)
    await eventually(lambda: not part.alive, timeout=120)
    assert part.process.returncode == -signal.SIGKILL, part.tail()


@asynccontextmanager
async def two_publishers(system: System) -> AsyncIterator[None]:
    second = await system.stack.start("posts", "publisher", name=SECOND)
    try:
        yield
    finally:
        second.stop()
        del system.stack.parts["posts", SECOND]


async def kill_the_first(system: System, times: int) -> None:
    """Kill one of two publishers and start it again."""
    for _ in range(times):
        system.stack.part("posts", "publisher").kill()
        await system.stack.start("posts", "publisher")


async def away(server: Any, seconds: float) -> Outage:
    """Kill a server, and start it again after so many seconds; return when it was away."""
    begun = datetime.now(UTC)
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(seconds)  # the outage must last that long
    await asyncio.to_thread(server.start)
    return begun, datetime.now(UTC)


async def rows_of(system: System, ids: Sequence[UUID]) -> dict[UUID, Any]:
    connection = await asyncpg.connect(system.stack.database_urls["posts"])
    try:
        sql = "select id, status, version, published_at from posts where id = any($1::uuid[])"
        return {row["id"]: row for row in await connection.fetch(sql, ids)}
    finally:
        await connection.close()


async def sent_at(system: System, ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """Return when the event of each publication was known to be in Kafka."""
    connection = await asyncpg.connect(system.stack.database_urls["posts"])
    try:
        sql = "select subject, published_at from outbox where type = $1 and subject = any($2::uuid[])"
        return {row["subject"]: row["published_at"] for row in await connection.fetch(sql, PostPublished.type, ids)}
    finally:
        await connection.close()


def spread(seconds: Sequence[float]) -> str:
    median, most = percentile(seconds, 0.5), max(seconds)
    return f"{median:.2f} s (median), {percentile(seconds, 0.99):.2f} s (p99), {most:.2f} s (most)"


async def published(system: System, ids: Sequence[UUID]) -> dict[UUID, Any]:
    """Wait until all are published; return their rows."""
    found: dict[UUID, Any] = {}

    async def all_are() -> bool:
        found.update(await rows_of(system, ids))
        return all(found[post_id]["status"] == "published" for post_id in ids)

    await eventually(all_are, timeout=300, pause=0.2)
    return found


async def check_once(system: System, ids: Sequence[UUID]) -> None:
    """Check that each post has one event of its publication, in the outbox and in Kafka, and that readers know it."""
    await system.verdict()  # versions without a gap, every event sent and handled, read models up to date
    connection = await asyncpg.connect(system.stack.database_urls["posts"])
    try:
        sql = "select subject from outbox where type = $1 and subject = any($2::uuid[])"
        subjects = [row["subject"] for row in await connection.fetch(sql, PostPublished.type, ids)]
    finally:
        await connection.close()
    assert Counter(subjects) == dict.fromkeys(ids, 1)
    records = {record.id: record for record in await read_topic(system.stack, "posts.events")}
    sent = Counter(record.subject for record in records.values() if record.type == PostPublished.type)
    assert {post_id: sent[post_id] for post_id in ids} == dict.fromkeys(ids, 1)


@pytest.mark.timeout(PATIENT)
async def test_a_killed_publisher_leaves_its_posts_to_the_other(system: System) -> None:
    first = system.stack.part("posts", "publisher")
    await asyncio.to_thread(first.stop)
    ids = list(await schedule(system, 6, datetime.now(UTC) + timedelta(hours=1), timedelta()))
    await system.ledger.value("posts", "update posts set publish_at = now() where publish_at is not null returning 1")
    await kill(system, "command.event_added", 1)
    await system.stack.start("posts", "publisher")
    assert {row["version"] for row in (await published(system, ids)).values()} == {2}
    await check_once(system, ids)


@pytest.mark.chaos
@pytest.mark.timeout(HOUR)
async def test_a_thousand_scheduled_posts_are_published_once_each_and_at_their_time(system: System) -> None:
    """While PostgreSQL is away nothing can be published; what became due meanwhile is, when it is back."""
    times = await come_due(system, 400, timedelta(seconds=0.5))
    for round_number, point in itertools.product(range(3), POINTS):
        await kill(system, point, POINTS[point] + round_number)
    async with two_publishers(system):
        await kill_the_first(system, 5)
        times |= await come_due(system, 300, timedelta(seconds=0.1))
        without_kafka = await away(system.servers.broker, 15)
        times |= await come_due(system, 300, timedelta(seconds=0.1))
        without_postgres = await away(system.servers.postgres, 15)
        rows = await published(system, list(times))
    assert all(row["version"] == 2 for row in rows.values())
    late = {post_id: rows[post_id]["published_at"] - times[post_id] for post_id in times}
    assert min(late.values()) >= timedelta()
    held = {post_id for post_id in times if without_postgres[0] - LATE <= times[post_id] <= without_postgres[1]}
    over_kafka = {post_id for post_id in times if without_kafka[0] - LATE <= times[post_id] <= without_kafka[1]}
    seconds = sorted(late[post_id].total_seconds() for post_id in times if post_id not in held)
    await check_once(system, list(times))
    told = await sent_at(system, list(times))
    until_sent = sorted((told[one] - times[one]).total_seconds() for one in times if one not in held | over_kafka)
    back = max(rows[post_id]["published_at"] for post_id in held) - without_postgres[1]
    print(f"{len(times)} posts published once each: {3 * len(POINTS)} kills at {len(POINTS)} points, 5 of the other")
    print(f"{len(seconds)} while PostgreSQL was up, {len(over_kafka)} of them without Kafka: late by {spread(seconds)}")
    print(f"{len(until_sent)} while Kafka was up too: from the time to the event in Kafka {spread(until_sent)}")
    print(f"{len(held)} due while PostgreSQL was away: the last {back.total_seconds():.2f} s after its return")
    assert seconds[-1] <= LATE.total_seconds()
