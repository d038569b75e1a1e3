"""One attempt at one mail: from what the upstreams answered to the end that is written into its row."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import ParamSpec, TypeVar

import asyncpg
import stamina
import structlog
from prometheus_client import Counter

from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.mail.smtp import Smtp
from services.chassis.mail.smtp_dialogue import DialogueEnded, Outcome
from services.chassis.runtime import failpoint
from services.chassis.runtime.batcher import Batcher
from services.notify import delivery_queue
from services.notify.delivery_queue import Claimed, Draft, End, OwnRefusal
from services.notify.domain import WHY_NOT_VISIBLE, EndState, Facts, objection, retry_delay
from services.notify.message import MessageBuilder, PreparedMail
from services.notify.upstreams import Upstreams

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

ENDED = Counter("rapport_mail_ended", "Notifications by how they ended", ["state", "why"])

FRESH_SECONDS = 2.0  # the upstreams' answers; so no message begins more than 5 s after its subject was removed
OWN_FRESH_SECONDS = 1.0  # notify's own part: the lease, the choice, the suppressions
AWAY_DELAY = timedelta(seconds=1)
WRITE_AGAIN_SECONDS = 0.5
RELAY_WORKS = ("accepted", "refused", "refused_for_now", "bad_address")
UNSEEN = tuple(WHY_NOT_VISIBLE.values())


class RelayUnusable(Exception):
    """The mail relay took no mail at all; nothing is wrong with the one at hand."""


class UpstreamsAway(Exception):
    """What must be asked before the dot does not answer: the upstreams, or notify's own database."""


class NotWanted(Exception):
    """A mail must not go.

    Attributes:
        why: `lost` for a lost lease, `moved` for a new address, else why the notification is skipped.
        seen_version: the version at which the comment is not visible, if that is why.
    """

    __match_args__ = ("why", "seen_version")

    def __init__(self, why: str, seen_version: int | None = None) -> None:
        self.why, self.seen_version = why, seen_version
        super().__init__(why)


class Delivery:
    """Delivers mails: `prepare` each as soon as its facts are there, then `send` it over a connection.

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
        self._freezing: Batcher[Draft, OwnRefusal | None] = Batcher(self._freeze)
        self._finishing: Batcher[End, bool] = Batcher(self._finish)
        self._first_retry = first_retry
        self._give_up = give_up

    async def prepare(self, claimed: Claimed, facts: Facts) -> PreparedMail | None:
        """Build and freeze the mail, or end its row if it must not go. Mails prepared at once are frozen together.

        Raises:
            Problem: the upstreams or the database cannot be asked, and nothing has happened yet.
        """
        try:
            if not _is_fresh(facts):
                facts = await self._ask(claimed)
            address, version = _addressee(facts)
            frozen = claimed.frozen if claimed.frozen_for == version else None
            content = self._messages.build(claimed, facts, address) if frozen is None else frozen
            frozen_at = time.monotonic()
            draft = Draft(claimed, content, version, self._messages.message_id(claimed))
            refusal = await self._freezing.submit(draft)
            if refusal is not None:
                raise NotWanted(refusal)
        except NotWanted as end:
            await self._conclude(claimed, end)
            return None
        failpoint.reach("mailer.frozen")
        return PreparedMail(claimed, facts, address, version, content, frozen is not None, frozen_at)

    async def send(self, prepared: PreparedMail) -> bool:
        """Send the mail, skip it, or reschedule it; the row says which.

        Returns:
            Whether the relay was seen to work.

        Raises:
            RelayUnusable, UpstreamsAway: the row was given back; try no other for a while.
            Problem: the upstreams or the database cannot be asked, and nothing has happened yet.
        """
        mail: PreparedMail | None = prepared
        if not _is_fresh(prepared.facts):  # it waited for a free connection
            mail = await self.prepare(prepared.claimed, prepared.facts)
        if mail is None:
            return False
        end: Outcome | NotWanted
        try:
            async with self._smtp.dialogue(self._messages.sender, mail.recipient, mail.content) as dialogue:
                failpoint.reach("mailer.rcpt")
                if not (_is_fresh(mail.facts) and time.monotonic() - mail.frozen_at < OWN_FRESH_SECONDS):
                    mail = await self._still_wanted(mail)
                await dialogue.data()
                mail = await self._still_wanted(mail)
                failpoint.reach("mailer.data")
                end = await dialogue.dot()
        except DialogueEnded as ended:
            end = ended.outcome
        except NotWanted as refusal:
            end = refusal
        except (Problem, asyncpg.PostgresError) as error:  # of `_still_wanted`
            await self._give_back(mail.claimed, AWAY_DELAY, keep_frozen=mail.reused)
            raise UpstreamsAway from error
        await self._conclude(mail.claimed, end, reused=mail.reused, address_version=mail.address_version)
        return isinstance(end, Outcome) and end.kind in RELAY_WORKS

    async def retry_unforeseen(self, claimed: Claimed) -> None:
        """Reschedule a mail whose attempt broke in a way nobody foresaw; its outcome counts as unknown."""
        await self._try_later(claimed, None, keep_frozen=True)

    async def _ask(self, claimed: Claimed) -> Facts:
        answers = await self._upstreams.facts([claimed])
        return answers[claimed.person_id, claimed.comment_id]

    async def _still_wanted(self, mail: PreparedMail) -> PreparedMail:
        """Return the mail with what is known of it now: facts that are not too old, and notify's own part in any case.

        Raises:
            NotWanted: it must not go.
            Problem: the upstreams or the database cannot be asked.
        """
        facts = mail.facts if _is_fresh(mail.facts) else await self._ask(mail.claimed)
        refusal = await delivery_queue.own_refusal(self._db, mail.claimed, mail.address_version)
        if refusal is not None:
            raise NotWanted(refusal)
        _, version = _addressee(facts)
        if version != mail.address_version:
            raise NotWanted("moved")
        return replace(mail, facts=facts)

    async def _conclude(
        self, claimed: Claimed, end: Outcome | NotWanted, *, reused: bool = False, address_version: int | None = None
    ) -> None:
        """Write down what the end of an attempt means for its row.

        The bytes stay in the row while the outcome of this attempt, or of an earlier one with the same bytes
        (`reused`), is unknown.
        """
        answer = f"{end.code or ''} {end.answer}".strip() if isinstance(end, Outcome) else None
        match end:
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
            case Outcome("relay_unusable"):
                await self._give_back(claimed, keep_frozen=reused)
                raise RelayUnusable(answer)
            case NotWanted("lost"):
                log.warning("a lease was lost before its mail was sent", comment_id=str(claimed.comment_id))
            case NotWanted("moved"):
                await self._give_back(claimed, keep_frozen=False)
            case NotWanted(why, int(seen_version)):
                if await retry_until_written(delivery_queue.skip_unseen, self._db, claimed, why, seen_version):
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
        delay = retry_delay(claimed.tried_for, self._first_retry)
        await retry_until_written(
            delivery_queue.reschedule,
            self._db,
            claimed,
            delay,
            counts=True,
            keep_frozen=keep_frozen,
            smtp_answer=answer,
        )

    async def _give_back(self, claimed: Claimed, delay: timedelta | None = None, *, keep_frozen: bool) -> None:
        await retry_until_written(delivery_queue.reschedule, self._db, claimed, delay, keep_frozen=keep_frozen)

    async def _freeze(self, drafts: Sequence[Draft]) -> list[OwnRefusal | None]:
        return await delivery_queue.freeze(self._db, drafts)

    async def _finish(self, ends: Sequence[End]) -> Sequence[bool | Exception]:
        return await delivery_queue.finish(self._db, ends)


def _is_fresh(facts: Facts) -> bool:
    """Return whether what the upstreams answered may still decide about a mail."""
    return time.monotonic() - facts.asked_at <= FRESH_SECONDS


def _addressee(facts: Facts) -> tuple[str, int]:
    """Return the address that the mail goes to, and its version.

    Raises:
        NotWanted: it must not go, as far as the upstreams decide it.
    """
    why, contact, comment = objection(facts), facts.contact, facts.comment
    if why is None and contact is not None and contact.email is not None:
        return contact.email, contact.address_version
    raise NotWanted(why or "address_not_confirmed", comment.version if comment and why in UNSEEN else None)


def _count_end(state: EndState, why: str | None, claimed: Claimed) -> None:
    ENDED.labels(state, why or "").inc()
    log.info("notification ended", state=state, why=why, comment_id=str(claimed.comment_id))


async def retry_until_written(write: Callable[P, Awaitable[T]], *args: P.args, **options: P.kwargs) -> T:
    """Write down what has happened, again and again until the database takes it.

    Each write filters on the lease, so one that did go through although its answer was lost changes nothing the second
    time.
    """
    writing = stamina.AsyncRetryingCaller(
        attempts=None, timeout=None, wait_initial=WRITE_AGAIN_SECONDS, wait_max=WRITE_AGAIN_SECONDS, wait_jitter=0
    )
    return await writing(_can_be_written_again, write, *args, **options)


def _can_be_written_again(error: Exception) -> bool:
    if not isinstance(error, Problem | asyncpg.PostgresError):
        return False
    log.warning("the outcome of a mail could not be written yet", error=repr(error))
    return True
