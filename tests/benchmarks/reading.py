"""Reading discussions: from the gateway's cache, past it, right after it was emptied, and in a long thread."""

import asyncio
import statistics
import time

from tests.benchmarks.bounds import bare_rate, wrk
from tests.benchmarks.cores import spent
from tests.benchmarks.house import House
from tests.benchmarks.table import Row, quantiles
from tests.benchmarks.wire import exchange, request
from tests.client import Person


async def pages(house: House) -> list[Row]:
    """A page of 100 comments by strangers, who are served from the cache, and by somebody signed in, who is not."""
    post_id = await house.publish("A page of comments")
    await house.import_thread(post_id, 100)
    path = f"/v1/posts/{post_id}/comments?limit=100"
    page = await house.client.call("GET", path)
    assert page.status == 200, page.body
    tag, token = f"If-None-Match: {page.headers['ETag']}", f"Authorization: Bearer {house.people[0].access_token}"
    bare = await asyncio.to_thread(bare_rate, page.body)
    kept = await asyncio.to_thread(wrk, house.stack.url + path)
    unchanged = await asyncio.to_thread(wrk, house.stack.url + path, headers=[tag])
    with spent(house.stack, house.servers) as cost:
        own = await asyncio.to_thread(wrk, house.stack.url + path, headers=[token], connections=4)
    bound = f"bare ASGI server {bare:,.0f}"
    size = f"{len(page.body) / 1000:.0f} kB"
    return [
        Row(f"page of 100 comments ({size}), requests/s", f"{kept.rate:,.0f}", bound, kept.rate / bare, "≥ 0.6"),
        Row("the same, unchanged (304), requests/s", f"{unchanged.rate:,.0f}", bound, unchanged.rate / bare),
        Row("the same, signed in: past the cache, requests/s", f"{own.rate:,.0f}", bound, own.rate / bare),
        Row("… its price in processor time, µs", f"{1e6 * cost.total / own.count:,.0f}", cost.each(own.count)),
    ]


async def after_invalidation(house: House) -> list[Row]:
    """The first read after a write has emptied the cache of the page."""
    post_id = await house.publish("A page that changes")
    await house.import_thread(post_id, 100)
    raw = request("GET", f"/v1/posts/{post_id}/comments?limit=100", {})
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port, limit=1 << 20)
    times = []
    for _ in range(40):
        await house.client.comment(house.people[0], post_id)
        begun = time.perf_counter()
        status, _, _ = await exchange(reader, writer, raw)
        times.append(1000 * (time.perf_counter() - begun))
        assert status == 200
    writer.close()
    return [Row("read right after an invalidation, ms (p50, p90)", quantiles(times, 0.5, 0.9), goal="≤ 2 ms")]


async def long_thread(house: House) -> list[Row]:
    """The first page of a long thread beside a short one, past the cache (signed in), in turns."""
    short, long = await house.publish("Short"), await house.publish("Long")
    await house.import_thread(short, 100)
    await house.import_thread(long, 10_000)
    times: dict[str, list[float]] = {short: [], long: []}
    who: Person = house.people[0]
    for post_id in (short, long) * 80:
        begun = time.perf_counter()
        answer = await house.client.call("GET", f"/v1/posts/{post_id}/comments?limit=100", who=who)
        times[post_id].append(1000 * (time.perf_counter() - begun))
        assert answer.status == 200
    of_short, of_long = statistics.median(times[short]), statistics.median(times[long])
    return [
        Row(
            "first page of a 10,000-comment thread, ms (p50)",
            f"{of_long:.1f}",
            f"100-comment thread {of_short:.1f}",
            of_long / of_short,
            "≤ 1.2",
        )
    ]
