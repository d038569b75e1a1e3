"""Count requests in Redis for all gateways together; those that come while it is asked are counted with one question.

Redis stands for the protocol: the server that Rapport brings along is Valkey, and either one does.

Windows are fixed: a policy's window begins at a multiple of its length, so one counter tells both what is left and
when it starts anew. Without Redis reads go on uncounted, and everything that writes or sends mail is counted on in this
process, from the last count.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field

import structlog
from cachetools import LRUCache
from redis.asyncio import ConnectionPool, Redis

from services.chassis.runtime.batcher import Batcher
from services.chassis.runtime.metrics import Gauge
from services.chassis.runtime.repetition import Repetition
from services.chassis.runtime.timeouts import wait_at_most
from services.gateway.access.pseudonyms import Pseudonyms
from services.gateway.access.valkey_faults import ANSWER_SECONDS, AWAY, AWAY_SECONDS, CLOSE_SECONDS, valkey_fault

log = structlog.get_logger(__name__)

VALKEY_AWAY = Gauge("rapport_gateway_valkey_away", "1 while Valkey is away, and limits are counted in each gateway")

CONNECTIONS = 2
MOST_AT_ONCE = 64  # counts of one question
PREFIX = "rapport:limit:"
INCREMENT = """
local counts = {}
for place, key in ipairs(KEYS) do
    counts[place] = redis.call('incr', key)
    if counts[place] == 1 then redis.call('expire', key, ARGV[place]) end
end
return counts
"""
Use = tuple[str, int]  # the key of a counter, and for how many seconds Redis keeps it
LOCAL_KEYS = 10_000


@dataclass(frozen=True)
class Policy:
    """At most `quota` requests in `window` seconds; `strict` policies are counted without Redis too."""

    name: str
    quota: int
    window: int
    strict: bool = True


CHECK = Policy("check", 0, 1, strict=False)  # nobody's requests


@dataclass(frozen=True)
class Standing:
    """What is left of one policy for one client, and after how many seconds it starts anew."""

    policy: Policy
    remaining: int
    reset: int
    allowed: bool = True


@dataclass(slots=True)
class LocalCount:
    """One counter as this process knows it.

    Attributes:
        used: the highest count so far.
        lag: by how much Redis is behind, because it was away, or lost what it had.
        turn: held while counting; of two counts at once, one could not tell a loss from the other's being first.
    """

    used: int = 0
    lag: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def counted(self, in_redis: int | None) -> int:
        """Add one and return the count; `in_redis` is None when Redis did not count it."""
        if in_redis is not None:
            self.lag = max(self.lag, self.used + 1 - in_redis)
        self.used = self.used + 1 if in_redis is None else in_redis + self.lag
        return self.used


class Counters:
    """Counters in Redis, else in this process.

    Args:
        pseudonyms: under which IPs and addresses are counted.
        authorities: the file of those that are trusted, for `rediss://`; empty for the system's.
        clock: the time in seconds since 1970.
        pause: seconds between a failure of Redis and the next question.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        pseudonyms: Pseudonyms,
        authorities: str = "",
        clock: Callable[[], float] = time.time,
        pause: float = AWAY_SECONDS,
    ) -> None:
        self._pool = ConnectionPool.from_url(
            redis_url,
            max_connections=CONNECTIONS,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            **({"ssl_ca_certs": authorities} if authorities else {}),
        )
        self._script = Redis(connection_pool=self._pool).register_script(INCREMENT)
        # As many at once as there are connections: an empty pool refuses. Taken for an outage, that would let anybody
        # leave the shared counts by many requests at once.
        self._asking: Batcher[Use, int | None] = Batcher(self._count_all, MOST_AT_ONCE, CONNECTIONS)
        self._url = redis_url
        self._pseudonyms = pseudonyms
        self._clock = clock
        self._pause = pause
        self._local: LRUCache[str, LocalCount] = LRUCache(LOCAL_KEYS)
        self._returning: asyncio.Task[None] | None = None
        self._closed = False
        self._repetition = Repetition()

    async def close(self) -> None:
        """Answer what is being counted, and close the connections to Redis; from now on nothing is asked of it."""
        self._closed = True
        with suppress(TimeoutError):
            await wait_at_most(CLOSE_SECONDS, self._asking.drain())
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.wait([self._returning], timeout=CLOSE_SECONDS)
        with suppress(*AWAY):
            await wait_at_most(CLOSE_SECONDS, self._pool.aclose())

    @property
    def away(self) -> bool:
        """Whether Redis failed and has not answered since."""
        return self._returning is not None

    async def check(self) -> None:
        """Ask Redis once, so that an outage is known though no request is counted."""
        await self._in_redis(CHECK.name, CHECK)

    async def count(self, policy: Policy, identity: str) -> Standing | None:
        """Count one request; return None when it could not be counted and need not be."""
        now = self._clock()
        window = int(now // policy.window)
        key = f"{policy.name}:{self._pseudonyms.of(identity)}:{window}"
        used = await (self._strictly if policy.strict else self._in_redis)(key, policy)
        if used is None:
            return None
        reset = max(1, math.ceil((window + 1) * policy.window - now))
        return Standing(policy, max(0, policy.quota - used), reset, used <= policy.quota)

    async def _strictly(self, key: str, policy: Policy) -> int:
        local = self._local_count(key)
        async with local.turn:
            spent = local.used >= policy.quota  # for sure, so Redis need not be asked
            return local.counted(None if spent else await self._in_redis(key, policy))

    async def _in_redis(self, key: str, policy: Policy) -> int | None:
        return None if self.away or self._closed else await self._asking.submit((key, policy.window + 1))

    async def _count_all(self, uses: Sequence[Use]) -> Sequence[int | None]:
        if self.away or self._closed:
            return [None] * len(uses)
        try:
            return await self._increment(uses)
        except AWAY as error:
            if not (self.away or self._closed):
                log.warning("redis is away, limits are counted here", error=type(error).__name__)
                VALKEY_AWAY.set(1)
                self._returning = asyncio.create_task(self._until_back(error), context=Context())
                self._returning.add_done_callback(self._is_back)
            return [None] * len(uses)

    async def _increment(self, uses: Sequence[Use]) -> list[int]:
        keys = [f"{PREFIX}{key}" for key, _ in uses]
        counts: list[int] = await self._script(keys=keys, args=[seconds for _, seconds in uses])
        return counts

    async def _until_back(self, error: BaseException) -> None:
        """Ask Redis until it answers, so that no request has to wait for it; by writing, which a replica refuses."""
        while True:
            await self._tell(error)
            await asyncio.sleep(self._pause)
            try:
                await self._pool.disconnect(inuse_connections=False)  # each of them may be a broken one
                self._pool._available_connections.clear()  # they remember the authorities as they were in the file
                await self._increment([("back", 1)])
            except AWAY as failure:
                error = failure
                continue
            log.info("redis is back")
            return

    async def _tell(self, error: BaseException) -> None:
        sentence = await valkey_fault(error, self._url)
        if sentence is not None and self._repetition.is_due(sentence):
            log.error(sentence)

    def _is_back(self, _: asyncio.Task[None]) -> None:
        # called also for a task that was cancelled before its first step
        self._returning = None
        VALKEY_AWAY.set(0)

    def _local_count(self, key: str) -> LocalCount:
        try:
            return self._local[key]
        except KeyError:
            local = self._local[key] = LocalCount()
            return local
