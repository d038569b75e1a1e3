"""Rate limits over a real Valkey, and without one."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.chassis.errors import Problem
from services.gateway.limits import Counters, Limits, Policy, network

POLICY = Policy("writing", 3, 60)
RELAXED = Policy("reading", 3, 60, strict=False)
NOON = 1_795_000_020.0  # twenty seconds into a window of sixty


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def counters(url: str, clock: Clock | None = None) -> AsyncIterator[Counters]:
    opened = Counters(url, secret="secret", clock=clock or Clock())
    try:
        yield opened
    finally:
        await opened.close()


async def spend(limits: Limits, policy: Policy = POLICY, identity: str = "anna") -> dict[str, str]:
    headers: dict[str, str] = {}
    await limits.spend(headers, (policy, identity))
    return headers


async def test_a_quota_is_shared_by_all_gateways_and_ends_with_its_window(redis_url: str) -> None:
    clock = Clock()
    async with counters(redis_url, clock) as one, counters(redis_url, clock) as other:
        headers = await spend(Limits(one))
        seconds = 60 - NOON % 60
        assert headers["RateLimit-Policy"] == '"writing";q=3;w=60'
        assert headers["RateLimit"] == f'"writing";r=2;t={seconds:.0f}'
        await spend(Limits(other))
        assert re.match(r'"writing";r=0;', (await spend(Limits(one)))["RateLimit"])
        with pytest.raises(Problem) as caught:
            await spend(Limits(other))
        assert caught.value.kind == "too-many-requests"
        assert caught.value.headers["Retry-After"] == f"{seconds:.0f}"
        assert '"writing";r=2;' in (await spend(Limits(other), identity="ben"))["RateLimit"]
        clock.now += seconds
        assert '"writing";r=2;' in (await spend(Limits(one)))["RateLimit"]


async def test_a_refusal_tells_every_standing(redis_url: str) -> None:
    async with counters(redis_url) as one:
        limits = Limits(one)
        headers: dict[str, str] = {}
        with pytest.raises(Problem):
            await limits.spend(headers, (POLICY, "anna"), (Policy("mail", 0, 600), "anna"))
        assert headers["RateLimit-Policy"] == '"writing";q=3;w=60, "mail";q=0;w=600'
        assert '"mail";r=0;t=' in headers["RateLimit"]


async def test_without_redis_writes_are_counted_here_and_reads_are_not(free_port: "object") -> None:
    assert callable(free_port)
    async with counters(f"redis://127.0.0.1:{free_port()}/0") as alone:
        limits = Limits(alone)
        for _ in range(3):
            assert "RateLimit" in await spend(limits)
        with pytest.raises(Problem):
            await spend(limits)
        for _ in range(5):
            assert await spend(limits, RELAXED) == {}


async def test_redis_is_asked_again_after_it_was_away(redis_url: str) -> None:
    clock = Clock()
    async with counters(redis_url, clock) as one:
        one._away_until = clock.now + 2
        await spend(Limits(one))
        clock.now += 2
        assert '"writing";r=2;' in (await spend(Limits(one)))["RateLimit"]


async def test_no_identity_stands_in_redis_as_it_is(redis_url: str) -> None:
    from redis.asyncio import Redis

    async with counters(redis_url) as one:
        await spend(Limits(one), identity="anna@example.com")
    async with Redis.from_url(redis_url) as client:
        keys = await client.keys("*")
        assert len(keys) == 1
        assert "anna" not in str(keys[0])
        assert 0 < await client.ttl(keys[0]) <= 61


async def test_limits_can_be_off() -> None:
    assert await spend(Limits(None)) == {}


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
def test_whom_a_client_is_counted_as(host: str | None, counted: str) -> None:
    assert network(host) == counted
