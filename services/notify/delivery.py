"""One attempt at one mail: from what the owners said to what became of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeVar

import asyncpg
import structlog
from prometheus_client import Counter

from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.mail.smtp import Outcome, Smtp
from services.chassis.runtime import failpoint
from services.chassis.runtime.batcher import Batcher
from services.notify import commands
from services.notify.delivery_queue import Claimed, Draft, Standing
from services.notify.domain import Facts, State, objection, retry_delay
from services.notify.last_look import LastLook, is_fresh
from services.notify.message import MessageBuilder, PreparedMail
from services.notify.upstreams import Upstreams
from services.notify.window import Window

log = structlog.get_logger(__name__)

T = TypeVar("T")

ENDED = Counter("rapport_mail_ended", "Notifications by how they ended", ["state", "why"])

AWAY_DELAY = timedelta(seconds=1)
WRITE_AGAIN_SECONDS = 0.5
RELAY_WORKS = ("accepted", "refused", "refused_for_now", "bad_address")
UNSEEN = ("comment_held", "comment_removed")


class RelayUnusable(Exception):
    """The mail relay took no mail at all; nothing is wrong with the one at hand."""


class OwnersAway(Exception):
    """Whoever must be asked before a mail goes does not answer."""


class Delivery:
    """Carries mails: `prepare` each as soon as its facts are there, then `send` it over a connection.

    Args:
        first_retry: how long to wait after the first attempt at a mail.
        give_up: how long after its first attempt a mail that is only put off is given up.
    """

    def __init__(
        self,
        database: Database,
        owners: Upstreams,
        letters: MessageBuilder,
        smtp: Smtp,
        *,
        first_retry: timedelta,
        give_up: timedelta,
    ) -> None:
        self._database = database
        self._owners = owners
        self._letters = letters
        self._smtp = smtp
        self._window = Window()
        self._freezing: Batcher[Draft, Standing] = Batcher(self._freeze)
        self._first_retry = first_retry
        self._give_up = give_up

    async def prepare(self, claimed: Claimed, facts: Facts) -> PreparedMail | None:
        """Write and freeze the mail, or end its row if it must not go. Mails prepared at once are frozen together.

        Raises:
            Problem: the owners or the database cannot be asked, and nothing has happened yet.
        """
        if not is_fresh(facts):
            facts = (await self._owners.facts([claimed]))[claimed.person_id, claimed.comment_id]
        why = objection(facts)
        contact = facts.contact
        if why is not None or contact is None or contact.email is None:
            await self._skip(claimed, facts, why or "address_not_confirmed")
            return None
        reused = claimed.frozen is not None and claimed.frozen_for == contact.address_version
        if reused and claimed.frozen is not None:
            content = claimed.frozen
        else:
            content = self._letters.write(claimed, facts, contact.email)
        frozen_at = time.monotonic()
        message_id = self._letters.message_id(claimed)
        standing: Standing = await self._freezing.submit(Draft(claimed, content, contact.address_version, message_id))
        if standing != "ready":
            await self._not_ready(claimed, standing)
            return None
        failpoint.reach("mailer.frozen")
        return PreparedMail(claimed, facts, contact.email, contact.address_version, content, reused, frozen_at)

    async def send(self, prepared: PreparedMail) -> bool:
        """Send the mail, skip it, or put it off; the row says which.

        Returns:
            Whether the relay was seen to work.

        Raises:
            RelayUnusable, OwnersAway: the row was given back as it was; try no other for a while.
            Problem: the owners or the database cannot be asked, and nothing has happened yet.
        """
        letter: PreparedMail | None = prepared
        if not is_fresh(prepared.facts):  # it waited for a free connection
            letter = await self.prepare(prepared.claimed, prepared.facts)
        if letter is None:
            return False
        look = LastLook(self._database, self._owners, letter)
        async with self._window.place() as take_place:

            async def before_dot() -> bool:
                if not await look.before_dot():
                    return False
                await take_place()
                return True

            outcome = await self._smtp.deliver(
                self._letters.sender,
                letter.recipient,
                letter.content,
                before_data=look.before_data,
                before_dot=before_dot,
            )
            await self._settle(letter.claimed, outcome, look, letter.reused)
        return outcome.kind in RELAY_WORKS

    async def _freeze(self, drafts: Sequence[Draft]) -> list[Standing]:
        return await commands.freeze(self._database, drafts)

    async def put_aside(self, claimed: Claimed) -> None:
        """Try a mail later whose attempt broke in a way nobody foresaw; its outcome counts as unknown."""
        await self._try_later(claimed, None, keep_frozen=True)

    async def _settle(self, claimed: Claimed, outcome: Outcome, look: LastLook, reused: bool) -> None:
        """Write down what became of the dialogue.

        The bytes stay in the row while the outcome of this attempt, or of an earlier one with the same bytes
        (`reused`), is unknown.
        """
        answer = f"{outcome.code or ''} {outcome.answer}".strip()
        match outcome.kind:
            case "accepted":
                failpoint.reach("mailer.sent")
                if not await self._end(claimed, "sent", None, answer):
                    log.warning("a mail was sent after its lease was lost", comment_id=str(claimed.comment_id))
                failpoint.reach("mailer.marked")
            case "refused":
                await self._end(claimed, "failed", "refused_by_server", answer)
            case "bad_address":
                version = look.address_version
                await self._end(claimed, "failed", "refused_by_server", answer, bad_address_version=version)
            case "refused_for_now":
                await self._try_later(claimed, answer, keep_frozen=reused)
            case "unknown":
                await self._try_later(claimed, answer, keep_frozen=True)
            case "relay_unusable":
                await self._give_back(claimed, keep_frozen=reused)
                raise RelayUnusable(answer)
            case "withheld":
                await self._withheld(claimed, answer, look, reused)

    async def _withheld(self, claimed: Claimed, answer: str, look: LastLook, reused: bool) -> None:
        if look.standing != "ready":
            await self._not_ready(claimed, look.standing)
        elif look.why is not None:
            await self._skip(claimed, look.facts, look.why)
        elif look.away:
            await self._give_back(claimed, AWAY_DELAY, keep_frozen=reused)
            raise OwnersAway
        elif look.moved:
            await self._give_back(claimed, keep_frozen=False)
        else:
            await self._try_later(claimed, answer, keep_frozen=reused)

    async def _not_ready(self, claimed: Claimed, standing: Standing) -> None:
        if standing == "lost":
            log.warning("a lease was lost before its mail was sent", comment_id=str(claimed.comment_id))
        else:
            await self._end(claimed, "skipped", standing, None)

    async def _skip(self, claimed: Claimed, facts: Facts, why: str) -> None:
        comment = facts.comment
        if why in UNSEEN and comment is not None:
            version = comment.version
            if await self._surely(lambda: commands.skip_unseen(self._database, claimed, why, version)):
                ENDED.labels("skipped", why).inc()
        else:
            await self._end(claimed, "skipped", why, None)

    async def _end(
        self,
        claimed: Claimed,
        state: State,
        why: str | None,
        answer: str | None,
        *,
        bad_address_version: int | None = None,
    ) -> bool:
        ended = await self._surely(
            lambda: commands.finish(
                self._database, claimed, state, why, smtp_answer=answer, bad_address_version=bad_address_version
            )
        )
        if ended:
            ENDED.labels(state, why or "").inc()
            log.info("notification ended", state=state, why=why, comment_id=str(claimed.comment_id))
        return ended

    async def _try_later(self, claimed: Claimed, answer: str | None, *, keep_frozen: bool) -> None:
        if claimed.tried_for is not None and claimed.tried_for > self._give_up:
            await self._end(claimed, "failed", "gave_up", answer)
            return
        delay = retry_delay(claimed.tried_for, self._first_retry)
        await self._surely(
            lambda: commands.put_off(
                self._database, claimed, delay, counts=True, keep_frozen=keep_frozen, smtp_answer=answer
            )
        )

    async def _give_back(self, claimed: Claimed, delay: timedelta | None = None, *, keep_frozen: bool) -> None:
        await self._surely(lambda: commands.put_off(self._database, claimed, delay, keep_frozen=keep_frozen))

    async def _surely(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write down what has happened, again and again until the database takes it.

        Each write filters on the lease, so one that did go through although its answer was lost changes nothing the
        second time.
        """
        while True:
            try:
                return await write()
            except (Problem, asyncpg.PostgresError) as error:
                log.warning("the outcome of a mail could not be written yet", error=repr(error))
                await asyncio.sleep(WRITE_AGAIN_SECONDS)
