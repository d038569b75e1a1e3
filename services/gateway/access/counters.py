"""Count requests in Redis for all gateways together.

Redis stands for the protocol: the server that Rapport brings along is Valkey, and either one does.

Windows are fixed: a policy's window begins at a multiple of its length, so one counter tells both what is left and
when it starts anew. Without Redis reads go on uncounted, and everything that writes or sends mail is counted on in this
process, from the last count.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field

import structlog
from cachetools import LRUCache

from services.chassis.runtime.metrics import Gauge
from services.chassis.runtime.repetition import Repetition
from services.gateway.access.pseudonyms import Pseudonyms
from services.gateway.access.valkey import Question, Valkey
from services.gateway.access.valkey_faults import AWAY, AWAY_SECONDS, CLOSE_SECONDS, valkey_fault

log = structlog.get_logger(__name__)

VALKEY_AWAY = Gauge("rapport_gateway_valkey_away", "1 while Valkey is away, and limits are counted in each gateway")

PREFIX = "rapport:limit:"
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
        clock: the time in seconds since 1970.
        pause: seconds between a failure of Redis and the next question.
    """

    def __init__(
        self,
        valkey: Valkey,
        *,
        pseudonyms: Pseudonyms,
        clock: Callable[[], float] = time.time,
        pause: float = AWAY_SECONDS,
    ) -> None:
        self._valkey = valkey
        valkey.add(self)
        self._pseudonyms = pseudonyms
        self._clock = clock
        self._pause = pause
        self._local: LRUCache[str, LocalCount] = LRUCache(LOCAL_KEYS)
        self._returning: asyncio.Task[None] | None = None
        self._closed = False
        self._repetition = Repetition()

    async def close(self) -> None:
        """Answer what is being counted; from now on nothing is asked of Redis."""
        self._closed = True
        await self._valkey.drain()
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.wait([self._returning], timeout=CLOSE_SECONDS)

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
        if self.away or self._closed:
            return None
        count: int | None = await self._valkey.begin(self, (key, policy.window + 1))
        return count

    def questions(self, uses: Sequence[Use]) -> Sequence[Question]:
        """Return what counts these requests; nothing while Redis is away."""
        if self.away or self._closed:
            return ()
        return [Question("count", PREFIX + key, seconds) for key, seconds in uses]

    def outcomes(self, uses: Sequence[Use], counts: Sequence[int]) -> Sequence[int | None]:
        """Return the count of each; None where Redis did not count it."""
        return counts or [None] * len(uses)

    def failed(self, error: BaseException, *, was_new: bool) -> None:
        """Count here until Redis is back. That an old connection has ended is no outage: a new one asks again."""
        if was_new and not (self.away or self._closed):
            log.warning("redis is away, limits are counted here", error=type(error).__name__)
            VALKEY_AWAY.set(1)
            self._returning = asyncio.create_task(self._until_back(error), context=Context())
            self._returning.add_done_callback(self._is_back)

    async def _until_back(self, error: BaseException) -> None:
        """Ask Redis until it answers, so that no request has to wait for it; by writing, which a replica refuses."""
        while True:
            await self._tell(error)
            await asyncio.sleep(self._pause)
            try:
                await self._valkey.try_anew(Question("count", PREFIX + "back", 1))
            except AWAY as failure:
                error = failure
                continue
            log.info("redis is back")
            return

    async def _tell(self, error: BaseException) -> None:
        sentence = await valkey_fault(error, self._valkey.url)
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
