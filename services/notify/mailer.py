"""The mailer of notify: claims due rows, asks the upstreams about all of them at once, and delivers each mail."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import asyncpg
import structlog

from services.chassis.database.pool import Database
from services.chassis.database.work_queue import WorkQueue
from services.chassis.errors import Problem
from services.chassis.mail.dialogue_slots import DialogueSlots
from services.chassis.runtime import context, failpoint
from services.chassis.runtime.metrics import Gauge
from services.chassis.runtime.waiting import Backoff, Periodic
from services.notify import delivery_queue, pausing, rescheduling, store
from services.notify.delivery import CannotAsk, Delivery, MailServerFull, MailServerUnusable
from services.notify.domain import Claimed
from services.notify.objections import Answers
from services.notify.upstreams import Upstreams

log = structlog.get_logger(__name__)

WAITING = Gauge("rapport_mail_waiting", "Notifications that wait, due or not, counted up to 20,000")
DUE = Gauge("rapport_mail_due", "Notifications that are due and not sent")
DUE_SECONDS = Gauge("rapport_mail_due_oldest_seconds", "How long the oldest of these has been due")
PAUSED = Gauge("rapport_mail_paused", "1 while no notification is mailed, after a restore or by an operator")
UNUSABLE = Gauge("rapport_mail_server_unusable", "1 while the mail server takes no mail at all")

RENEW_SECONDS = 10.0
MEASURE_SECONDS = 5.0
PACE_SECONDS = 0.04  # between two claims; each asks all upstreams, however few its rows are
BATCH_FACTOR = 8  # rows claimed for each connection, so that the next are prepared while some are sent
FOLLOWERS_FACTOR = 4  # beside them, of those for followers: a discussion that many follow delays nobody else's mail

Row = tuple[Claimed, Answers]


class Room(NamedTuple):
    """How many rows there is room for: of those who are answered, and of followers."""

    answers: int
    followers: int


class Mailer:
    """Sends due mails, `connections` at a time. Those to followers have their own room and their own line.

    Args:
        poll_seconds: how often to look when nothing wakes it.
    """

    def __init__(
        self, db: Database, upstreams: Upstreams, delivery: Delivery, *, connections: int, poll_seconds: float
    ) -> None:
        self._db = db
        self._upstreams = upstreams
        self._delivery = delivery
        self._connections = connections
        self._slots = DialogueSlots(connections)
        self._followers_under_way = 0
        self._free = Room(0, 0)
        self._mail_server_backoff = Backoff(1.0, 15.0)
        self._dependency_backoff = Backoff(0.25, 5.0)
        self._stop = asyncio.Event()
        self._queue = WorkQueue[Row](
            "notifications",
            self._claim,
            self._attend,
            self._renew,
            room=self._room,
            poll_seconds=poll_seconds,
            pace_seconds=PACE_SECONDS,
            renew_seconds=RENEW_SECONDS,
        )

    def wake(self) -> None:
        """Look for due rows now instead of at the next poll; harmless when there are none."""
        self._queue.wake()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, through every outage; then finish the rows under way."""
        self._stop = stop
        await self._queue.run(stop)

    def _room(self, under_way: int) -> int:
        """Return how many rows may be claimed now: after a failure one, until it succeeds."""
        if self._is_pausing():
            return 0
        if self._mail_server_backoff.failing or self._dependency_backoff.failing:
            self._free = Room(1, 1)
            return min(1, self._connections - under_way)
        self._free = self._free_room(under_way)
        return sum(self._free)

    def _free_room(self, under_way: int) -> Room:
        """Return the room of each line, none where it is less than half: upstreams are not asked about single rows."""
        most = Room(self._slots.limit * BATCH_FACTOR, self._slots.limit * FOLLOWERS_FACTOR)
        answers = most.answers - (under_way - self._followers_under_way)
        followers = most.followers - self._followers_under_way
        return Room(
            answers if answers >= most.answers // 2 else 0, followers if followers >= most.followers // 2 else 0
        )

    def _is_pausing(self) -> bool:
        return self._mail_server_backoff.remaining > 0 or self._dependency_backoff.remaining > 0

    async def _claim(self, room: int) -> list[Row]:
        """Claim rows and ask the upstreams once about all of them; if they cannot be asked, give the rows back."""
        try:
            free = self._free
            batch = await delivery_queue.claim(self._db, room, answers=free.answers, followers=free.followers)
        except (Problem, asyncpg.PostgresError):
            self._dependency_backoff.fail()
            raise
        if not batch:
            return []
        failpoint.reach("mailer.claimed")
        try:
            answers = await self._upstreams.ask(batch)
        except Problem as problem:
            if self._dependency_backoff.fail():
                log.warning("the upstreams cannot be asked; mails wait", error=str(problem))
            for claimed in batch:
                # scattered, so that a row that cannot be asked about does not delay the same others every time
                await self._release(claimed, timedelta(seconds=random.uniform(0.2, 1.0)))  # noqa: S311  # no secret
            return []
        self._dependency_backoff.succeed()
        failpoint.reach("mailer.asked")
        self._followers_under_way += sum(claimed.follower for claimed in batch)
        return [(claimed, answers[claimed.person_id, claimed.comment_id]) for claimed in batch]

    async def _release(self, claimed: Claimed, delay: timedelta | None = None) -> None:
        """Give back a row that was not attempted. If the database is unavailable, its lease expires."""
        with contextlib.suppress(Problem, asyncpg.PostgresError):
            await rescheduling.reschedule(self._db, claimed, delay, keep_frozen=claimed.frozen is not None)

    async def _attend(self, row: Row) -> None:
        claimed, answers = row
        with context.bound(context.Context(claimed.correlation_id, claimed.causation_id)):
            try:
                await self._attempt(claimed, answers)
            except MailServerUnusable as failure:
                self._mail_server_failed(failure)
            except MailServerFull as failure:
                self._slots.lower(failure.dialogues)
            except CannotAsk:
                self._dependency_backoff.fail()
            except (Problem, asyncpg.PostgresError) as error:
                log.warning("attempt postponed: a dependency is unavailable", error=repr(error))
                self._dependency_backoff.fail()
                await self._release(claimed)
            except Exception:
                log.exception("delivery attempt failed unexpectedly", comment_id=str(claimed.comment_id))
                await self._delivery.retry_unforeseen(claimed)
            finally:
                self._followers_under_way -= claimed.follower

    async def _attempt(self, claimed: Claimed, answers: Answers) -> None:
        mail = await self._delivery.prepare(claimed, answers)
        if mail is None:
            return
        async with self._slots.one(second_line=claimed.follower):
            if self._stop.is_set() or self._is_pausing():
                await self._release(claimed)
            elif await self._delivery.send(mail):
                self._mail_server_answered()

    def _mail_server_failed(self, failure: MailServerUnusable) -> None:
        UNUSABLE.set(1)
        if self._mail_server_backoff.fail():
            remaining = self._mail_server_backoff.remaining
            log.error("the mail server takes no mail", answer=str(failure), again_in_seconds=remaining)

    def _mail_server_answered(self) -> None:
        if self._mail_server_backoff.failing:
            log.info("the mail server takes mail again")
        self._mail_server_backoff.succeed()
        UNUSABLE.set(0)

    async def _renew(self, rows: Sequence[Row]) -> None:
        await delivery_queue.renew(self._db, [claimed for claimed, _ in rows])


def measuring(db: Database) -> Periodic:
    """Return the work that measures the backlog: of every process, so that it is seen while no mailer runs."""

    async def measure() -> None:
        async with db.reader() as reader:
            row = await store.backlog(reader)
            PAUSED.set(await pausing.is_paused(reader))
        WAITING.set(row["waiting"])
        DUE.set(row["due"])
        DUE_SECONDS.set(row["age"])

    return Periodic("measure the mail backlog", MEASURE_SECONDS, measure)
