"""Rate limits over a real Valkey, and without one."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import uvloop
from redis.asyncio import Redis

from services.chassis.errors import Problem
from services.chassis.http.client_networks import network_of
from services.gateway.access import counters as module
from services.gateway.access import valkey
from services.gateway.access.counters import Counters, Policy
from services.gateway.access.pseudonyms import Pseudonyms
from services.gateway.access.rate_limits import RateLimits
from services.gateway.access.valkey import Valkey
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.waiting import eventually

POLICY = Policy("writing", 3, 60)
RELAXED = Policy("reading", 3, 60, strict=False)
NOON = 1_795_000_020.0  # twenty seconds into a window of sixty


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def counters(url: str, clock: Clock | None = None, pause: float = 0.05) -> AsyncIterator[Counters]:
    now = clock or Clock()
    asked = Valkey(url)
    opened = Counters(asked, pseudonyms=Pseudonyms("secret", now), clock=now, pause=pause)
    try:
        yield opened
    finally:
        await opened.close()
        await asked.close()


async def spend(limits: RateLimits, policy: Policy = POLICY, identity: str = "anna") -> dict[str, str]:
    headers: dict[str, str] = {}
    await limits.spend(headers, (policy, identity))
    return headers


async def test_a_quota_is_shared_by_all_gateways_and_ends_with_its_window(redis_url: str) -> None:
    clock = Clock()
    async with counters(redis_url, clock) as one, counters(redis_url, clock) as other:
        headers = await spend(RateLimits(one))
        seconds = 60 - NOON % 60
        assert headers["RateLimit-Policy"] == '"writing";q=3;w=60'
        assert headers["RateLimit"] == f'"writing";r=2;t={seconds:.0f}'
        await spend(RateLimits(other))
        assert re.match(r'"writing";r=0;', (await spend(RateLimits(one)))["RateLimit"])
        with pytest.raises(Problem) as caught:
            await spend(RateLimits(other))
        assert caught.value.kind == "too-many-requests"
        assert caught.value.headers["Retry-After"] == f"{seconds:.0f}"
        assert '"writing";r=2;' in (await spend(RateLimits(other), identity="ben"))["RateLimit"]
        clock.now += seconds
        assert '"writing";r=2;' in (await spend(RateLimits(one)))["RateLimit"]


async def test_a_refusal_names_every_policy(redis_url: str) -> None:
    async with counters(redis_url) as one:
        limits = RateLimits(one)
        headers: dict[str, str] = {}
        with pytest.raises(Problem):
            await limits.spend(headers, (POLICY, "anna"), (Policy("mail", 0, 600), "anna"))
        assert headers["RateLimit-Policy"] == '"writing";q=3;w=60, "mail";q=0;w=600'
        assert '"mail";r=0;t=' in headers["RateLimit"]


async def test_without_redis_writes_are_counted_locally_and_reads_are_not(free_port: "object") -> None:
    assert callable(free_port)
    async with counters(f"redis://127.0.0.1:{free_port()}/0") as alone:
        limits = RateLimits(alone)
        for _ in range(3):
            assert "RateLimit" in await spend(limits)
        with pytest.raises(Problem):
            await spend(limits)
        for _ in range(5):
            assert await spend(limits, RELAXED) == {}


@asynccontextmanager
async def proxied(redis_url: str) -> AsyncIterator[tuple[FaultProxy, str]]:
    """Yield a proxy in front of Valkey that can fail, and its address."""
    parts = urlsplit(redis_url)
    assert parts.port is not None
    async with fault_proxy(parts.port) as proxy:
        yield proxy, parts._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()


async def used(counters: Counters, policy: Policy = POLICY, identity: str = "anna") -> int | None:
    """Count one request and return the count; None when it was not counted."""
    standing = await counters.count(policy, identity)
    return None if standing is None else policy.quota - standing.remaining


async def test_redis_is_used_again_after_an_outage(redis_url: str) -> None:
    async with proxied(redis_url) as (proxy, url), counters(url) as one:
        proxy.reset()
        assert await used(one, RELAXED) is None
        proxy.heal()

        async def counts() -> bool:
            return await used(one, RELAXED) is not None

        await eventually(counts)


async def test_concurrent_requests_are_all_counted_on_one_connection(redis_url: str) -> None:
    many = Policy("many", 1000, 60, strict=False)
    async with proxied(redis_url) as (proxy, url), counters(url) as one:
        counted = await asyncio.gather(*(used(one, many) for _ in range(20)))
        assert sorted(each or 0 for each in counted) == list(range(1, 21))
        assert proxy.connections <= 1


async def test_a_used_up_quota_stays_used_up_when_redis_goes_away(redis_url: str) -> None:
    async with proxied(redis_url) as (proxy, url), counters(url) as one, counters(redis_url) as other:
        assert [await used(one), await used(other), await used(one)] == [1, 2, 3]
        proxy.reset()
        with pytest.raises(Problem):
            await spend(RateLimits(one))


async def test_local_counts_of_an_outage_still_count_when_redis_is_back(redis_url: str) -> None:
    policy = Policy("writing", 100, 60)
    async with proxied(redis_url) as (proxy, url), counters(url) as one:
        assert [await used(one, policy) for _ in range(3)] == [1, 2, 3]
        proxy.reset()
        assert [await used(one, policy) for _ in range(3)] == [4, 5, 6]
        proxy.heal()
        asked = proxy.asks
        await eventually(lambda: proxy.asks > asked and not one.away)
        assert [await used(one, policy) for _ in range(3)] == [7, 8, 9]


async def test_counts_that_redis_lost_are_kept_locally(redis_url: str) -> None:
    """Also by concurrent requests, none of which knows of the loss when it begins."""
    policy = Policy("writing", 10, 60)
    async with Redis.from_url(redis_url) as client, counters(redis_url) as one:
        assert [await used(one, policy) for _ in range(5)] == [1, 2, 3, 4, 5]
        await client.flushdb()
        standings = await asyncio.gather(*(one.count(policy, "anna") for _ in range(20)))
        assert sum(1 for standing in standings if standing and standing.allowed) <= 5
        assert await one.count(policy, "ben") != standings[0]


async def test_counts_that_redis_loses_repeatedly_are_kept_locally(redis_url: str) -> None:
    policy = Policy("writing", 100, 60)
    async with Redis.from_url(redis_url) as client, proxied(redis_url) as (proxy, url), counters(url) as one:
        proxy.delay = 0.002
        counting = [asyncio.create_task(one.count(policy, "anna")) for _ in range(200)]
        while not all(task.done() for task in counting):
            await client.flushdb()
        standings = [task.result() for task in counting]
        assert sum(1 for standing in standings if standing and standing.allowed) == 100


async def test_redis_is_not_asked_for_a_used_up_quota(redis_url: str) -> None:
    async with proxied(redis_url) as (proxy, url), counters(url) as one:
        assert [await used(one) for _ in range(3)] == [1, 2, 3]
        asked = proxy.asks
        for _ in range(3):
            with pytest.raises(Problem):
                await spend(RateLimits(one))
        assert proxy.asks == asked


async def test_broken_connections_are_replaced_at_once(redis_url: str) -> None:
    """On the loop that services run on: writing to a closed transport raises RuntimeError there."""
    many = Policy("many", 1000, 60, strict=False)

    async def outage(proxy: FaultProxy, url: str, main: asyncio.AbstractEventLoop) -> list[int | None]:
        async with counters(url) as one:
            await asyncio.gather(*(used(one, many) for _ in range(8)))
            main.call_soon_threadsafe(proxy.reset)
            await eventually(lambda: not proxy.connections)
            assert await used(one, many) is None
            main.call_soon_threadsafe(proxy.heal)
            await eventually(lambda: not one.away)
            return await asyncio.gather(*(used(one, many) for _ in range(8)))

    def on_uvloop(proxy: FaultProxy, url: str, main: asyncio.AbstractEventLoop) -> list[int | None]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(outage(proxy, url, main))

    async with proxied(redis_url) as (proxy, url):
        assert None not in await asyncio.to_thread(on_uvloop, proxy, url, asyncio.get_running_loop())


async def test_a_connection_that_ended_is_no_outage(redis_url: str) -> None:
    """Redis was started anew, or a proxy between has closed what was idle."""
    async with proxied(redis_url) as (proxy, url), counters(url) as one:
        assert await used(one, RELAXED) == 1
        proxy.reset()
        await eventually(lambda: not proxy.connections)
        proxy.heal()
        assert await used(one, RELAXED) == 2
        assert not one.away


async def test_while_redis_is_slow_hardly_any_request_waits_for_it(redis_url: str) -> None:
    async with proxied(redis_url) as (proxy, url), counters(url, pause=0.01) as one:
        await used(one)
        proxy.delay = 2
        assert await used(one, RELAXED) is None
        for _ in range(3):
            asked = proxy.asks
            await eventually(lambda asked=asked: proxy.asks > asked)  # type: ignore[misc]  # binds the value
            counting = one.count(RELAXED, "anna")  # while the gateway itself asks
            with pytest.raises(StopIteration):
                counting.send(None)


async def test_a_cancelled_count_leaves_no_answer_and_no_connection_behind(redis_url: str) -> None:
    async with proxied(redis_url) as (proxy, url), counters(url) as one:
        proxy.delay = 0.002
        for number in range(8):
            counting = [asyncio.create_task(used(one, identity="storm")) for _ in range(4)]
            await asyncio.sleep(0.0005 * (number % 12))
            for task in counting:
                task.cancel()
            await asyncio.gather(*counting, return_exceptions=True)
        proxy.delay = 0.0
        await eventually(lambda: not one.away)
        counted = await asyncio.gather(*(used(one, RELAXED, f"person {n}") for n in range(8)))
        assert counted == [1] * len(counted)
        assert proxy.connections <= 1


async def test_many_clients_do_not_evict_the_local_count_of_a_frequent_one(
    free_port: "object", monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(free_port)
    monkeypatch.setattr(module, "LOCAL_KEYS", 10)
    async with counters(f"redis://127.0.0.1:{free_port()}/0", pause=60) as alone:
        for number in range(5):
            await used(alone)
            for client in range(8):
                await used(alone, identity=f"{number} {client}")
        with pytest.raises(Problem):
            await spend(RateLimits(alone))


@pytest.mark.parametrize("policy", [Policy("writing", 100, 60), RELAXED])
async def test_counters_closed_while_redis_does_not_answer_lose_nobody_and_leave_nothing_behind(
    redis_url: str, policy: Policy
) -> None:
    """Those of one client wait for each other, so some are counted when the connections are closed."""
    async with proxied(redis_url) as (proxy, url), counters(url) as one:
        await used(one, policy, "first")
        proxy.mode = "drop"
        asked = proxy.asks
        counting = [asyncio.create_task(used(one, policy)) for _ in range(10)]
        await eventually(lambda: proxy.asks > asked)
        await one.close()
        counted = await asyncio.gather(*counting)
        assert counted == (list(range(1, 11)) if policy.strict else [None] * 10)
        proxy.heal()
        assert await used(one, RELAXED, "late") is None, "nothing is asked after the end"
        await eventually(lambda: not proxy.connections)
        assert not {task for task in asyncio.all_tasks() if "Counters" in task.get_coro().__qualname__}  # type: ignore[union-attr]


async def test_counters_are_closed_though_a_question_never_ends(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valkey, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(valkey, "_ask", lambda *_: asyncio.Event().wait())
    monkeypatch.setattr(valkey, "ANSWER_SECONDS", 60)
    async with counters(redis_url) as one:
        counting = asyncio.create_task(used(one, RELAXED))
        await eventually(lambda: one._valkey._batcher._tasks)
        async with asyncio.timeout(5):
            await one.close()
        assert not counting.done(), "else this shows nothing"
        counting.cancel()


async def test_identities_are_hashed_in_redis(redis_url: str) -> None:
    async with counters(redis_url) as one:
        await spend(RateLimits(one), identity="anna@example.com")
    async with Redis.from_url(redis_url) as client:
        keys = await client.keys("*")
        assert len(keys) == 1
        assert "anna" not in str(keys[0])
        assert 0 < await client.ttl(keys[0]) <= 61


async def test_rate_limits_can_be_off() -> None:
    assert await spend(RateLimits(None)) == {}


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("nonsense", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_network_a_client_is_counted_by(host: str | None, counted: str) -> None:
    assert network_of(host) == counted


async def test_an_outage_is_told_though_no_request_is_counted(redis_url: str) -> None:
    async with counters(redis_url) as one:
        await RateLimits(one).check()
        assert module.VALKEY_AWAY.own._value.get() == 0
    async with counters("redis://127.0.0.1:1/0") as other:
        await RateLimits(other).check()
        assert module.VALKEY_AWAY.own._value.get() == 1
    assert module.VALKEY_AWAY.own._value.get() == 0
