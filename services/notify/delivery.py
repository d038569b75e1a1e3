"""Deliver one mail: check the upstreams' answers, freeze the message, send it, and record the result in its row.

When PostgreSQL is away before the dot, the dot is not sent, and the row is given back when PostgreSQL is there again;
after the dot, the outcome is written again until PostgreSQL confirms it. If the lease expires meanwhile, the next
attempt sends the same bytes.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import asyncpg
import structlog

from services.chassis.database.pool import Database
from services.chassis.database.until_written import retry_until_written
from services.chassis.errors import Problem
from services.chassis.mail.smtp import Smtp
from services.chassis.mail.smtp_dialogue import DialogueEnded, Outcome
from services.chassis.runtime import failpoint
from services.chassis.runtime.batcher import Batcher
from services.chassis.runtime.metrics import Counter
from services.notify import delivery_queue, endings, rescheduling
from services.notify.delivery_queue import Draft, OwnRefusal
from services.notify.domain import Claimed, EndState
from services.notify.endings import End
from services.notify.message import MessageBuilder, PreparedMail
from services.notify.objections import Answers, NotVisible, NotWanted, addressee
from services.notify.upstreams import Upstreams

log = structlog.get_logger(__name__)

ENDED = Counter("rapport_mail_ended", "Notifications by how they ended", ["state", "why"])

# The upstreams' answers are dated before the question and at most this old when checked. The check of notify's own
# part follows: up to 2 s of waiting for a connection, and one query by key. So a mail is about what stood 5 s ago.
FRESH_SECONDS = 2.0
OWN_FRESH_SECONDS = 1.0  # notify's own part: the lease, the choice, the suppressions
PATIENCE_SECONDS = 0.01  # for which a common statement waits for the mails that the server is about to answer
CANNOT_ASK_DELAY = timedelta(seconds=1)
MAIL_SERVER_ANSWERED = ("accepted", "refused", "refused_for_now", "bad_address")


class MailServerUnusable(Exception):
    """The mail server takes no mail at all; the row was given back."""


class MailServerFull(Exception):
    """The mail server takes no more dialogues at once; the row was given back.

    Attributes:
        dialogues: how many it had open.
    """

    def __init__(self, dialogues: int) -> None:
        self.dialogues = dialogues
        super().__init__(dialogues)


class CannotAsk(Exception):
    """The upstreams or notify's own database cannot be asked whether a mail may go; its row was given back."""


class Delivery:
    """Delivers mails: `prepare` each as soon as the upstreams have answered, then `send` it over a connection.

    Args:
        first_retry: how long to wait after the first attempt at a mail.
        give_up: how long after its first attempt a mail that is refused for now is tried again.
    """

    def __init__(
        self,
        db: Database,
        upstreams: Upstreams,
        messages: MessageBuilder,
        smtp: Smtp,
        *,
        first_retry: timedelta,
        give_up: timedelta,
    ) -> None:
        self._db = db
        self._upstreams = upstreams
        self._messages = messages
        self._smtp = smtp
        self._asking: Batcher[Claimed, Answers] = Batcher(self._ask_about)
        self._looking: Batcher[tuple[Claimed, int], OwnRefusal | None] = Batcher(
            lambda asked: delivery_queue.own_refusals(db, asked), patience=PATIENCE_SECONDS
        )
        self._freezing: Batcher[Draft, OwnRefusal | None] = Batcher(lambda drafts: delivery_queue.freeze(db, drafts))
        self._finishing: Batcher[End, bool] = Batcher(lambda ends: endings.finish(db, ends), patience=PATIENCE_SECONDS)
        self._first_retry = first_retry
        self._give_up = give_up
        for failure in ("refused_by_server", "gave_up"):
            ENDED.labels("failed", failure)  # there from the start, so that an alarm sees the first one

    async def prepare(self, claimed: Claimed, answers: Answers) -> PreparedMail | None:
        """Build and freeze the mail, or end its row if it must not go. Mails prepared at once are frozen together.

        Raises:
            Problem: the upstreams or the database cannot be asked, and nothing has happened yet.
        """
        frozen: bytes | None = claimed.frozen
        try:
            if claimed.too_old:
                raise NotWanted("too_old")
            if not _is_fresh(answers):
                answers = await self._asking.submit(claimed)
            address, address_version = addressee(answers)
            frozen = claimed.frozen if claimed.frozen_for == address_version else None
            named = answers.waiting_ids if frozen is None else frozenset(claimed.waiting)
            _require_waiting(named, answers)
            content = self._messages.build(claimed, answers, address) if frozen is None else frozen
            frozen_at = time.monotonic()
            revision = answers.post.revision if answers.post else None
            message_id = self._messages.message_id(claimed) if frozen is None else None
            draft = Draft(claimed, content, address_version, message_id, revision, named)
            refusal = await self._freezing.submit(draft)
            if refusal is not None:
                raise NotWanted(refusal)
        except NotWanted as result:
            await self._conclude(claimed, result, reused=frozen is not None)
            return None
        failpoint.reach("mailer.frozen")
        return PreparedMail(claimed, answers, address, address_version, content, frozen is not None, frozen_at, named)

    async def send(self, prepared: PreparedMail) -> bool:
        """Send the mail, skip it, or reschedule it; the row says which.

        Returns:
            Whether the mail server accepted or refused this mail, and so takes mail.

        Raises:
            MailServerUnusable, CannotAsk: the row was given back; try no other for a while.
            MailServerFull: the row was given back; the others go on.
            Problem: the upstreams or the database cannot be asked, and nothing has happened yet.
        """
        mail: PreparedMail | None = prepared
        if not _is_fresh(prepared.answers):  # it waited for a free connection
            mail = await self.prepare(prepared.claimed, prepared.answers)
        if mail is None:
            return False
        result: Outcome | NotWanted
        try:
            async with self._smtp.dialogue(self._messages.sender, mail.recipient, mail.content) as dialogue:
                failpoint.reach("mailer.rcpt")
                if not (_is_fresh(mail.answers) and time.monotonic() - mail.frozen_at < OWN_FRESH_SECONDS):
                    mail = await self._still_wanted(mail)
                with self._looking.announced():
                    await dialogue.data()
                mail = await self._still_wanted(mail)
                failpoint.reach("mailer.data")
                with self._finishing.announced():
                    result = await dialogue.dot()
        except DialogueEnded as ended:
            result = ended.outcome
        except NotWanted as refusal:
            result = refusal
        except (Problem, asyncpg.PostgresError) as error:  # of `_still_wanted`
            await self._give_back(mail.claimed, CANNOT_ASK_DELAY, keep_frozen=mail.reused)
            raise CannotAsk from error
        await self._conclude(mail.claimed, result, reused=mail.reused, address_version=mail.address_version)
        if isinstance(result, NotWanted):
            return False
        if result.kind == "server_unusable":
            raise MailServerUnusable(result.reply)
        if result.kind == "server_full":
            raise MailServerFull(result.others)
        return result.kind in MAIL_SERVER_ANSWERED

    async def retry_unforeseen(self, claimed: Claimed) -> None:
        """Reschedule a mail whose attempt raised an unexpected exception; its outcome counts as unknown."""
        await self._try_later(claimed, None, keep_frozen=True)

    async def _ask_about(self, rows: Sequence[Claimed]) -> list[Answers]:
        answers = await self._upstreams.ask(rows)
        return [answers[claimed.person_id, claimed.comment_id] for claimed in rows]

    async def _still_wanted(self, mail: PreparedMail) -> PreparedMail:
        """Check that the mail may still go, by fresh answers and by notify's own part; return it with these answers.

        Raises:
            NotWanted: it must not go.
            Problem: the upstreams or the database cannot be asked.
        """
        answers = mail.answers if _is_fresh(mail.answers) else await self._asking.submit(mail.claimed)
        refusal = await self._looking.submit((mail.claimed, mail.address_version))
        if refusal is not None:
            raise NotWanted(refusal)
        _, address_version = addressee(answers)
        if address_version != mail.address_version:
            raise NotWanted("address_changed")
        _require_waiting(mail.named, answers)
        return replace(mail, answers=answers)

    async def _conclude(
        self, claimed: Claimed, result: Outcome | NotWanted, *, reused: bool = False, address_version: int | None = None
    ) -> None:
        """Record the result of an attempt in its row.

        The bytes stay in the row while the outcome of this attempt, or of an earlier one with the same bytes
        (`reused`), is unknown.
        """
        answer = result.reply if isinstance(result, Outcome) else None
        match result:
            case Outcome("accepted"):
                failpoint.reach("mailer.sent")
                if not await self._end(End(claimed, "sent", None, answer)):
                    log.warning("a mail was sent after its lease was lost", comment_id=str(claimed.comment_id))
                failpoint.reach("mailer.marked")
            case Outcome("refused"):
                await self._end(End(claimed, "failed", "refused_by_server", answer))
            case Outcome("bad_address"):
                await self._end(End(claimed, "failed", "refused_by_server", answer, address_version))
            case Outcome("refused_for_now" | "withheld"):
                await self._try_later(claimed, answer, keep_frozen=reused)
            case Outcome("unknown"):
                await self._try_later(claimed, answer, keep_frozen=True)
            case Outcome("server_unusable" | "server_full"):
                await self._give_back(claimed, keep_frozen=reused)
            case NotWanted("lease_lost"):
                log.warning("a lease was lost before its mail was sent", comment_id=str(claimed.comment_id))
            case NotWanted("address_changed"):
                await self._give_back(claimed, keep_frozen=False)
            case NotWanted("overtaken") if not reused:  # nobody has these bytes: the next attempt names what waits then
                await self._give_back(claimed, keep_frozen=False)
            case NotVisible(why, checked_state):
                if await retry_until_written(rescheduling.skip_not_visible, self._db, claimed, why, checked_state):
                    _count_end("skipped", why, claimed)
            case NotWanted(why):
                await self._end(End(claimed, "skipped", why))

    async def _end(self, end: End) -> bool:
        ended = await retry_until_written(self._finishing.submit, end)
        if ended:
            _count_end(end.state, end.why, end.claimed)
        return ended

    async def _try_later(self, claimed: Claimed, answer: str | None, *, keep_frozen: bool) -> None:
        if claimed.tried_for is not None and claimed.tried_for > self._give_up:
            await self._end(End(claimed, "failed", "gave_up", answer))
            return
        delay = rescheduling.retry_delay(claimed.tried_for, self._first_retry)
        await retry_until_written(
            rescheduling.reschedule,
            self._db,
            claimed,
            delay,
            counts=True,
            keep_frozen=keep_frozen,
            smtp_answer=answer,
        )

    async def _give_back(self, claimed: Claimed, delay: timedelta | None = None, *, keep_frozen: bool) -> None:
        await retry_until_written(rescheduling.reschedule, self._db, claimed, delay, keep_frozen=keep_frozen)


def _require_waiting(named: frozenset[UUID], answers: Answers) -> None:
    """Refuse a mail that names a comment which waits no more.

    Raises:
        NotWanted: `overtaken`.
    """
    if not named <= answers.waiting_ids:
        raise NotWanted("overtaken")


def _is_fresh(answers: Answers) -> bool:
    """Return whether the answers are recent enough to decide about a mail."""
    return time.monotonic() - answers.asked_at <= FRESH_SECONDS


def _count_end(state: EndState, why: str | None, claimed: Claimed) -> None:
    ENDED.labels(state, why or "").inc()
    if state != "sent":  # what went well stands in the row, and in the metric
        log.info("notification ended", state=state, why=why, comment_id=str(claimed.comment_id))
