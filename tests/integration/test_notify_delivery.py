"""Every way in which an attempt at a mail can end, on real PostgreSQL, HTTP and SMTP."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from services.chassis.database import until_written
from services.chassis.errors import Problem, unavailable
from services.chassis.mail.sender import Sender
from services.chassis.mail.smtp import Smtp, SmtpSettings
from services.chassis.messaging import epochs, outbox
from services.chassis.runtime import context
from services.notify import choices, delivery, delivery_queue, endings
from services.notify.delivery import CannotAsk, Delivery, MailServerUnusable
from services.notify.domain import Claimed
from services.notify.endings import End
from services.notify.message import MessageBuilder
from services.notify.tokens import Tokens
from services.notify.upstreams import Upstreams
from tests.conftest import NewDatabase
from tests.integration.notify_harness import PACKAGES, FakeComment, NotifyHarness
from tests.integration.notify_upstreams import FakeUpstreams, address, serving_upstreams
from tests.smtp_sink import CLOSE, RESET, STALL, SmtpSink
from tests.waiting import eventually

SENT = ("sent", None)
WAITING = ("waiting", None)


@dataclass
class DeliveryHarness:
    """A delivery over a database, fake upstreams and an SMTP sink."""

    service: NotifyHarness
    fake: FakeUpstreams
    upstreams: Upstreams
    delivery: Delivery
    sink: SmtpSink

    async def add_comment(self, **fields: Any) -> FakeComment:
        """A comment that concerns one person, fake to all, handled by notify."""
        comment = FakeComment(**fields)
        comment = FakeComment(**{**vars(comment), "post_author_id": comment.author_id})
        self.fake.add(comment)
        await self.service.handle(comment.posted)
        return comment

    async def claim(self) -> Claimed:
        (claimed,) = await delivery_queue.claim(self.service.db, 1)
        return claimed

    async def attempt(self, claimed: Claimed | None = None) -> bool:
        """Claim the due row, ask the upstreams, make an attempt; return whether the mail server takes mail."""
        claimed = claimed or await self.claim()
        answers = await self.upstreams.ask([claimed])
        mail = await self.delivery.prepare(claimed, answers[claimed.person_id, claimed.comment_id])
        return mail is not None and await self.delivery.send(mail)

    async def make_due(self) -> None:
        assert await self.service.change("update notifications set due_at = now() where state = 'waiting'") > 0

    async def ending(self, comment: FakeComment) -> tuple[str, str | None] | None:
        return await self.service.ending(comment.parent_author_id, comment.comment_id)

    async def row(self, comment: FakeComment) -> Any:
        return await self.service.row(comment.parent_author_id, comment.comment_id)


@pytest.fixture
async def harness(
    new_database: NewDatabase, keys: dict[str, str], smtp_sink: SmtpSink
) -> AsyncIterator[DeliveryHarness]:
    db = await new_database(*PACKAGES)
    tokens = Tokens(keys["NOTIFY_SECRET"], "rapport.test")
    messages = MessageBuilder(
        sender=Sender.parse("Rapport <n@rapport.test>"), public_url="https://rapport.test", tokens=tokens
    )
    smtp = Smtp(SmtpSettings(smtp_port=smtp_sink.port, smtp_dot_timeout_seconds=1))
    async with serving_upstreams(keys) as (fake, upstreams):
        first_retry, give_up = timedelta(seconds=30), timedelta(days=4)
        sending = Delivery(db, upstreams, messages, smtp, first_retry=first_retry, give_up=give_up)
        yield DeliveryHarness(NotifyHarness(db), fake, upstreams, sending, smtp_sink)
        await smtp.close()


async def test_a_mail_that_arrives_is_marked_sent_and_its_bytes_are_forgotten(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    assert await harness.attempt()
    (mail,) = harness.sink.messages
    assert mail.recipients == [address(comment.parent_author_id)]
    row = await harness.row(comment)
    assert (row["state"], row["why"], row["frozen"], row["due_at"], row["lease_token"]) == (*SENT, None, None, None)
    assert row["sent_at"] is not None
    assert row["message_id"] == mail.message["Message-ID"]
    assert row["message_sha256"] == hashlib.sha256(mail.content).digest()
    assert row["smtp_answer"] == "250 2.0.0 kept"
    assert await harness.service.events() == [("sent", None)]
    assert "example.com" not in await harness.service.value("select to_jsonb(n)::text from notifications n")


async def test_the_event_is_about_the_notification(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    await harness.attempt()
    assert await harness.service.value("select subject from outbox") == (await harness.row(comment))["id"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda fake, comment: fake.comments[str(comment.comment_id)].update(state="removed"), "comment_removed"),
        (lambda fake, comment: fake.comments.clear(), "comment_removed"),
        (lambda fake, comment: fake.comments[str(comment.comment_id)].update(state="held"), "comment_held"),
        (lambda fake, comment: fake.comments[str(comment.comment_id)].update(imported=True), "imported"),
        (lambda fake, comment: fake.posts[str(comment.post_id)].update(status="withdrawn"), "post_withdrawn"),
        (lambda fake, comment: fake.posts.clear(), "post_withdrawn"),
        (lambda fake, comment: fake.contacts.clear(), "address_not_confirmed"),
        (
            lambda fake, comment: fake.contacts[str(comment.parent_author_id)].update(confirmed=False),
            "address_not_confirmed",
        ),
    ],
)
async def test_an_objection_of_an_upstream_skips_the_mail(harness: DeliveryHarness, change: Any, why: str) -> None:
    comment = await harness.add_comment()
    change(harness.fake, comment)
    assert not await harness.attempt()
    assert await harness.ending(comment) == ("skipped", why)
    assert await harness.service.events() == [("skipped", why)]
    assert harness.sink.seen == []


@pytest.mark.parametrize("hours", [72.1, 24 * 400])
async def test_nobody_is_mailed_for_the_first_time_about_an_old_comment(harness: DeliveryHarness, hours: float) -> None:
    comment = await harness.add_comment(created_at=datetime.now(UTC) - timedelta(hours=hours))
    assert not await harness.attempt()
    assert await harness.ending(comment) == ("skipped", "too_old")
    assert harness.sink.messages == []


async def test_a_comment_from_before_the_restore_of_notify_is_too_old(harness: DeliveryHarness) -> None:
    before = await harness.add_comment(created_at=datetime.now(UTC) - timedelta(minutes=1))
    async with harness.service.db.transaction() as tx:
        await epochs.raise_epoch(tx)
    assert not await harness.attempt()
    assert await harness.ending(before) == ("skipped", "too_old")
    after = await harness.add_comment()
    assert await harness.attempt()
    assert await harness.ending(after) == SENT


async def test_an_old_mail_that_was_tried_in_time_is_tried_on(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    await harness.service.change("update notifications set first_tried_at = now() - interval '71 hours'")
    await harness.service.change("update comments set created_at = now() - interval '73 hours'")
    assert await harness.attempt()
    assert await harness.ending(comment) == SENT


async def test_an_objection_ends_the_row_although_bytes_are_frozen(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    harness.sink.once("dot", CLOSE)
    await harness.attempt()
    assert (await harness.row(comment))["frozen"] is not None
    compressed = "select pg_column_compression(frozen) from notifications where frozen is not null"
    assert await harness.service.value(compressed) is None, "to compress them would take longer than to write them"
    harness.fake.comments[str(comment.comment_id)].update(state="removed", version=2)
    await harness.make_due()
    await harness.attempt()
    row = await harness.row(comment)
    assert (row["state"], row["why"], row["frozen"]) == ("skipped", "comment_removed", None)


async def test_unsubscribing_holds_for_a_mail_that_is_claimed_already(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    claimed = await harness.claim()
    assert comment.parent_author_id is not None
    await choices.choose_mail(harness.service.db, comment.parent_author_id, "none")
    await harness.attempt(claimed)
    assert await harness.ending(comment) == ("skipped", "unsubscribed")
    assert harness.sink.seen == []


@pytest.mark.parametrize("phase", ["rcpt", "data"])
async def test_unsubscribing_during_the_dialogue_withholds_the_mail(
    harness: DeliveryHarness, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FRESH_SECONDS", 0.0)
    comment = await harness.add_comment()
    _interrupt(harness, phase, "insert into mail_choices values ($1, false)", comment.parent_author_id)
    await harness.attempt()
    assert await harness.ending(comment) == ("skipped", "unsubscribed")
    assert harness.sink.messages == []
    assert ("DATA" in harness.sink.seen) == (phase == "data")


def _interrupt(harness: DeliveryHarness, phase: str, sql: str, *args: object) -> None:
    """Change notify's database while the sink is in this phase."""
    say = harness.sink._say

    async def say_and_change(now: str, writer: asyncio.StreamWriter, *mail: Any) -> bool:
        if now == phase:
            await harness.service.change(sql, *args)
        return await say(now, writer, *mail)

    harness.sink._say = say_and_change  # type: ignore[method-assign, assignment]  # the sink has no hook for this


async def test_a_lost_lease_sends_nothing_and_changes_nothing(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    _interrupt(harness, "data", "update notifications set lease_token = gen_random_uuid()")
    await harness.attempt()
    assert await harness.ending(comment) == WAITING
    assert harness.sink.messages == []
    assert harness.sink.unanswered == []
    assert (await harness.row(comment))["lease_token"] is not None


async def test_a_lease_that_has_run_out_sends_nothing(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FRESH_SECONDS", 0.0)
    comment = await harness.add_comment()
    _interrupt(harness, "rcpt", "update notifications set lease_until = now() - interval '1 s'")
    await harness.attempt()
    assert await harness.ending(comment) == WAITING
    assert "DATA" not in harness.sink.seen


async def test_a_lease_lost_after_the_dot_leaves_the_row_unchanged(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    _interrupt(harness, "dot", "update notifications set lease_token = gen_random_uuid()")
    await harness.attempt()
    assert await harness.ending(comment) == WAITING
    assert (await harness.row(comment))["frozen"] == harness.sink.messages[0].content
    assert await harness.service.events() == []


async def test_old_facts_are_asked_for_again_before_the_mail_is_prepared(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    claimed = await harness.claim()
    answers = (await harness.upstreams.ask([claimed]))[claimed.person_id, claimed.comment_id]
    harness.fake.comments[str(comment.comment_id)].update(state="removed", version=2)
    assert await harness.delivery.prepare(claimed, replace(answers, asked_at=answers.asked_at - 3)) is None
    assert await harness.ending(comment) == ("skipped", "comment_removed")
    assert harness.sink.seen == []


async def test_a_mail_that_waited_for_a_connection_is_built_again(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    claimed = await harness.claim()
    answers = (await harness.upstreams.ask([claimed]))[claimed.person_id, claimed.comment_id]
    prepared = await harness.delivery.prepare(claimed, answers)
    assert prepared is not None
    harness.fake.comments[str(comment.comment_id)].update(body_html="<p>Edited meanwhile.</p>", version=2)
    assert await harness.delivery.send(replace(prepared, answers=replace(answers, asked_at=answers.asked_at - 3)))
    (mail,) = harness.sink.messages
    assert b"Edited meanwhile." in mail.content
    assert (await harness.row(comment))["message_sha256"] == hashlib.sha256(mail.content).digest()


async def test_a_mail_that_waited_for_a_connection_is_skipped_if_its_comment_is_gone(
    harness: DeliveryHarness,
) -> None:
    comment = await harness.add_comment()
    claimed = await harness.claim()
    answers = (await harness.upstreams.ask([claimed]))[claimed.person_id, claimed.comment_id]
    prepared = await harness.delivery.prepare(claimed, answers)
    assert prepared is not None
    harness.fake.comments[str(comment.comment_id)].update(state="removed", version=2)
    assert not await harness.delivery.send(replace(prepared, answers=replace(answers, asked_at=answers.asked_at - 3)))
    assert await harness.ending(comment) == ("skipped", "comment_removed")
    assert (await harness.row(comment))["frozen"] is None
    assert harness.sink.seen == []


async def test_mails_frozen_together_are_decided_one_by_one(harness: DeliveryHarness) -> None:
    """One statement freezes them all; one that is unsubscribed, or whose lease is lost, keeps back no other."""
    wanted, unwanted, lost = [await harness.add_comment() for _ in range(3)]
    batch = await delivery_queue.claim(harness.service.db, 3)
    answers = await harness.upstreams.ask(batch)
    assert unwanted.parent_author_id is not None
    await choices.choose_mail(harness.service.db, unwanted.parent_author_id, "none")
    steal = "update notifications set lease_token = gen_random_uuid() where comment_id = $1 returning 1"
    await harness.service.value(steal, lost.comment_id)
    mails = await asyncio.gather(
        *(harness.delivery.prepare(claimed, answers[claimed.person_id, claimed.comment_id]) for claimed in batch)
    )
    assert [mail.claimed.comment_id for mail in mails if mail] == [wanted.comment_id]
    assert (await harness.row(wanted))["frozen"] is not None
    assert await harness.ending(unwanted) == ("skipped", "unsubscribed")
    assert await harness.ending(lost) == WAITING
    assert (await harness.row(lost))["frozen"] is None


def _age_answers(harness: DeliveryHarness, patch: pytest.MonkeyPatch, phase: str, change: Callable[[], object]) -> None:
    """Make all answers stale in this phase of the next dialogue, and change something."""
    say, clock = harness.sink._say, time.monotonic

    async def say_and_change(now: str, writer: asyncio.StreamWriter, *mail: Any) -> bool:
        if now == phase:
            harness.sink._say = say  # type: ignore[method-assign]  # a later dialogue would patch what nobody undoes
            patch.setattr(delivery, "time", Clock(clock() + 3))
            change()
        return await say(now, writer, *mail)

    harness.sink._say = say_and_change  # type: ignore[method-assign, assignment]  # the sink has no hook for this


@dataclass
class Clock:
    """A clock that stands still."""

    now: float

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("phase", ["connect", "mail", "rcpt"])
async def test_a_removal_during_a_slow_dialogue_is_seen_before_data(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    comment = await harness.add_comment()
    known_comment = harness.fake.comments[str(comment.comment_id)]
    _age_answers(harness, monkeypatch, phase, lambda: known_comment.update(state="removed", version=2))
    await harness.attempt()
    assert await harness.ending(comment) == ("skipped", "comment_removed")
    assert "DATA" not in harness.sink.seen
    assert len(harness.fake.calls) == 8


async def test_a_removal_while_the_bytes_were_slow_to_freeze_is_seen_before_data(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    comment = await harness.add_comment()
    freeze = delivery_queue.freeze

    async def slowly(*args: Any) -> Any:
        frozen = await freeze(*args)
        monkeypatch.setattr(delivery, "time", Clock(time.monotonic() + 3))
        harness.fake.comments[str(comment.comment_id)].update(state="removed", version=2)
        return frozen

    monkeypatch.setattr(delivery_queue, "freeze", slowly)
    await harness.attempt()
    assert await harness.ending(comment) == ("skipped", "comment_removed")
    assert "DATA" not in harness.sink.seen


async def test_a_removal_while_the_message_leaves_is_seen_before_the_dot(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    comment = await harness.add_comment()
    known_comment = harness.fake.comments[str(comment.comment_id)]
    _age_answers(harness, monkeypatch, "data", lambda: known_comment.update(state="removed", version=2))
    await harness.attempt()
    assert await harness.ending(comment) == ("skipped", "comment_removed")
    assert harness.sink.messages == harness.sink.unanswered == []


async def test_fresh_answers_are_not_asked_for_again(harness: DeliveryHarness) -> None:
    await harness.add_comment()
    await harness.attempt()
    assert len(harness.fake.calls) == 4


async def test_upstreams_that_go_away_during_a_slow_dialogue_count_no_attempt(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    comment = await harness.add_comment()
    _age_answers(harness, monkeypatch, "rcpt", lambda: harness.fake.away.add("/posts/lookup"))
    with pytest.raises(CannotAsk):
        await harness.attempt()
    row = await harness.row(comment)
    assert (row["state"], row["attempts"], row["lease_token"], row["frozen"]) == ("waiting", 0, None, None)
    assert 0 < row["due_in"] <= 1


async def test_an_address_that_changes_during_a_slow_dialogue_gets_a_new_mail(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    comment = await harness.add_comment()
    contact = harness.fake.contacts[str(comment.parent_author_id)]
    with monkeypatch.context() as patched:
        _age_answers(harness, patched, "rcpt", lambda: contact.update(email="new@example.com", address_version=2))
        await harness.attempt()
    assert await harness.ending(comment) == WAITING
    await harness.attempt()
    assert [mail.recipients for mail in harness.sink.messages] == [["new@example.com"]]


@pytest.mark.parametrize("phase", ["rcpt", "data", "dot"])
async def test_a_mail_refused_for_now_is_rescheduled_and_built_again(harness: DeliveryHarness, phase: str) -> None:
    comment = await harness.add_comment()
    harness.sink.once(phase, "451 4.3.0 not now")
    assert await harness.attempt()
    row = await harness.row(comment)
    assert (row["state"], row["attempts"], row["frozen"], row["smtp_answer"]) == (
        "waiting",
        1,
        None,
        "451 4.3.0 not now",
    )
    assert 28 < row["due_in"] <= 30
    harness.fake.comments[str(comment.comment_id)]["body_html"] = "<p>Edited.</p>"
    await harness.make_due()
    await harness.attempt()
    assert await harness.ending(comment) == SENT
    assert "Edited." in harness.sink.messages[0].text
    assert harness.sink.messages[0].message["Message-ID"] == row["message_id"]


@pytest.mark.parametrize("fault", [CLOSE, RESET])
async def test_an_unknown_outcome_is_repeated_byte_for_byte(harness: DeliveryHarness, fault: str) -> None:
    comment = await harness.add_comment()
    harness.sink.once("dot", fault)
    assert not await harness.attempt()
    assert (await harness.row(comment))["frozen"] == harness.sink.unanswered[0].content
    harness.fake.comments[str(comment.comment_id)]["body_html"] = "<p>Edited.</p>"
    for refused in (True, False):
        if refused:  # a definite refusal of the repetition does not make the first attempt known
            harness.sink.once("rcpt", "450 4.2.0 busy")
        await harness.make_due()
        await harness.attempt()
    assert await harness.ending(comment) == SENT
    assert harness.sink.messages[0].content == harness.sink.unanswered[0].content


async def test_a_repeated_mail_keeps_its_id_in_the_ledger_when_the_secret_was_replaced(
    harness: DeliveryHarness,
) -> None:
    comment = await harness.add_comment()
    harness.sink.once("dot", CLOSE)
    await harness.attempt()
    tokens = Tokens("a new secret of more than 32 characters", "rapport.test")
    messages = MessageBuilder(
        sender=Sender.parse("Rapport <n@rapport.test>"), public_url="https://rapport.test", tokens=tokens
    )
    harness.delivery._messages = messages
    await harness.make_due()
    await harness.attempt()
    (mail,) = harness.sink.messages
    assert mail.content == harness.sink.unanswered[0].content
    assert (await harness.row(comment))["message_id"] == mail.message["Message-ID"]


async def test_an_unknown_outcome_is_not_repeated_to_another_address(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    harness.sink.once("dot", CLOSE)
    await harness.attempt()
    harness.fake.contacts[str(comment.parent_author_id)].update(email="new@example.com", address_version=2)
    await harness.make_due()
    await harness.attempt()
    assert harness.sink.messages[0].message["To"] == "new@example.com"


async def test_no_answer_to_the_dot_in_time_is_unknown(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    harness.sink.once("dot", STALL)
    await harness.attempt()
    row = await harness.row(comment)
    assert (row["state"], row["attempts"]) == ("waiting", 1)
    assert row["frozen"] is not None


async def test_a_cancellation_after_the_dot_leaves_the_bytes_under_their_lease(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    harness.sink.once("dot", STALL)
    attempt = asyncio.create_task(harness.attempt())
    await eventually(lambda: harness.sink.unanswered)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    row = await harness.row(comment)
    assert (row["state"], row["attempts"]) == ("waiting", 0)
    assert row["lease_token"] is not None
    assert row["frozen"] == harness.sink.unanswered[0].content
    await harness.service.change("update notifications set lease_until = now() - interval '1 s'")
    await harness.attempt()
    assert harness.sink.messages[0].content == harness.sink.unanswered[0].content


@pytest.mark.parametrize("answer", [f"550 5.1.{digits} no such user" for digits in (1, 2, 3, 6, 10)])
async def test_a_bad_address_is_suppressed_by_its_version(harness: DeliveryHarness, answer: str) -> None:
    comment = await harness.add_comment()
    harness.sink.once("rcpt", answer)
    await harness.attempt()
    assert await harness.ending(comment) == ("failed", "refused_by_server")
    again = await harness.add_comment(parent_author_id=comment.parent_author_id)
    await harness.attempt()
    assert await harness.ending(again) == ("skipped", "address_suppressed")
    harness.fake.contacts[str(comment.parent_author_id)].update(address_version=2)
    third = await harness.add_comment(parent_author_id=comment.parent_author_id)
    await harness.attempt()
    assert await harness.ending(third) == SENT
    told = [("failed", "refused_by_server"), ("address-suppressed", None), ("skipped", "address_suppressed"), SENT]
    assert await harness.service.events() == told


@pytest.mark.parametrize(
    ("phase", "answer"),
    [
        ("rcpt", "550 5.7.1 not allowed"),
        ("rcpt", "552 5.2.2 mailbox full"),
        ("data", "554 5.6.0 content"),
        ("dot", "550 5.1.1 says the filter"),
        ("dot", "554 5.7.1 spam"),
    ],
)
async def test_any_other_final_refusal_fails_this_mail_only(harness: DeliveryHarness, phase: str, answer: str) -> None:
    comment = await harness.add_comment()
    harness.sink.once(phase, answer)
    assert await harness.attempt()
    assert await harness.ending(comment) == ("failed", "refused_by_server")
    again = await harness.add_comment(parent_author_id=comment.parent_author_id)
    await harness.attempt()
    assert await harness.ending(again) == SENT


@pytest.mark.parametrize(
    ("phase", "answer"),
    [
        ("connect", "554 5.7.1 go away"),
        ("connect", CLOSE),
        ("ehlo", "550 no"),
        ("mail", "550 5.1.8 bad sender"),
        ("mail", "451 4.3.0 later"),
    ],
)
async def test_an_unusable_server_fails_no_mail_and_counts_no_attempt(
    harness: DeliveryHarness, phase: str, answer: str
) -> None:
    comment = await harness.add_comment()
    harness.sink.answers[phase] = answer
    with pytest.raises(MailServerUnusable):
        await harness.attempt()
    row = await harness.row(comment)
    assert (row["state"], row["attempts"], row["frozen"], row["lease_token"]) == ("waiting", 0, None, None)
    assert row["due_in"] <= 0
    assert await harness.service.value("select count(*) from suppressions") == 0


async def test_a_server_that_breaks_off_before_the_dot_is_tried_later(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    harness.sink.once("body", RESET)
    await harness.attempt()
    row = await harness.row(comment)
    assert (row["state"], row["attempts"], row["lease_token"]) == ("waiting", 1, None)
    await harness.make_due()
    await harness.attempt()
    assert await harness.ending(comment) == SENT


async def test_after_days_it_is_given_up(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    harness.sink.answers["rcpt"] = "450 4.2.0 busy"
    await harness.attempt()
    await harness.service.change("update notifications set first_tried_at = now() - interval '5 days', due_at = now()")
    await harness.attempt()
    assert await harness.ending(comment) == ("failed", "gave_up")
    assert (await harness.row(comment))["smtp_answer"] == "450 4.2.0 busy"
    assert await harness.service.events() == [("failed", "gave_up")]


async def test_an_approval_handled_while_the_upstreams_were_asked_is_not_lost(harness: DeliveryHarness) -> None:
    comment = await harness.add_comment()
    claimed = await harness.claim()
    known_comment = harness.fake.comments[str(comment.comment_id)]
    known_comment.update(state="held", version=2)
    answers = await harness.upstreams.ask([claimed])
    known_comment.update(state="visible", version=3)
    await harness.service.handle(
        comment.changed_to("held").held, comment.changed_to("held").changed_to("visible").approved
    )
    assert await harness.delivery.prepare(claimed, answers[claimed.person_id, claimed.comment_id]) is None
    assert await harness.ending(comment) == WAITING
    await harness.attempt()
    assert await harness.ending(comment) == SENT


async def claim_with_ids(harness: DeliveryHarness, count: int) -> list[Claimed]:
    """Add comments with a correlation id each, and claim their rows."""
    for number in range(count):
        with context.bound(context.Context(f"request-{number}")):
            await harness.add_comment()
    return await delivery_queue.claim(harness.service.db, count)


async def test_ends_that_are_written_together_share_one_transaction(harness: DeliveryHarness) -> None:
    sent, bad, lost, skipped = await claim_with_ids(harness, 4)
    steal = "update notifications set lease_token = gen_random_uuid() where comment_id = $1"
    await harness.service.change(steal, lost.comment_id)
    ends = [
        End(sent, "sent", None, "250 ok"),
        End(bad, "failed", "refused_by_server", "550 5.1.1 no", bad_address_version=1),
        End(lost, "sent", None, "250 ok"),
        End(skipped, "skipped", "unsubscribed"),
    ]
    assert await endings.finish(harness.service.db, ends) == [True, True, False, True]
    ended = "select count(*) || ' in ' || count(distinct xmin::text) from notifications where state <> 'waiting'"
    assert await harness.service.value(ended) == "3 in 1"
    assert sorted(await harness.service.events()) == [
        ("address-suppressed", None),
        ("failed", "refused_by_server"),
        ("sent", None),
        ("skipped", "unsubscribed"),
    ]
    own_context = (
        "select bool_and(o.correlation_id = n.correlation_id) from outbox o join notifications n on n.id = o.subject"
    )
    assert await harness.service.value(own_context)
    assert await harness.service.value("select person_id from suppressions") == bad.person_id


async def test_an_end_that_cannot_be_written_does_not_keep_back_those_written_with_it(harness: DeliveryHarness) -> None:
    good, broken, other = await claim_with_ids(harness, 3)
    ends = [End(good, "sent"), End(broken, "sent", None, "an answer with \0"), End(other, "sent")]
    first, error, last = await endings.finish(harness.service.db, ends)
    assert (first, last) == (True, True)
    assert isinstance(error, asyncpg.PostgresError)
    assert await harness.service.value("select count(*) from notifications where state = 'sent'") == 2
    assert await harness.service.events() == [SENT, SENT]


async def test_a_database_that_is_away_leaves_all_ends_of_a_batch_to_be_written_again(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, add_with_each, failures = await claim_with_ids(harness, 2), outbox.add_with_each, [unavailable("away")]

    async def failing(*args: Any) -> list[bool]:
        if failures:
            raise failures.pop()
        return await add_with_each(*args)

    monkeypatch.setattr(outbox, "add_with_each", failing)
    ends = [End(claimed, "sent") for claimed in batch]
    with pytest.raises(Problem):
        await endings.finish(harness.service.db, ends)
    assert await endings.finish(harness.service.db, ends) == [True, True]
    assert await endings.finish(harness.service.db, ends) == [False, False]


async def test_an_outcome_is_written_even_if_the_database_was_away_for_a_moment(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    comment = await harness.add_comment()
    monkeypatch.setattr(until_written, "WRITE_AGAIN_SECONDS", 0.01)
    finish, failures = endings.finish, [0]

    async def failing(*args: Any) -> Any:
        if failures[0] < 3:
            failures[0] += 1
            await harness.service.change("select 1/0")
        return await finish(*args)

    monkeypatch.setattr(endings, "finish", failing)
    await harness.attempt()
    assert failures == [3]
    assert await harness.ending(comment) == SENT
    assert len(harness.sink.messages) == 1
