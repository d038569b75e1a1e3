"""Reading discussions: from the gateway's cache, past it, right after it was emptied, and in a long thread."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import orjson

from tests.benchmarks.bounds import Load, bare, wrk
from tests.benchmarks.cores import SERVER_CORE, pin, spent
from tests.benchmarks.measurement import Measurement, MeasurementError, Unit, prices, quantile, require
from tests.benchmarks.system import System
from tests.benchmarks.turns import Measure
from tests.benchmarks.wire import exchange, request
from tests.client import Person
from tests.servers import free_port

READERS = 8  # a person may read 6,000 times a minute
FIRST_READERS = 16
LONG = 10_000, 100_000
READS_WITH_LATENCY, READS_WITH_PRICE, READS_EDITED = 20, 8, 10
WRITES = 2 * READS_WITH_LATENCY + READS_WITH_PRICE + 1


async def pages(system: System) -> Measure:
    """A page of 100 comments: by strangers, and by people signed in, who share with them what is kept.

    Ratios to the bound are of processor time for one request, which the load of other programs changes less than rates.
    """
    post_id = await system.publish("A page of comments")
    await system.plant_thread(post_id, 100)
    writers = system.crowd.take(READERS)
    theirs = await system.publish("A page of their own")
    await system.plant_thread(theirs, 100, [one.id for one in writers])
    path, their_path = (f"/v1/posts/{one}/comments?limit=100" for one in (post_id, theirs))
    moderators = system.crowd.take(2)
    url, their_url = system.stack.url + path, system.stack.url + their_path
    moderated = await system.publish("A page where comments wait", discussion="held")
    await system.plant_thread(moderated, 100)
    holders = system.crowd.take(READERS)
    held_url = f"{system.stack.url}/v1/posts/{moderated}/comments?limit=100"

    async def measure() -> list[Measurement]:
        system.crowd.promote(moderators)
        gateway = system.stack.part("gateway").process.pid
        page = await system.client.call("GET", path)
        require({page.status: 1}, 200)
        await asyncio.to_thread(wrk, url, gateway, seconds=1)
        kept = await asyncio.to_thread(wrk, url, gateway)
        unchanged = await asyncio.to_thread(wrk, url, gateway, headers=[f"If-None-Match: {page.headers['ETag']}"])
        async with logging_gateway(system) as (its_url, its_gateway):
            await asyncio.to_thread(wrk, its_url + path, its_gateway, seconds=1)
            logged = await asyncio.to_thread(wrk, its_url + path, its_gateway)
        floor = await asyncio.to_thread(bare, page.body)
        bound = f"bare ASGI server {floor.rate:,.0f}/s, {floor.price:.0f} µs"

        def read(work: str, load: Load, goal: str = "") -> list[Measurement]:
            return [
                Measurement(work, load.rate, Unit.RATE, bound=bound, to_bound=floor.price / load.price, goal=goal),
                Measurement(f"{work}: price", load.price, Unit.PRICE),
            ]

        async def signed_in(work: str, at: str, people: Sequence[Person], goal: str) -> list[Measurement]:
            """Read by turns, so often that each asks for what is their own once in half a minute."""
            tokens = [person.access_token for person in people]
            await asyncio.to_thread(wrk, at, gateway, seconds=1, tokens=tokens)
            with system.spent() as cost:
                load = await asyncio.to_thread(wrk, at, gateway, tokens=tokens)
            price = 1e6 * cost.total / load.requests
            strangers = f"strangers {kept.price:.0f} µs"
            return [
                Measurement(work, load.rate, Unit.RATE, bound=strangers, to_bound=kept.price / price, goal=goal),
                *prices(f"{work}: price", cost.by_part, load.requests),
            ]

        async def just_written(work: str, at: str, people: Sequence[Person], goal: str) -> list[Measurement]:
            for person in people:
                await system.client.comment(person, moderated)
            return await signed_in(work, at, people, goal)

        page_of = "page of 100 comments"
        return [
            *read(f"{page_of}, strangers", kept, "≥ 0.9 of a bare server"),
            *read(f"{page_of}, strangers, each with a line in the log", logged, "≥ 0.8 of a bare server"),
            *read(f"{page_of}, unchanged (304)", unchanged, "≥ 1.1 of a bare server's 200"),
            *await signed_in(f"{page_of}, signed in", url, system.crowd.take(READERS), "≥ 0.33 of strangers"),
            *await signed_in(f"{page_of}, who wrote them", their_url, writers, "≤ 0.25 of the base's price"),
            *await signed_in(f"{page_of}, moderators", url, moderators, "≤ 0.25 of the base's price"),
            *await just_written(
                f"{page_of}, who just wrote and waits", held_url, holders, "≤ 0.25 of the base's price"
            ),
            *await first_reads(system),
        ]

    return measure


@asynccontextmanager
async def logging_gateway(system: System) -> AsyncIterator[tuple[str, int]]:
    """Run a second gateway with ACCESS_LOG=on inside the block; yield its address and process."""
    port, name = free_port(), "with an access log"
    part = await system.stack.start("gateway", name=name, GATEWAY_PORT=str(port), ACCESS_LOG="on")
    try:
        pin([part.process.pid], SERVER_CORE)
        yield f"http://127.0.0.1:{port}", part.process.pid
    finally:
        await asyncio.to_thread(part.stop)
        del system.stack.parts["gateway", name]


async def first_reads(system: System) -> list[Measurement]:
    """People who are signed in, each of whom opens a discussion for the first time, after strangers have."""
    post_id = await system.publish("A page that many open")
    await system.plant_thread(post_id, 100)
    path = f"/v1/posts/{post_id}/comments?limit=100"
    readers, statuses = system.crowd.take(FIRST_READERS), Counter[int]()
    for one in readers:  # their tokens are known, as to a gateway that they have used
        statuses[(await system.client.call("GET", f"/v1/comment-counts?post={post_id}", who=one)).status] += 1
    statuses[(await system.client.call("GET", path)).status] += 1
    await system.settle()
    with system.spent() as cost:
        for one in readers:
            statuses[(await system.client.call("GET", path, who=one)).status] += 1
    require(statuses, 200)
    return prices("page of 100 comments, first read of a person: price", cost.by_part, FIRST_READERS)


async def post_page(system: System) -> Measure:
    """The first page of a post with 100 comments as HTML: from the cache, and for people who are signed in."""
    post_id = await system.publish("A page for people")
    await system.plant_thread(post_id, 100)
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
    """The first read after a comment was posted there, or edited, which empties the cache of the page.

    Latency is that of a read right after the write, beside that of the bound, which another write precedes: the rows of
    a page are selected and made JSON, in this process. What the write causes goes on meanwhile in both. The price is
    that of a read which comes when all of it is done. After an edit the owner is asked in any case.
    """
    post_id = await system.publish("A page that changes", system.author)
    await system.plant_thread(post_id, 100)
    raw = request("GET", f"/v1/posts/{post_id}/comments?limit=100", {})

    async def measure() -> list[Measurement]:
        reader, writer = await asyncio.open_connection("127.0.0.1", system.port, limit=1 << 20)
        database = await asyncpg.connect(system.stack.database_urls["comments"])
        times, edited, floors = list[float](), list[float](), list[float]()
        by_part, statuses = Counter[str](), Counter[int]()

        async def read() -> None:
            status, _, _ = await exchange(reader, writer, raw)
            statuses[status] += 1

        async def select_and_encode() -> None:
            rows = await database.fetch(SELECT_PAGE, UUID(post_id))
            orjson.dumps([dict(row) for row in rows], default=str)

        async def edit(number: int) -> None:
            changed = {"body": f"Edited for the {number}th time."}
            answer = await system.client.call("PATCH", f"/v1/comments/{own['id']}", changed, who=editor)
            statuses[answer.status] += 1

        editor = system.crowd.next()
        own = await system.client.comment(editor, post_id)
        await select_and_encode()  # prepares the statement
        for _ in range(READS_WITH_LATENCY):
            for taken, act in ((times, read), (floors, select_and_encode)):
                await system.client.comment(system.crowd.next(), post_id)
                begun = time.perf_counter()
                await act()
                taken.append(1000 * (time.perf_counter() - begun))
        for number in range(READS_EDITED):
            await edit(number)
            begun = time.perf_counter()
            await read()
            edited.append(1000 * (time.perf_counter() - begun))
        for _ in range(READS_WITH_PRICE):
            await system.client.comment(system.crowd.next(), post_id)
            await system.settle()
            with spent(system.stack, system.servers) as cost:
                await read()
            by_part.update(cost.by_part)
        writer.close()
        await database.close()
        require(statuses, 200)
        floor, p50, after_edit = (quantile(values, 0.5) for values in (floors, times, edited))
        work, bound = "read after an invalidation, p50", f"SELECT of 100 rows + orjson {floor:.2f} ms"
        return [
            Measurement(work, p50, Unit.LATENCY, bound=bound, to_bound=p50 / floor, goal="≤ 3 of it"),
            *prices("read after an invalidation: price", by_part, READS_WITH_PRICE),
            Measurement("read after an edit, p50", after_edit, Unit.LATENCY, bound=bound, to_bound=after_edit / floor),
        ]

    return measure


SELECT_PAGE = """
select id, post_id, parent_id, depth, author_id, body_html, state, created_at, edited_at, version, reply_count
from comments where post_id = $1 and state = 'visible' order by id limit 100
"""


async def long_thread(system: System) -> Measure:
    """The first page of long threads beside a short one, each of 100 comments, by turns, asked of the owner.

    It is read by somebody whose browser also has a cookie of ours, so that nothing that is kept answers them.
    """
    counts = {}
    for count in (100, *LONG):
        post_id = await system.publish(f"A thread of {count}")
        await system.plant_thread(post_id, count)
        counts[post_id] = count
    short = next(iter(counts))

    async def measure() -> list[Measurement]:
        times: dict[str, list[float]] = {post_id: [] for post_id in counts}
        sizes: dict[str, int] = {}
        who, statuses = system.crowd.next(), Counter[int]()
        for post_id in [*counts] * 40:
            begun = time.perf_counter()
            path = f"/v1/posts/{post_id}/comments"
            answer = await system.client.call("GET", path, who=who, headers={"Cookie": "rapport=x"})
            times[post_id].append(1000 * (time.perf_counter() - begun))
            sizes[post_id] = answer.body.count(b'"body_html":')
            statuses[answer.status] += 1
        require(statuses, 200)
        if set(sizes.values()) != {100}:
            raise MeasurementError(f"The pages have different numbers of comments: {sizes}.")
        of_short = statistics.median(times[short])
        bound = f"100-comment thread {of_short:.1f} ms"
        measured = []
        for (post_id, count), most in zip(list(counts.items())[1:], (1.1, 1.2), strict=True):
            work, value = f"first page of a {count:,}-comment thread, p50", statistics.median(times[post_id])
            goal, to_bound = f"≤ {most} of it", value / of_short
            measured.append(Measurement(work, value, Unit.LATENCY, bound=bound, to_bound=to_bound, goal=goal))
        return measured

    return measure
