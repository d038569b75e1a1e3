"""The mailer of people: draws a link for each request whose address may get one, and sends it.

The database has only the hash of a link; the link itself is in the mail alone. So a retry draws a new link, and after a
crash a person may get two mails, each with a valid link.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import structlog

from services.chassis.database.pool import Database
from services.chassis.database.work_queue import WorkQueue
from services.chassis.errors import Problem
from services.chassis.ids import new_id
from services.chassis.mail.message import Unsafe
from services.chassis.mail.smtp import Smtp
from services.chassis.mail.smtp_dialogue import DialogueEnded, Outcome
from services.chassis.runtime import context, failpoint
from services.chassis.runtime.metrics import Counter, Gauge
from services.chassis.runtime.waiting import Periodic, backoff_seconds
from services.people import queries
from services.people.commands import sign_in
from services.people.commands.sign_in import Drawn
from services.people.message import SignInMessageBuilder
from services.people.store.sign_in import Claimed

log = structlog.get_logger(__name__)

ATTEMPTS = Counter("rapport_sign_in_mails", "Attempts to send a sign-in mail by how they ended", ["outcome"])

WAITING = Gauge("rapport_sign_in_waiting", "Requests that wait for their mail")
OLDEST = Gauge("rapport_sign_in_waiting_oldest_seconds", "How long the oldest of these has waited")

ATTEMPT_SECONDS = 60.0
LEASE = timedelta(seconds=30)
RENEW_SECONDS = 10.0
MEASURE_SECONDS = 10.0
PACE_SECONDS = 0.02
FIRST_DELAY_SECONDS = 2.0
LONGEST_DELAY_SECONDS = 30.0


def delay_after(attempts: int) -> timedelta:
    """Return how long a request waits after that many failed attempts."""
    return timedelta(seconds=backoff_seconds(attempts, FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS))


def measuring(db: Database) -> Periodic:
    """Return the work that measures the backlog: of every process, so that it is seen while no mailer runs."""

    async def measure() -> None:
        waiting, oldest = await queries.backlog(db)
        WAITING.set(waiting)
        OLDEST.set(oldest)

    return Periodic("measure the sign-in backlog", MEASURE_SECONDS, measure)


class Mailer:
    """Sends sign-in mails, `connections` at a time.

    Args:
        limited: whether an address has at most `LIVE_LINKS_PER_ADDRESS` unused links, and gets at most
            `UNCONFIRMED_MAILS` before it is confirmed.
        poll_seconds: how often to look for requests; nothing wakes it (see `people_poll_seconds`).
        attempt_seconds: how long one dialogue may take: a person waits for the mail.
        lease: how long a request stays leased to a mailer that has died.
        renew_seconds: how often the lease of a request under way is renewed.
        drain_seconds: how long dialogues under way may take when the process ends.
    """

    def __init__(
        self,
        db: Database,
        messages: SignInMessageBuilder,
        smtp: Smtp,
        *,
        limited: bool = True,
        connections: int = 4,
        poll_seconds: float = 0.5,
        attempt_seconds: float = ATTEMPT_SECONDS,
        lease: timedelta = LEASE,
        renew_seconds: float = RENEW_SECONDS,
        drain_seconds: float = 10.0,
    ) -> None:
        self._db = db
        self._messages = messages
        self._smtp = smtp
        self._limited = limited
        self._attempt_seconds = attempt_seconds
        self._lease = lease
        self._renew_seconds = renew_seconds
        self._queue = WorkQueue[Claimed](
            "sign-in requests",
            self._claim,
            self._attend,
            self._renew,
            room=lambda under_way: connections - under_way,
            poll_seconds=poll_seconds,
            pace_seconds=PACE_SECONDS,
            renew_seconds=renew_seconds,
            drain_seconds=drain_seconds,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, through every outage; then give dialogues under way `drain_seconds`."""
        await self._queue.run(stop)

    async def _claim(self, room: int) -> list[Claimed]:
        batch = await sign_in.claim_requests(self._db, new_id(), self._lease, room)
        if batch:
            failpoint.reach("mailer.claimed")
        return batch

    async def _renew(self, requests: Sequence[Claimed]) -> None:
        await sign_in.renew_leases(self._db, {request.lease for request in requests}, self._lease)

    async def _attend(self, request: Claimed) -> None:
        """Make one attempt. If it fails, the lease expires, and the request is tried again within a link's life."""
        with context.bound(context.Context(request.correlation_id)):
            try:
                drawn = await sign_in.draw_link(self._db, request, limited=self._limited)
                if drawn is None:
                    ATTEMPTS.labels("needless").inc()
                    return
                await self._conclude(request, drawn, await self._send(request, drawn))
            except (Problem, asyncpg.PostgresError) as error:
                log.warning("sign-in attempt postponed: a dependency is unavailable", error=repr(error))
            except Exception:
                log.exception("sign-in attempt failed unexpectedly", request=str(request.id))

    async def _send(self, request: Claimed, drawn: Drawn) -> Outcome:
        """Send the mail, unless its request is no longer wanted just before the dot."""
        try:
            content = self._messages.build(drawn.mailbox, drawn.token, request.public_id)
        except Unsafe as error:
            log.error("sign-in mail failed its safety check", error=str(error))
            return Outcome("refused", "address")
        try:
            async with self._smtp.dialogue(
                self._messages.sender, drawn.mailbox, content, seconds=self._attempt_seconds
            ) as dialogue:
                failpoint.reach("mailer.rcpt")
                await dialogue.data()
                if not await sign_in.is_wanted(self._db, request):
                    return Outcome("withheld", "check")
                failpoint.reach("mailer.data")
                return await dialogue.dot()
        except DialogueEnded as end:
            return end.outcome

    async def _conclude(self, request: Claimed, drawn: Drawn, outcome: Outcome) -> None:
        """Finish the request or postpone it. A link whose mail was certainly not delivered is deleted."""
        ATTEMPTS.labels(outcome.kind).inc()
        if outcome.kind == "accepted":
            failpoint.reach("mailer.sent")
            await sign_in.finish_request(self._db, request, "sent")
            failpoint.reach("mailer.marked")
            return
        log.warning("a sign-in mail was not sent", outcome=outcome.kind, phase=outcome.phase, answer=outcome.answer)
        if outcome.kind in ("refused", "bad_address"):
            await sign_in.finish_request(self._db, request, "refused", unsent=drawn)
            return
        unsent = None if outcome.kind == "unknown" else drawn
        await sign_in.postpone_request(self._db, request, delay_after(request.attempts), unsent=unsent)
