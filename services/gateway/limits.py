"""Rate limits, counted in Redis for all gateways together; Redis is asked once per count.

Windows are fixed: a policy's window begins at a multiple of its length, so one counter tells both what is left and
when it starts anew. Without Redis reads go on uncounted, and everything that writes or sends mail is counted in this
process. Headers: draft-ietf-httpapi-ratelimit-headers.
"""

import hashlib
import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis.exceptions
import structlog
from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool

from services.chassis.errors import Problem

log = structlog.get_logger(__name__)

AWAY = (redis.exceptions.RedisError, OSError, TimeoutError)
AWAY_SECONDS = 2.0  # after a failure Redis is left alone for as long
LOCAL_KEYS = 10_000


@dataclass(frozen=True)
class Policy:
    """At most `quota` requests in `window` seconds; `strict` policies are counted without Redis too."""

    name: str
    quota: int
    window: int
    strict: bool = True


READING = Policy("reading", 6_000, 60, strict=False)
POSTING = Policy("posting", 120, 60)
SIGN_IN = Policy("sign-in", 120, 600)
SIGN_IN_ADDRESS = Policy("sign-in-address", 10, 600)


@dataclass(frozen=True)
class Standing:
    """Where somebody stands with one policy: what is left of it, and after how many seconds it starts anew."""

    policy: Policy
    remaining: int
    reset: int
    allowed: bool = True


class Counters:
    """Counts in Redis, else in this process.

    Args:
        secret: keys the hashes under which IPs and addresses are counted; they change every day.
        clock: the time in seconds since 1970.
    """

    def __init__(self, redis_url: str, *, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._pool = ConnectionPool.from_url(redis_url, socket_timeout=0.25, socket_connect_timeout=0.25)
        self._storage = RedisStorage(
            "async+" + redis_url,
            implementation="redispy",
            key_prefix="rapport:limit",
            connection_pool=self._pool,  # type: ignore[arg-type]  # described in its docstring, missing in its types
        )
        self._secret = hashlib.sha256(secret.encode()).digest()
        self._clock = clock
        self._local: dict[str, int] = {}
        self._away_until = 0.0

    async def close(self) -> None:
        await self._pool.aclose()

    async def count(self, policy: Policy, identity: str) -> Standing | None:
        """Count one request; None when it could not be counted and need not be."""
        now = self._clock()
        window = int(now // policy.window)
        key = f"{policy.name}:{self._pseudonym(identity, now)}:{window}"
        used = await self._in_redis(key, policy, now)
        if used is None:
            if not policy.strict:
                return None
            used = self._here(key)
        reset = max(1, math.ceil((window + 1) * policy.window - now))
        return Standing(policy, max(0, policy.quota - used), reset, used <= policy.quota)

    def _pseudonym(self, identity: str, now: float) -> str:
        day = int(now // 86_400).to_bytes(8, "big")
        return hashlib.blake2b(identity.encode(), key=self._secret, salt=day, digest_size=16).hexdigest()

    async def _in_redis(self, key: str, policy: Policy, now: float) -> int | None:
        if now < self._away_until:
            return None
        try:
            return int(await self._storage.incr(key, policy.window + 1))
        except AWAY as error:
            self._away_until = now + AWAY_SECONDS
            log.warning("redis is away, limits are counted here", error=type(error).__name__)
            return None

    def _here(self, key: str) -> int:
        if len(self._local) >= LOCAL_KEYS and key not in self._local:
            self._local.clear()
        self._local[key] = self._local.get(key, 0) + 1
        return self._local[key]


class Limits:
    """Decides by the counters; `counters` None means that limits are off."""

    def __init__(self, counters: Counters | None) -> None:
        self._counters = counters

    async def spend(self, headers: dict[str, str], *uses: tuple[Policy, str]) -> None:
        """Count a request under each (policy, identity) and tell its standing in `headers`.

        Raises:
            Problem: `too-many-requests`.
        """
        if self._counters is None:
            return
        standings = []
        for policy, identity in uses:
            standing = await self._counters.count(policy, identity)
            if standing is not None:
                standings.append(standing)
        if not standings:
            return
        for one in standings:
            policy = one.policy
            _append(headers, "RateLimit-Policy", f'"{policy.name}";q={policy.quota};w={policy.window}')
            _append(headers, "RateLimit", f'"{policy.name}";r={one.remaining};t={one.reset}')
        refused = [one.reset for one in standings if not one.allowed]
        if refused:
            raise Problem(
                "too-many-requests",
                f"Come back in {max(refused)} seconds.",
                headers={"Retry-After": str(max(refused))},
            )


def _append(headers: dict[str, str], name: str, member: str) -> None:
    headers[name] = f"{headers[name]}, {member}" if name in headers else member


def network(host: str | None) -> str:
    """What one client is counted by: its IPv4 address, or the /64 that an IPv6 client has to itself."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return "unknown"
    if address.version == 6:
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
