"""The mailer: finds what is due, asks the owners about all of it at once, and hands each mail to a courier."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Gauge

from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.runtime import context, failpoint
from services.chassis.runtime.throttle import Throttle
from services.notify import commands, store
from services.notify.delivery import Delivery, OwnersAway, RelayUnusable
from services.notify.delivery_queue import Claimed
from services.notify.domain import Facts
from services.notify.upstreams import Upstreams

log = structlog.get_logger(__name__)

WAITING = Gauge("rapport_mail_waiting", "Notifications that wait, due or not, counted up to 10,000")
DUE = Gauge("rapport_mail_due", "Notifications that are due and not sent")
DUE_SECONDS = Gauge("rapport_mail_due_oldest_seconds", "How long the oldest of these has been due")
UNUSABLE = Gauge("rapport_mail_relay_unusable", "1 while the mail relay takes no mail at all")

RENEW_SECONDS = 10.0
MEASURE_SECONDS = 5.0
PACE_SECONDS = 0.04  # between two claims; each asks all owners, however few mails it is about
BATCH_FACTOR = 8  # rows held for each connection: while some are sent, the next are there


class Pause:
    """Seconds to leave something alone, twice as long after each failure up to `longest`."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._length = 0.0
        self._until = 0.0

    @property
    def tripped(self) -> bool:
        """True from a failure until the next success."""
        return self._length > 0

    @property
    def left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def trip(self) -> bool:
        """Begin a pause, unless one lasts already; returns whether it began."""
        if self.left > 0:
            return False
        self._length = min(self._longest, self._length * 2 or self._first)
        self._until = time.monotonic() + self._length
        return True

    def clear(self) -> None:
        self._length = self._until = 0.0


class Mailer:
    """Sends what is due, `connections` mails at a time.

    Args:
        poll_seconds: how often to look when nothing wakes it.
    """

    def __init__(
        self, database: Database, owners: Upstreams, courier: Delivery, *, connections: int, poll_seconds: float
    ) -> None:
        self._database = database
        self._owners = owners
        self._courier = courier
        self._poll = poll_seconds
        self._connections = connections
        self._most = connections * BATCH_FACTOR
        self._slots = asyncio.Semaphore(connections)
        self._pace = Throttle(PACE_SECONDS)
        self._woken = asyncio.Event()
        self._flights: set[asyncio.Task[None]] = set()
        self._held: dict[tuple[UUID, UUID, UUID], Claimed] = {}
        self._relay_pause = Pause(1.0, 15.0)
        self._owners_pause = Pause(0.25, 5.0)
        self._stop = asyncio.Event()

    def wake(self) -> None:
        """Say that there may be due rows. Never blocks, and may be called too often."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, through every outage; then end what has begun."""
        self._stop = stop
        chores = [
            asyncio.create_task(_every(RENEW_SECONDS, self._renew)),
            asyncio.create_task(_every(MEASURE_SECONDS, self._measure)),
        ]
        try:
            while not stop.is_set():
                await self._pace.wait()
                self._woken.clear()
                if not await self._round():
                    await self._rest()
            if self._flights:
                await asyncio.wait(self._flights)
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)

    async def _round(self) -> bool:
        """Claim, ask, and start the mails. False when there is nothing to do now."""
        room = self._room()
        if room <= 0:
            return False
        try:
            batch = await commands.claim(self._database, room)
        except (Problem, asyncpg.PostgresError) as error:
            log.warning("due mails cannot be read", error=repr(error))
            self._owners_pause.trip()
            return False
        if not batch:
            return False
        failpoint.reach("mailer.claimed")
        self._held |= {_key(claimed): claimed for claimed in batch}
        try:
            facts = await self._owners.facts(batch)
        except Problem as problem:
            await self._owners_away(batch, problem)
            return False
        self._owners_pause.clear()
        failpoint.reach("mailer.asked")
        for claimed in batch:
            flight = asyncio.create_task(self._fly(claimed, facts[claimed.person_id, claimed.comment_id]))
            self._flights.add(flight)
            flight.add_done_callback(self._landed)
        return True

    def _room(self) -> int:
        """How many rows may be claimed now: after a failure one, until it went well."""
        if self._relay_pause.left or self._owners_pause.left:
            return 0
        if self._relay_pause.tripped or self._owners_pause.tripped:
            return min(1, self._connections - len(self._flights))
        room = self._most - len(self._flights)
        return room if room >= self._most // 2 else 0  # else the owners would be asked about single rows

    async def _owners_away(self, batch: Sequence[Claimed], problem: Problem) -> None:
        if self._owners_pause.trip():
            log.warning("the owners cannot be asked; mails wait", error=str(problem))
        for (
            claimed
        ) in batch:  # scattered, so that one about which nothing can be said does not keep back the same others
            await self._release(claimed, timedelta(seconds=random.uniform(0.2, 1.0)))  # noqa: S311  # no secret
            self._drop(claimed)

    async def _release(self, claimed: Claimed, delay: timedelta | None = None) -> None:
        """Give back a row that nothing was tried with. If the database is away, its lease simply ends."""
        with contextlib.suppress(Problem, asyncpg.PostgresError):
            await commands.put_off(self._database, claimed, delay, keep_frozen=claimed.frozen is not None)

    def _drop(self, claimed: Claimed) -> None:
        self._held.pop(_key(claimed), None)

    async def _fly(self, claimed: Claimed, facts: Facts) -> None:
        try:
            with context.bound(context.Context(claimed.correlation_id, claimed.causation_id)):
                await self._attempt(claimed, facts)
        finally:
            self._drop(claimed)

    async def _attempt(self, claimed: Claimed, facts: Facts) -> None:
        try:
            letter = await self._courier.prepare(claimed, facts)
            if letter is None:
                return
            async with self._slots:
                if self._stop.is_set() or self._relay_pause.left or self._owners_pause.left:
                    await self._release(claimed)
                elif await self._courier.send(letter):
                    self._usable()
        except RelayUnusable as failure:
            self._unusable(failure)
        except OwnersAway:
            self._owners_pause.trip()
        except (Problem, asyncpg.PostgresError) as error:
            log.warning("a mail waits for the database", error=repr(error))
            self._owners_pause.trip()
            await self._release(claimed)
        except Exception:
            log.exception("an attempt at a mail broke", comment_id=str(claimed.comment_id))
            await self._courier.put_aside(claimed)

    def _unusable(self, failure: RelayUnusable) -> None:
        UNUSABLE.set(1)
        if self._relay_pause.trip():
            log.error("the mail relay takes no mail", answer=str(failure), again_in_seconds=self._relay_pause.left)

    def _usable(self) -> None:
        if self._relay_pause.tripped:
            log.info("the mail relay takes mail again")
        self._relay_pause.clear()
        UNUSABLE.set(0)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        self._woken.set()

    async def _rest(self) -> None:
        waits = [asyncio.ensure_future(self._woken.wait()), asyncio.ensure_future(self._stop.wait())]
        try:
            await asyncio.wait(waits, timeout=self._poll, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _renew(self) -> None:
        if self._held:
            await commands.renew(self._database, list(self._held.values()))

    async def _measure(self) -> None:
        async with self._database.reader() as reader:
            row = await store.backlog(reader)
        WAITING.set(row["waiting"])
        DUE.set(row["due"])
        DUE_SECONDS.set(row["age"])


def _key(claimed: Claimed) -> tuple[UUID, UUID, UUID]:
    return claimed.person_id, claimed.comment_id, claimed.token


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except (Problem, asyncpg.PostgresError) as error:
            log.warning("a chore of the mailer failed", error=repr(error))
        await asyncio.sleep(seconds)
