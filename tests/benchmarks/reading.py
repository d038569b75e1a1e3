"""Reading discussions: from the gateway's cache, past it, right after it was emptied, and in a long thread."""

import asyncio
import statistics
import time
from collections import Counter

from tests.benchmarks.bounds import Load, bare, wrk
from tests.benchmarks.cores import spent
from tests.benchmarks.measurement import Measurement, Unit, prices, quantile, require
from tests.benchmarks.system import System
from tests.benchmarks.turns import Measure
from tests.benchmarks.wire import exchange, request

READERS = 8  # a person may read 6,000 times a minute
READS_WITH_LATENCY, READS_WITH_PRICE = 20, 8
WRITES = READS_WITH_LATENCY + READS_WITH_PRICE


async def pages(system: System) -> Measure:
    """A page of 100 comments by strangers, who are served from the cache, and by people signed in, who are not.

    Ratios to the bound are of processor time for one request, which the load of other programs changes less than rates.
    """
    post_id = await system.publish("A page of comments")
    await system.import_thread(post_id, 100)
    path = f"/v1/posts/{post_id}/comments?limit=100"
    url = system.stack.url + path

    async def measure() -> list[Measurement]:
        gateway = system.stack.part("gateway").process.pid
        page = await system.client.call("GET", path)
        require({page.status: 1}, 200)
        await asyncio.to_thread(wrk, url, gateway, seconds=1)
        kept = await asyncio.to_thread(wrk, url, gateway)
        unchanged = await asyncio.to_thread(wrk, url, gateway, headers=[f"If-None-Match: {page.headers['ETag']}"])
        tokens = [person.access_token for person in system.crowd.take(READERS)]
        with system.spent() as cost:
            own = await asyncio.to_thread(wrk, url, gateway, connections=4, tokens=tokens)
        floor = await asyncio.to_thread(bare, page.body)
        bound = f"bare ASGI server {floor.rate:,.0f}/s, {floor.price:.0f} µs"

        def read(work: str, load: Load, goal: str = "") -> list[Measurement]:
            return [
                Measurement(work, load.rate, Unit.RATE, bound=bound, to_bound=floor.price / load.price, goal=goal),
                Measurement(f"{work}: price", load.price, Unit.PRICE),
            ]

        return [
            *read("page of 100 comments, strangers", kept, "≥ 0.6 of a bare server"),
            *read("page of 100 comments, unchanged (304)", unchanged),
            Measurement("page of 100 comments, signed in", own.rate, Unit.RATE),
            *prices("page of 100 comments, signed in: price", cost.by_part, own.requests),
        ]

    return measure


async def post_page(system: System) -> Measure:
    """The first page of a post with 100 comments as HTML: from the cache, and for people who are signed in."""
    post_id = await system.publish("A page for people")
    await system.import_thread(post_id, 100)
    path = f"/posts/{post_id}"
    url = system.stack.url + path

    async def measure() -> list[Measurement]:
        gateway = system.stack.part("gateway").process.pid
        page = await system.client.call("GET", path)
        require({page.status: 1}, 200)
        await asyncio.to_thread(wrk, url, gateway, seconds=1)
        kept = await asyncio.to_thread(wrk, url, gateway)
        readers = system.crowd.take(READERS)
        own_page = await system.client.call("GET", path, who=readers[0])
        require({own_page.status: 1}, 200)
        with system.spent() as cost:
            own = await asyncio.to_thread(
                wrk, url, gateway, connections=4, tokens=[one.access_token for one in readers]
            )
        floor = await asyncio.to_thread(bare, page.body)
        bound = f"bare ASGI server {floor.rate:,.0f}/s, {floor.price:.0f} µs"
        work = "post page as HTML, 100 comments"
        return [
            Measurement(f"{work}, strangers", kept.rate, Unit.RATE, bound=bound, to_bound=floor.price / kept.price),
            Measurement(f"{work}, strangers: price", kept.price, Unit.PRICE),
            Measurement(f"{work}, strangers: size", len(page.body) / 1000, Unit.SIZE),
            Measurement(f"{work}, signed in", own.rate, Unit.RATE),
            *prices(f"{work}, signed in: price", cost.by_part, own.requests),
            Measurement(f"{work}, signed in: size", len(own_page.body) / 1000, Unit.SIZE),
        ]

    return measure


async def after_invalidation(system: System) -> Measure:
    """The first read after a write has emptied the cache of the page.

    Latency is that of a read right after the write. The price is that of a read which comes when everything else that
    the write causes is done.
    """
    post_id = await system.publish("A page that changes", system.author)
    await system.import_thread(post_id, 100)
    raw = request("GET", f"/v1/posts/{post_id}/comments?limit=100", {})

    async def measure() -> list[Measurement]:
        reader, writer = await asyncio.open_connection("127.0.0.1", system.port, limit=1 << 20)
        times, by_part, statuses = list[float](), Counter[str](), Counter[int]()
        for _ in range(READS_WITH_LATENCY):
            await system.client.comment(system.crowd.next(), post_id)
            begun = time.perf_counter()
            status, _, _ = await exchange(reader, writer, raw)
            times.append(1000 * (time.perf_counter() - begun))
            statuses[status] += 1
        for _ in range(READS_WITH_PRICE):
            await system.client.comment(system.crowd.next(), post_id)
            await system.settle()
            with spent(system.stack, system.servers) as cost:
                status, _, _ = await exchange(reader, writer, raw)
            statuses[status] += 1
            by_part.update(cost.by_part)
        writer.close()
        require(statuses, 200)
        return [
            Measurement("read after an invalidation, p50", quantile(times, 0.5), Unit.LATENCY, goal="≤ 2 ms"),
            *prices("read after an invalidation: price", by_part, READS_WITH_PRICE),
        ]

    return measure


async def long_thread(system: System) -> Measure:
    """The first page of a long thread beside a short one, past the cache (signed in), by turns."""
    short, long = await system.publish("Short"), await system.publish("Long")
    await system.import_thread(short, 100)
    await system.import_thread(long, 10_000)

    async def measure() -> list[Measurement]:
        times: dict[str, list[float]] = {short: [], long: []}
        who, statuses = system.crowd.next(), Counter[int]()
        for post_id in (short, long) * 40:
            begun = time.perf_counter()
            answer = await system.client.call("GET", f"/v1/posts/{post_id}/comments?limit=100", who=who)
            times[post_id].append(1000 * (time.perf_counter() - begun))
            statuses[answer.status] += 1
        require(statuses, 200)
        of_short, of_long = statistics.median(times[short]), statistics.median(times[long])
        bound = f"100-comment thread {of_short:.1f} ms"
        work = "first page of a 10,000-comment thread, p50"
        return [Measurement(work, of_long, Unit.LATENCY, bound=bound, to_bound=of_long / of_short, goal="≤ 1.2 of it")]

    return measure
