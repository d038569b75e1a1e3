"""Reading discussions: from the gateway's cache, past it, right after it was emptied, and in a long thread."""

import asyncio
import statistics
import time

from tests.benchmarks.bounds import Load, bare, wrk
from tests.benchmarks.cores import spent
from tests.benchmarks.house import House
from tests.benchmarks.table import Row, quantiles
from tests.benchmarks.wire import exchange, request
from tests.client import Person


async def pages(house: House) -> list[Row]:
    """A page of 100 comments by strangers, who are served from the cache, and by somebody signed in, who is not.

    Ratios are of processor time for one request, which the load of other programs changes less than rates.
    """
    post_id = await house.publish("A page of comments")
    await house.import_thread(post_id, 100)
    url = f"{house.stack.url}/v1/posts/{post_id}/comments?limit=100"
    gateway = house.stack.part("gateway").process.pid
    page = await house.client.call("GET", url.removeprefix(house.stack.url))
    assert page.status == 200, page.body
    tag, token = f"If-None-Match: {page.headers['ETag']}", f"Authorization: Bearer {house.people[0].access_token}"
    await asyncio.to_thread(wrk, url, gateway, seconds=2)  # the last events of the import empty the cache once more
    kept = await asyncio.to_thread(wrk, url, gateway)
    floor = await asyncio.to_thread(bare, page.body)
    unchanged = await asyncio.to_thread(wrk, url, gateway, headers=[tag])
    with spent(house.stack, house.servers) as cost:
        own = await asyncio.to_thread(wrk, url, gateway, headers=[token], connections=4)
    count = round(own.rate * 4)

    def row(work: str, load: Load, goal: str = "") -> Row:
        bound = f"bare ASGI server {floor.rate:,.0f}; {load.price:.0f} against {floor.price:.0f} µs"
        return Row(f"{work}, requests/s", f"{load.rate:,.0f}", bound, floor.price / load.price, goal)

    return [
        row(f"page of 100 comments ({len(page.body) / 1000:.0f} kB)", kept, "≥ 0.6"),
        row("the same, unchanged (304)", unchanged),
        Row("the same, signed in: past the cache, requests/s", f"{own.rate:,.0f}"),
        Row("… its price in processor time, µs", f"{1e6 * cost.total / count:,.0f}", cost.each(count)),
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
