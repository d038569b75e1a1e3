"""The mailer of people: draws a link for each request that deserves one, and sends it.

A link stands in clear only in the mail. What is retried is the request, each time with another link, so after a crash
somebody may get two mails with one good link each, and nothing that was lost can be found anywhere.
"""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter, Gauge

from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.ids import new_id
from services.chassis.mail.message import Unsafe
from services.chassis.mail.smtp import Outcome, Smtp
from services.chassis.runtime import context, failpoint
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
FIRST_DELAY_SECONDS = 2.0
LONGEST_DELAY_SECONDS = 30.0


def delay_after(attempts: int) -> timedelta:
    """How long a request waits after its n-th attempt failed."""
    return timedelta(seconds=min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(attempts - 1, 10)))


class Mailer:
    """Attends to requests, `connections` at a time.

    Args:
        limited: whether an address has at most `LIVE_LINKS_PER_ADDRESS` unused links.
        poll_seconds: how often to look for requests.
        lease: how long a request stays with a mailer that has died.
        renew_seconds: how often the lease of a request under way is renewed.
        drain_seconds: how long dialogues under way may take when the process ends.
    """

    def __init__(
        self,
        database: Database,
        letters: SignInMessageBuilder,
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
        self._database = database
        self._letters = letters
        self._smtp = smtp
        self._limited = limited
        self._connections = connections
        self._poll = poll_seconds
        self._attempt_seconds = attempt_seconds
        self._lease = lease
        self._renew_seconds = renew_seconds
        self._drain = drain_seconds
        self._flights: dict[asyncio.Task[None], UUID] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, through every outage; then give what has begun a little time."""
        stopping = asyncio.create_task(stop.wait())
        renewing = asyncio.create_task(self._renew())
        try:
            while not stop.is_set():
                await self._round()
                await asyncio.wait({stopping}, timeout=self._poll)
            if self._flights:
                await asyncio.wait(self._flights, timeout=self._drain)
        finally:
            left = [stopping, renewing, *self._flights]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await self._smtp.close()

    async def _round(self) -> None:
        free = self._connections - len(self._flights)
        if free <= 0:
            return
        try:
            batch = await sign_in.claim_requests(self._database, new_id(), self._lease, free)
        except (Problem, asyncpg.PostgresError) as error:
            log.warning("sign-in requests cannot be read", error=repr(error))
            return
        if batch:
            failpoint.reach("mailer.claimed")
        for request in batch:
            flight = asyncio.create_task(self._attend(request))
            self._flights[flight] = request.lease
            flight.add_done_callback(self._flights.pop)

    async def _renew(self) -> None:
        """Every now and then: renew the leases of what is under way, and measure what waits."""
        while True:
            await asyncio.sleep(self._renew_seconds)
            try:
                if self._flights:
                    await sign_in.renew_leases(self._database, set(self._flights.values()), self._lease)
                waiting, oldest = await queries.backlog(self._database)
            except (Problem, asyncpg.PostgresError) as error:
                log.warning("leases of sign-in requests cannot be renewed", error=repr(error))
                continue
            WAITING.set(waiting)
            OLDEST.set(oldest)

    async def _attend(self, request: Claimed) -> None:
        """One attempt. Whatever breaks it, the lease ends and the request is tried again while it is young."""
        try:
            with context.bound(context.Context(request.correlation_id)):
                drawn = await sign_in.draw_link(self._database, request, limited=self._limited)
                if drawn is None:
                    ATTEMPTS.labels("needless").inc()
                    return
                await self._settle(request, drawn, await self._send(request, drawn))
        except (Problem, asyncpg.PostgresError) as error:
            log.warning("a sign-in mail waits for the database", error=repr(error))
        except Exception:
            log.exception("an attempt at a sign-in mail broke", request=str(request.id))

    async def _send(self, request: Claimed, drawn: Drawn) -> Outcome:
        """Hand the mail to the relay, in bounded time: somebody waits in front of a page."""
        at_dot = False

        async def before_dot() -> bool:
            nonlocal at_dot
            at_dot = await sign_in.is_wanted(self._database, request)
            return at_dot

        try:
            message = self._letters.write(drawn.mailbox, drawn.token)
            async with asyncio.timeout(self._attempt_seconds):
                return await self._smtp.deliver(self._letters.sender, drawn.mailbox, message, before_dot=before_dot)
        except Unsafe as error:
            log.error("a sign-in mail would not be what it should", error=str(error))
            return Outcome("refused", "address")
        except TimeoutError:
            return Outcome("unknown" if at_dot else "withheld", "dot" if at_dot else "message")

    async def _settle(self, request: Claimed, drawn: Drawn, outcome: Outcome) -> None:
        """Finish the request or put it off. A link whose mail surely did not arrive is forgotten."""
        ATTEMPTS.labels(outcome.kind).inc()
        if outcome.kind == "accepted":
            failpoint.reach("mailer.sent")
            await sign_in.finish_request(self._database, request, "sent")
            failpoint.reach("mailer.marked")
            return
        log.warning("a sign-in mail was not sent", outcome=outcome.kind, phase=outcome.phase, answer=outcome.answer)
        if outcome.kind in ("refused", "bad_address"):
            await sign_in.finish_request(self._database, request, "refused", unsent=drawn)
            return
        unsent = None if outcome.kind == "unknown" else drawn
        await sign_in.postpone_request(self._database, request, delay_after(request.attempts), unsent=unsent)
