"""One exchange with Valkey for all that requests ask at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

from redis.asyncio import Redis

from services.gateway.access.counters import Counters, Policy
from services.gateway.access.pseudonyms import Pseudonyms
from services.gateway.access.recent_writers import RecentWriters
from services.gateway.access.valkey import Valkey
from tests.fault_proxy import FaultProxy, fault_proxy

POLICY = Policy("writing", 100, 60)


@asynccontextmanager
async def parts(redis_url: str) -> AsyncIterator[tuple[FaultProxy, Counters, RecentWriters]]:
    """Yield both parts that ask, on one connection through a proxy that can fail."""
    address = urlsplit(redis_url)
    assert address.port is not None
    async with fault_proxy(address.port) as proxy:
        valkey = Valkey(address._replace(netloc=f"127.0.0.1:{proxy.port}").geturl())
        counters = Counters(valkey, pseudonyms=Pseudonyms("secret"), pause=0.05)
        writers = RecentWriters(valkey, longest_write=5)
        try:
            yield proxy, counters, writers
        finally:
            await counters.close()
            await valkey.close()


async def write(counters: Counters, writers: RecentWriters) -> int:
    """Count and mark the write of a new person, and return how many they may still send."""
    who = uuid4()
    marked = writers.begin(who)
    standing = await counters.count(POLICY, str(who))
    assert await marked
    writers.end(who)
    assert standing is not None
    return standing.remaining


async def test_writes_that_come_together_are_counted_and_marked_in_one_exchange(redis_url: str) -> None:
    async with parts(redis_url) as (proxy, counters, writers), Redis.from_url(redis_url) as client:
        await write(counters, writers)
        asked, marks = proxy.asks, len(await client.keys("rapport:wrote:*"))
        left = await asyncio.gather(*(write(counters, writers) for _ in range(16)))
        assert left == [POLICY.quota - 1] * 16
        assert proxy.asks == asked + 1
        assert proxy.connections == 1
        assert len(await client.keys("rapport:wrote:*")) == marks + 16


async def test_a_connection_that_ended_under_a_count_lets_marks_be_doubted(redis_url: str) -> None:
    """The connection is the same, so what was lost with it may be marks."""
    async with parts(redis_url) as (proxy, counters, writers):
        anna = uuid4()
        assert not await writers.wrote_lately(anna)
        proxy.reset()
        proxy.heal()
        assert await counters.count(POLICY, "anna")
        assert not counters.away
        assert await writers.wrote_lately(anna)


async def test_what_one_part_asks_while_the_other_leaves_valkey_alone_is_answered(redis_url: str) -> None:
    async with parts(redis_url) as (proxy, counters, writers):
        await write(counters, writers)
        await counters.close()
        asked = proxy.asks
        marked, counted = writers.begin(uuid4()), asyncio.ensure_future(counters.count(POLICY, "anna"))
        assert await marked
        standing = await counted
        assert standing is not None
        assert standing.remaining == POLICY.quota - 1, "counted here"
        assert proxy.asks == asked + 1
