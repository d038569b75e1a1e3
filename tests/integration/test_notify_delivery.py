"""Every way in which an attempt at a mail can end, on real PostgreSQL, HTTP and SMTP."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.mail.smtp import Smtp, SmtpSettings
from services.notify import commands, delivery, last_look
from services.notify.delivery import Delivery, OwnersAway, RelayUnusable
from services.notify.delivery_queue import Claimed
from services.notify.message import MessageBuilder
from services.notify.tokens import Tokens
from services.notify.upstreams import Upstreams
from tests.conftest import NewDatabase
from tests.integration.notify_harness import PACKAGES, House, Said
from tests.integration.notify_upstreams import FakeOwners, address, owning
from tests.smtp_sink import CLOSE, RESET, SmtpSink

SENT = ("sent", None)
WAITING = ("waiting", None)


@dataclass
class Post:
    """A courier between a house, owners and a sink."""

    house: House
    known: FakeOwners
    owners: Upstreams
    courier: Delivery
    sink: SmtpSink

    async def notify(self, **fields: Any) -> Said:
        """A comment that concerns one person, known to all, handled by notify."""
        said = Said(**fields)
        said = Said(**{**vars(said), "post_author_id": said.author_id})
        self.known.know(said)
        await self.house.hear(said.posted)
        return said

    async def claim(self) -> Claimed:
        (claimed,) = await commands.claim(self.house.database, 1)
        return claimed

    async def attempt(self, claimed: Claimed | None = None) -> bool:
        """Claim what is due, ask, attempt."""
        claimed = claimed or await self.claim()
        facts = await self.owners.facts([claimed])
        letter = await self.courier.prepare(claimed, facts[claimed.person_id, claimed.comment_id])
        return letter is not None and await self.courier.send(letter)

    async def make_due(self) -> None:
        assert await self.house.change("update notifications set due_at = now() where state = 'waiting'") > 0

    async def ending(self, said: Said) -> tuple[str, str | None] | None:
        return await self.house.ending(said.parent_author_id, said.comment_id)

    async def row(self, said: Said) -> Any:
        return await self.house.row(said.parent_author_id, said.comment_id)


@pytest.fixture
async def post(new_database: NewDatabase, keys: dict[str, str], smtp_sink: SmtpSink) -> AsyncIterator[Post]:
    database = await new_database(*PACKAGES)
    tokens = Tokens(keys["NOTIFY_SECRET"], "rapport.test")
    letters = MessageBuilder(mail_from="Rapport <n@rapport.test>", public_url="https://rapport.test", tokens=tokens)
    smtp = Smtp(SmtpSettings(smtp_port=smtp_sink.port, smtp_dot_timeout_seconds=1))
    async with owning(keys) as (known, owners):
        courier = Delivery(
            database,
            owners,
            letters,
            smtp,
            first_retry=timedelta(seconds=30),
            give_up=timedelta(days=4),
        )
        yield Post(House(database), known, owners, courier, smtp_sink)
        await smtp.close()


async def test_a_mail_that_arrives_is_marked_sent_and_its_bytes_are_forgotten(post: Post) -> None:
    said = await post.notify()
    assert await post.attempt()
    (mail,) = post.sink.messages
    assert mail.recipients == [address(said.parent_author_id)]
    row = await post.row(said)
    assert (row["state"], row["why"], row["frozen"], row["due_at"], row["lease_token"]) == (*SENT, None, None, None)
    assert row["sent_at"] is not None
    assert row["message_id"] == mail.message["Message-ID"]
    assert row["message_sha256"] == hashlib.sha256(mail.content).digest()
    assert row["smtp_answer"] == "250 2.0.0 kept"
    assert await post.house.events() == [("sent", None)]
    assert "example.com" not in await post.house.value("select to_jsonb(n)::text from notifications n")


async def test_the_event_is_about_the_notification(post: Post) -> None:
    said = await post.notify()
    await post.attempt()
    assert await post.house.value("select subject from outbox") == (await post.row(said))["id"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda known, said: known.comments[str(said.comment_id)].update(state="removed"), "comment_removed"),
        (lambda known, said: known.comments.clear(), "comment_removed"),
        (lambda known, said: known.comments[str(said.comment_id)].update(state="held"), "comment_held"),
        (lambda known, said: known.comments[str(said.comment_id)].update(imported=True), "imported"),
        (lambda known, said: known.posts[str(said.post_id)].update(status="withdrawn"), "post_withdrawn"),
        (lambda known, said: known.posts.clear(), "post_withdrawn"),
        (lambda known, said: known.contacts.clear(), "address_not_confirmed"),
        (
            lambda known, said: known.contacts[str(said.parent_author_id)].update(confirmed=False),
            "address_not_confirmed",
        ),
    ],
)
async def test_an_owners_no_skips_the_mail(post: Post, change: Any, why: str) -> None:
    said = await post.notify()
    change(post.known, said)
    assert not await post.attempt()
    assert await post.ending(said) == ("skipped", why)
    assert await post.house.events() == [("skipped", why)]
    assert post.sink.seen == []


async def test_an_owners_no_ends_the_row_although_bytes_exist(post: Post) -> None:
    said = await post.notify()
    post.sink.once("dot", CLOSE)
    await post.attempt()
    assert (await post.row(said))["frozen"] is not None
    post.known.comments[str(said.comment_id)].update(state="removed", version=2)
    await post.make_due()
    await post.attempt()
    row = await post.row(said)
    assert (row["state"], row["why"], row["frozen"]) == ("skipped", "comment_removed", None)


async def test_who_unsubscribed_gets_nothing_although_it_is_claimed_already(post: Post) -> None:
    said = await post.notify()
    claimed = await post.claim()
    assert said.parent_author_id is not None
    await commands.choose_mail(post.house.database, said.parent_author_id, False)
    await post.attempt(claimed)
    assert await post.ending(said) == ("skipped", "unsubscribed")
    assert post.sink.seen == []


@pytest.mark.parametrize("phase", ["rcpt", "data"])
async def test_who_unsubscribes_while_the_dialogue_lasts_gets_nothing(
    post: Post, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_look, "FRESH_SECONDS", 0.0)
    said = await post.notify()
    _interrupt(post, phase, "insert into mail_choices values ($1, false)", said.parent_author_id)
    await post.attempt()
    assert await post.ending(said) == ("skipped", "unsubscribed")
    assert post.sink.messages == []
    assert ("DATA" in post.sink.seen) == (phase == "data")


def _interrupt(post: Post, phase: str, sql: str, *args: object) -> None:
    """Change notify's database while the sink is in this phase."""
    say = post.sink._say

    async def say_and_change(now: str, writer: asyncio.StreamWriter, *mail: Any) -> bool:
        if now == phase:
            await post.house.change(sql, *args)
        return await say(now, writer, *mail)

    post.sink._say = say_and_change  # type: ignore[method-assign, assignment]  # the sink has no hook for this


async def test_a_lost_lease_sends_nothing_and_changes_nothing(post: Post) -> None:
    said = await post.notify()
    _interrupt(post, "data", "update notifications set lease_token = gen_random_uuid()")
    await post.attempt()
    assert await post.ending(said) == WAITING
    assert post.sink.messages == []
    assert post.sink.unanswered == []
    assert (await post.row(said))["lease_token"] is not None


async def test_a_lease_that_has_run_out_sends_nothing(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_look, "FRESH_SECONDS", 0.0)
    said = await post.notify()
    _interrupt(post, "rcpt", "update notifications set lease_until = now() - interval '1 s'")
    await post.attempt()
    assert await post.ending(said) == WAITING
    assert "DATA" not in post.sink.seen


async def test_whoever_lost_the_lease_after_the_dot_leaves_the_row_alone(post: Post) -> None:
    said = await post.notify()
    _interrupt(post, "dot", "update notifications set lease_token = gen_random_uuid()")
    await post.attempt()
    assert await post.ending(said) == WAITING
    assert (await post.row(said))["frozen"] == post.sink.messages[0].content
    assert await post.house.events() == []


async def test_what_waited_for_a_connection_is_asked_about_again(post: Post) -> None:
    said = await post.notify()
    claimed = await post.claim()
    facts = (await post.owners.facts([claimed]))[claimed.person_id, claimed.comment_id]
    post.known.comments[str(said.comment_id)].update(state="removed", version=2)
    assert await post.courier.prepare(claimed, replace(facts, asked_at=facts.asked_at - 3)) is None
    assert await post.ending(said) == ("skipped", "comment_removed")
    assert post.sink.seen == []


async def test_a_mail_that_waited_for_a_connection_is_written_anew(post: Post) -> None:
    said = await post.notify()
    claimed = await post.claim()
    facts = (await post.owners.facts([claimed]))[claimed.person_id, claimed.comment_id]
    letter = await post.courier.prepare(claimed, facts)
    assert letter is not None
    post.known.comments[str(said.comment_id)].update(body_html="<p>Edited meanwhile.</p>", version=2)
    assert await post.courier.send(replace(letter, facts=replace(facts, asked_at=facts.asked_at - 3)))
    (mail,) = post.sink.messages
    assert b"Edited meanwhile." in mail.content
    assert (await post.row(said))["message_sha256"] == hashlib.sha256(mail.content).digest()


async def test_a_mail_that_waited_for_a_connection_is_dropped_if_its_comment_went(post: Post) -> None:
    said = await post.notify()
    claimed = await post.claim()
    facts = (await post.owners.facts([claimed]))[claimed.person_id, claimed.comment_id]
    letter = await post.courier.prepare(claimed, facts)
    assert letter is not None
    post.known.comments[str(said.comment_id)].update(state="removed", version=2)
    assert not await post.courier.send(replace(letter, facts=replace(facts, asked_at=facts.asked_at - 3)))
    assert await post.ending(said) == ("skipped", "comment_removed")
    assert (await post.row(said))["frozen"] is None
    assert post.sink.seen == []


async def test_mails_prepared_at_once_are_judged_one_by_one(post: Post) -> None:
    """One statement freezes them all; who is unsubscribed, or whose lease is lost, does not keep back the others."""
    wanted, unwanted, lost = [await post.notify() for _ in range(3)]
    batch = await commands.claim(post.house.database, 3)
    facts = await post.owners.facts(batch)
    assert unwanted.parent_author_id is not None
    await commands.choose_mail(post.house.database, unwanted.parent_author_id, False)
    steal = "update notifications set lease_token = gen_random_uuid() where comment_id = $1 returning 1"
    await post.house.value(steal, lost.comment_id)
    letters = await asyncio.gather(
        *(post.courier.prepare(claimed, facts[claimed.person_id, claimed.comment_id]) for claimed in batch)
    )
    assert [letter.claimed.comment_id for letter in letters if letter] == [wanted.comment_id]
    assert (await post.row(wanted))["frozen"] is not None
    assert await post.ending(unwanted) == ("skipped", "unsubscribed")
    assert await post.ending(lost) == WAITING
    assert (await post.row(lost))["frozen"] is None


def _grow_old(post: Post, patch: pytest.MonkeyPatch, phase: str, change: Callable[[], object]) -> None:
    """Let everything that was asked become stale in this phase of the dialogue, and something change."""
    say, clock = post.sink._say, time.monotonic

    async def say_and_change(now: str, writer: asyncio.StreamWriter, *mail: Any) -> bool:
        if now == phase:
            patch.setattr(last_look, "time", Clock(clock() + 3))
            change()
        return await say(now, writer, *mail)

    post.sink._say = say_and_change  # type: ignore[method-assign, assignment]  # the sink has no hook for this


@dataclass
class Clock:
    """A clock that stands."""

    now: float

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("phase", ["connect", "mail", "rcpt"])
async def test_a_removal_during_a_slow_dialogue_is_seen_before_data(
    post: Post, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    said = await post.notify()
    comment = post.known.comments[str(said.comment_id)]
    _grow_old(post, monkeypatch, phase, lambda: comment.update(state="removed", version=2))
    await post.attempt()
    assert await post.ending(said) == ("skipped", "comment_removed")
    assert "DATA" not in post.sink.seen
    assert len(post.known.asked) == 8


async def test_a_removal_while_the_bytes_were_slow_to_freeze_is_seen_before_data(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await post.notify()
    freeze = commands.freeze

    async def slowly(*args: Any) -> Any:
        frozen = await freeze(*args)
        monkeypatch.setattr(last_look, "time", Clock(time.monotonic() + 3))
        post.known.comments[str(said.comment_id)].update(state="removed", version=2)
        return frozen

    monkeypatch.setattr(commands, "freeze", slowly)
    await post.attempt()
    assert await post.ending(said) == ("skipped", "comment_removed")
    assert "DATA" not in post.sink.seen


async def test_a_removal_while_the_message_leaves_is_seen_before_the_dot(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await post.notify()
    comment = post.known.comments[str(said.comment_id)]
    _grow_old(post, monkeypatch, "data", lambda: comment.update(state="removed", version=2))
    await post.attempt()
    assert await post.ending(said) == ("skipped", "comment_removed")
    assert post.sink.messages == post.sink.unanswered == []


async def test_fresh_answers_are_not_asked_for_again(post: Post) -> None:
    await post.notify()
    await post.attempt()
    assert len(post.known.asked) == 4


async def test_owners_that_go_away_during_a_slow_dialogue_are_no_failure(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await post.notify()
    _grow_old(post, monkeypatch, "rcpt", lambda: post.known.away.add("/posts/lookup"))
    with pytest.raises(OwnersAway):
        await post.attempt()
    row = await post.row(said)
    assert (row["state"], row["attempts"], row["lease_token"], row["frozen"]) == ("waiting", 0, None, None)
    assert 0 < row["due_in"] <= 1


async def test_an_address_that_changes_during_a_slow_dialogue_gets_a_new_mail(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await post.notify()
    contact = post.known.contacts[str(said.parent_author_id)]
    with monkeypatch.context() as patched:
        _grow_old(post, patched, "rcpt", lambda: contact.update(email="new@example.com", address_version=2))
        await post.attempt()
    assert await post.ending(said) == WAITING
    await post.attempt()
    assert [mail.recipients for mail in post.sink.messages] == [["new@example.com"]]


@pytest.mark.parametrize("phase", ["rcpt", "data", "dot"])
async def test_put_off_by_the_server_means_later_with_a_message_made_anew(post: Post, phase: str) -> None:
    said = await post.notify()
    post.sink.once(phase, "451 4.3.0 not now")
    assert await post.attempt()
    row = await post.row(said)
    assert (row["state"], row["attempts"], row["frozen"], row["smtp_answer"]) == (
        "waiting",
        1,
        None,
        "451 4.3.0 not now",
    )
    assert 28 < row["due_in"] <= 30
    post.known.comments[str(said.comment_id)]["body_html"] = "<p>Edited.</p>"
    await post.make_due()
    await post.attempt()
    assert await post.ending(said) == SENT
    assert "Edited." in post.sink.messages[0].text
    assert post.sink.messages[0].message["Message-ID"] == row["message_id"]


@pytest.mark.parametrize("fault", [CLOSE, RESET])
async def test_an_unknown_outcome_is_repeated_byte_for_byte(post: Post, fault: str) -> None:
    said = await post.notify()
    post.sink.once("dot", fault)
    assert not await post.attempt()
    assert (await post.row(said))["frozen"] == post.sink.unanswered[0].content
    post.known.comments[str(said.comment_id)]["body_html"] = "<p>Edited.</p>"
    for put_off in (True, False):
        if put_off:  # a definite refusal of the repetition does not make the first attempt known
            post.sink.once("rcpt", "450 4.2.0 busy")
        await post.make_due()
        await post.attempt()
    assert await post.ending(said) == SENT
    assert post.sink.messages[0].content == post.sink.unanswered[0].content


async def test_an_unknown_outcome_is_not_repeated_to_another_address(post: Post) -> None:
    said = await post.notify()
    post.sink.once("dot", CLOSE)
    await post.attempt()
    post.known.contacts[str(said.parent_author_id)].update(email="new@example.com", address_version=2)
    await post.make_due()
    await post.attempt()
    assert post.sink.messages[0].message["To"] == "new@example.com"


async def test_no_answer_to_the_dot_in_time_is_unknown(post: Post) -> None:
    said = await post.notify()
    post.sink.once("dot", "stall")
    await post.attempt()
    row = await post.row(said)
    assert (row["state"], row["attempts"]) == ("waiting", 1)
    assert row["frozen"] is not None


@pytest.mark.parametrize("answer", [f"550 5.1.{digits} no such user" for digits in (1, 2, 3, 6, 10)])
async def test_a_bad_address_is_suppressed_by_its_version(post: Post, answer: str) -> None:
    said = await post.notify()
    post.sink.once("rcpt", answer)
    await post.attempt()
    assert await post.ending(said) == ("failed", "refused_by_server")
    again = await post.notify(parent_author_id=said.parent_author_id)
    await post.attempt()
    assert await post.ending(again) == ("skipped", "address_suppressed")
    post.known.contacts[str(said.parent_author_id)].update(address_version=2)
    third = await post.notify(parent_author_id=said.parent_author_id)
    await post.attempt()
    assert await post.ending(third) == SENT
    assert await post.house.events() == [("failed", "refused_by_server"), ("skipped", "address_suppressed"), SENT]


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
async def test_any_other_final_refusal_fails_this_mail_only(post: Post, phase: str, answer: str) -> None:
    said = await post.notify()
    post.sink.once(phase, answer)
    assert await post.attempt()
    assert await post.ending(said) == ("failed", "refused_by_server")
    again = await post.notify(parent_author_id=said.parent_author_id)
    await post.attempt()
    assert await post.ending(again) == SENT


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
async def test_an_unusable_relay_fails_no_mail_and_counts_no_attempt(post: Post, phase: str, answer: str) -> None:
    said = await post.notify()
    post.sink.answers[phase] = answer
    with pytest.raises(RelayUnusable):
        await post.attempt()
    row = await post.row(said)
    assert (row["state"], row["attempts"], row["frozen"], row["lease_token"]) == ("waiting", 0, None, None)
    assert row["due_in"] <= 0
    assert await post.house.value("select count(*) from suppressions") == 0


async def test_a_relay_that_breaks_off_before_the_dot_is_tried_later(post: Post) -> None:
    said = await post.notify()
    post.sink.once("body", RESET)
    await post.attempt()
    row = await post.row(said)
    assert (row["state"], row["attempts"], row["lease_token"]) == ("waiting", 1, None)
    await post.make_due()
    await post.attempt()
    assert await post.ending(said) == SENT


async def test_after_days_it_is_given_up(post: Post) -> None:
    said = await post.notify()
    post.sink.answers["rcpt"] = "450 4.2.0 busy"
    await post.attempt()
    await post.house.change("update notifications set first_tried_at = now() - interval '5 days', due_at = now()")
    await post.attempt()
    assert await post.ending(said) == ("failed", "gave_up")
    assert (await post.row(said))["smtp_answer"] == "450 4.2.0 busy"
    assert await post.house.events() == [("failed", "gave_up")]


async def test_an_approval_that_was_handled_during_the_question_is_not_lost(post: Post) -> None:
    said = await post.notify()
    claimed = await post.claim()
    comment = post.known.comments[str(said.comment_id)]
    comment.update(state="held", version=2)
    facts = await post.owners.facts([claimed])
    comment.update(state="visible", version=3)
    await post.house.hear(said.then("held").held, said.then("held").then("visible").approved)
    assert await post.courier.prepare(claimed, facts[claimed.person_id, claimed.comment_id]) is None
    assert await post.ending(said) == WAITING
    await post.attempt()
    assert await post.ending(said) == SENT


async def test_an_outcome_is_written_even_if_the_database_was_away_for_a_moment(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await post.notify()
    monkeypatch.setattr(delivery, "WRITE_AGAIN_SECONDS", 0.01)
    finish, failures = commands.finish, [0]

    async def failing(*args: Any, **options: Any) -> bool:
        if failures[0] < 3:
            failures[0] += 1
            await post.house.change("select 1/0")
        return await finish(*args, **options)

    monkeypatch.setattr(commands, "finish", failing)
    await post.attempt()
    assert failures == [3]
    assert await post.ending(said) == SENT
    assert len(post.sink.messages) == 1
