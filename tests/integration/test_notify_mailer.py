"""The mailer as a whole: it wakes, batches, backs off, recovers, and never sends twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.database.pool import Database
from services.chassis.ids import new_id
from services.chassis.mail.sender import Sender
from services.chassis.mail.smtp import Smtp, SmtpSettings
from services.chassis.runtime import context
from services.chassis.runtime.waiting import Backoff
from services.notify import delivery_queue, endings, mailer, pausing
from services.notify.delivery import Delivery
from services.notify.delivery_queue import OwnRefusal
from services.notify.domain import TOLD_WITHIN, Claimed
from services.notify.endings import End
from services.notify.mailer import Mailer
from services.notify.message import MessageBuilder, PreparedMail
from services.notify.tokens import Tokens
from services.notify.upstreams import Upstreams
from tests.conftest import NewDatabase
from tests.integration.chassis_harness import running
from tests.integration.notify_harness import PACKAGES, FakeComment, NotifyHarness
from tests.integration.notify_upstreams import FakeUpstreams, address, serving_upstreams
from tests.smtp_sink import CLOSE, STALL, SmtpSink
from tests.waiting import eventually


@dataclass
class MailerHarness:
    """Everything a mailer needs, and mailers on demand."""

    service: NotifyHarness
    fake: FakeUpstreams
    upstreams: Upstreams
    sink: SmtpSink
    delivery: Delivery

    @asynccontextmanager
    async def running_mailer(
        self, *, db: Database | None = None, connections: int = 4, poll_seconds: float = 0.05
    ) -> AsyncIterator[Mailer]:
        """Run a mailer; stop it in order afterwards."""
        running = Mailer(
            db or self.service.db,
            self.upstreams,
            self.delivery,
            connections=connections,
            poll_seconds=poll_seconds,
        )
        stop = asyncio.Event()
        task = asyncio.create_task(running.run(stop))
        try:
            yield running
        finally:
            stop.set()
            await asyncio.wait_for(task, 20)

    async def add_comments(self, count: int = 1, **fields: Any) -> list[FakeComment]:
        """Add comments that concern one person each."""
        added = []
        for _ in range(count):
            comment = FakeComment(**fields)
            comment = FakeComment(**{**vars(comment), "post_author_id": comment.author_id})
            self.fake.add(comment)
            await self.service.handle(comment.posted)
            added.append(comment)
        return added

    async def all_are(self, state: str) -> None:
        async def reached() -> bool:
            return bool(await self.service.value("select bool_and(state = $1) from notifications", state))

        await eventually(reached, timeout=20)

    def copies(self) -> dict[str, int]:
        """Return how many mails each address got."""
        found: dict[str, int] = {}
        for mail in self.sink.messages:
            found[mail.recipients[0]] = found.get(mail.recipients[0], 0) + 1
        return found


@pytest.fixture
async def harness(new_database: NewDatabase, keys: dict[str, str], smtp_sink: SmtpSink) -> AsyncIterator[MailerHarness]:
    db = await new_database(*PACKAGES)
    tokens = Tokens(keys["NOTIFY_SECRET"], "rapport.test")
    messages = MessageBuilder(
        sender=Sender.parse("Rapport <n@rapport.test>"), public_url="https://rapport.test", tokens=tokens
    )
    smtp = Smtp(SmtpSettings(smtp_port=smtp_sink.port))
    async with serving_upstreams(keys) as (fake, upstreams):
        delivery = Delivery(db, upstreams, messages, smtp, first_retry=timedelta(0), give_up=timedelta(days=4))
        yield MailerHarness(NotifyHarness(db), fake, upstreams, smtp_sink, delivery)
        await smtp.close()


async def test_each_due_mail_is_sent_once(harness: MailerHarness) -> None:
    comment = await harness.add_comments(30)
    async with harness.running_mailer():
        await harness.all_are("sent")
    assert harness.copies() == {address(one.parent_author_id): 1 for one in comment}


async def test_nothing_goes_out_while_mail_is_paused(harness: MailerHarness) -> None:
    db = harness.service.db
    assert (await pausing.pause(db, "a trial")).why == "a trial"
    assert (await pausing.pause(db, "again")).why == "a trial"
    comments = await harness.add_comments(3)
    measured = mailer.measuring(db)
    async with harness.running_mailer() as running:
        running.wake()
        await eventually(lambda: running._queue._woken.is_set() is False)
        assert await delivery_queue.claim(db, 10) == []
        await measured._work()
        assert mailer.PAUSED.own._value.get() == 1
        before = await pausing.resume(db, dry_run=True)
        assert (before.why, before.waiting, before.due) == ("a trial", 3, 3)
        assert harness.sink.messages == []
        assert (await pausing.resume(db, dry_run=False)).since is not None
        await harness.all_are("sent")
    assert harness.copies() == {address(one.parent_author_id): 1 for one in comments}
    assert (await pausing.resume(db, dry_run=False)).since is None
    await measured._work()
    assert mailer.PAUSED.own._value.get() == 0


async def test_it_wakes_at_once(harness: MailerHarness) -> None:
    async with harness.running_mailer(poll_seconds=60) as running:
        await eventually(lambda: running._queue._woken.is_set() is False)
        await harness.add_comments()
        assert harness.sink.messages == []
        running.wake()
        await harness.sink.wait_for(1)


async def test_it_polls_when_nothing_wakes_it(harness: MailerHarness) -> None:
    async with harness.running_mailer():
        await harness.add_comments()
        await harness.sink.wait_for(1)


async def test_upstreams_are_asked_once_for_a_whole_batch(harness: MailerHarness) -> None:
    await harness.add_comments(20)
    async with harness.running_mailer():
        await harness.all_are("sent")
    assert len(harness.fake.calls) == 4


async def test_upstreams_are_asked_about_many_mails_at_once_in_a_backlog(harness: MailerHarness) -> None:
    await harness.add_comments(120)
    async with harness.running_mailer():
        await harness.all_are("sent")
    assert len(harness.fake.calls) <= 4 * (120 // 16 + 1)


@pytest.mark.parametrize("which", ["_mail_server_backoff", "_dependency_backoff"])
async def test_after_a_failure_one_mail_goes_ahead(harness: MailerHarness, which: str) -> None:
    idle = Mailer(harness.service.db, harness.upstreams, harness.delivery, connections=4, poll_seconds=1)
    assert idle._room(0) == 32 + 16
    over = Backoff(0.0, 0.0)
    over.fail()
    setattr(idle, which, over)
    assert over.failing
    assert idle._room(0) == 1
    pausing = Backoff(60.0, 60.0)
    pausing.fail()
    setattr(idle, which, pausing)
    assert idle._room(0) == 0


async def test_rows_are_claimed_when_at_least_half_of_them_fit(harness: MailerHarness) -> None:
    idle = Mailer(harness.service.db, harness.upstreams, harness.delivery, connections=4, poll_seconds=1)
    rooms = {(0, 0): (32, 16), (16, 0): (16, 16), (17, 0): (0, 16), (1, 1): (32, 15), (41, 9): (0, 0), (25, 8): (0, 8)}
    for (under_way, idle._followers_under_way), free in rooms.items():
        assert idle._room(under_way) == sum(free)
        assert idle._free == free


async def test_a_mail_waits_until_it_has_settled(harness: MailerHarness) -> None:
    harness.service.settle_seconds = 3600
    (waiting,) = await harness.add_comments()
    harness.service.settle_seconds = 0
    await harness.add_comments()
    async with harness.running_mailer():
        await harness.sink.wait_for(1)
    assert await harness.service.ending(waiting.parent_author_id, waiting.comment_id) == ("waiting", None)


async def test_two_mailers_share_the_work(harness: MailerHarness) -> None:
    comment = await harness.add_comments(40)
    async with harness.running_mailer(), harness.running_mailer():
        await harness.all_are("sent")
    assert harness.copies() == {address(one.parent_author_id): 1 for one in comment}


async def test_fewer_dialogues_run_for_a_while_when_the_server_takes_no_more_at_once(harness: MailerHarness) -> None:
    """No row fails or counts an attempt, and the mails that go are not delayed."""
    harness.sink.once("dot", STALL)
    await harness.add_comments(1)
    async with harness.running_mailer() as running:
        await eventually(lambda: len(harness.sink.unanswered) == 1)
        harness.sink.answers["connect"] = "421 4.7.0 too many connections"
        await harness.add_comments(5)
        running.wake()
        await eventually(lambda: running._slots.limit == 1)
        assert mailer.UNUSABLE.own._value.get() == 0
        assert not running._mail_server_backoff.failing
        assert await harness.service.value("select max(attempts) from notifications") == 0
        harness.sink.answers.clear()
        await harness.sink.hang_up()
        await harness.all_are("sent")
    assert set(harness.copies().values()) == {1}


FOLLOW = "update notifications set follower = true, reasons = '{followed_thread}' where state = 'waiting'"


async def test_claims_take_rows_of_both_lines(harness: MailerHarness) -> None:
    """Followers get their own room, and what the others leave of it all; which of both came first does not matter."""
    db = harness.service.db
    await harness.add_comments(6)
    await harness.service.change(FOLLOW)
    await harness.add_comments(4)
    claimed = await delivery_queue.claim(db, 5, answers=3, followers=3)
    assert sorted(row.follower for row in claimed) == [False, False, False, True, True]
    claimed = await delivery_queue.claim(db, 9, answers=9, followers=3)
    assert sorted(row.follower for row in claimed) == [False, True, True, True]
    assert [row.follower for row in await delivery_queue.claim(db, 9)] == [True]


async def test_an_answer_overtakes_the_mails_to_followers(harness: MailerHarness) -> None:
    """Followers have filled their room and both connections; the answer is claimed, and next when one is free."""
    harness.sink.answers["dot"] = STALL
    await harness.add_comments(20)
    await harness.service.change(FOLLOW)
    async with harness.running_mailer(connections=2) as running:
        await eventually(lambda: len(harness.sink.unanswered) == 2)
        assert running._followers_under_way == 2 * mailer.FOLLOWERS_FACTOR
        (answer,) = await harness.add_comments()
        running.wake()
        is_frozen = "select frozen is not null from notifications where comment_id = $1"
        await eventually(lambda: harness.service.value(is_frozen, answer.comment_id))
        harness.sink.answers.clear()
        await harness.sink.hang_up()
        await harness.all_are("sent")
        assert running._followers_under_way == 0
    assert address(answer.parent_author_id) in [mail.recipients[0] for mail in harness.sink.messages[:2]]


async def test_dialogues_at_once_are_bounded(harness: MailerHarness) -> None:
    harness.sink.answers["dot"] = STALL
    await harness.add_comments(6)
    async with harness.running_mailer(connections=2):
        await eventually(lambda: len(harness.sink.unanswered) == 2)
        await harness.sink.hang_up()
        assert len(harness.sink.unanswered) == 2
        harness.sink.answers.clear()
        await harness.all_are("sent")


async def test_no_dialogue_waits_for_the_dot_of_another(harness: MailerHarness) -> None:
    """All connections have their dots open at the same time, so a mail server that is slow at the dot is used fully."""
    harness.sink.answers["dot"] = STALL
    await harness.add_comments(6)
    async with harness.running_mailer(connections=4):
        await eventually(lambda: len(harness.sink.unanswered) == 4)
        assert harness.sink.dialogues == 4
        assert harness.sink.seen.count("DATA") == 4
        harness.sink.answers.clear()
        await harness.sink.hang_up()
        await harness.all_are("sent")
    assert len(harness.sink.messages) == 6


async def test_dots_overlap_at_a_server_that_is_slow_at_each(harness: MailerHarness) -> None:
    """With 100 ms for each dot and four connections up to four dots are open at once, one mail after the other."""
    harness.sink.delays["dot"] = 0.1
    most_open, say = 0, harness.sink._say

    async def watch(phase: str, writer: asyncio.StreamWriter, *mail: Any) -> bool:
        nonlocal most_open
        most_open = max(most_open, len(harness.sink.unanswered))
        return await say(phase, writer, *mail)

    harness.sink._say = watch  # type: ignore[method-assign, assignment]  # the sink has no hook for this
    comments = await harness.add_comments(24)
    async with harness.running_mailer(connections=4):
        await harness.all_are("sent")
    assert most_open == 4
    assert harness.copies() == {address(comment.parent_author_id): 1 for comment in comments}


async def test_what_the_server_is_about_to_answer_is_looked_at_and_ended_together(
    harness: MailerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replies to DATA, and to the dot, come one after the other; each time one statement waits for all of them."""
    looked, ended, reached, say = list[int](), list[int](), Counter[str](), harness.sink._say
    own_refusals, finish = delivery_queue.own_refusals, endings.finish

    async def look(db: Database, asked: Sequence[Any]) -> list[OwnRefusal | None]:
        looked.append(len(asked))
        return await own_refusals(db, asked)

    async def end(db: Database, ends: Sequence[End]) -> Sequence[bool | Exception]:
        ended.append(len(ends))
        return await finish(db, ends)

    async def one_by_one(phase: str, writer: asyncio.StreamWriter, *mail: Any) -> bool:
        if phase in ("data", "dot"):
            reached[phase] += 1
            place = reached[phase]
            await eventually(lambda: reached[phase] == 4)
            await asyncio.sleep(0.02 * place)
        return await say(phase, writer, *mail)

    monkeypatch.setattr(delivery_queue, "own_refusals", look)
    monkeypatch.setattr(endings, "finish", end)
    harness.delivery._looking._patience = harness.delivery._finishing._patience = 20
    harness.sink._say = one_by_one  # type: ignore[method-assign, assignment]  # the sink has no hook for this
    await harness.add_comments(4)
    async with harness.running_mailer(connections=4):
        await harness.all_are("sent")
    assert (looked, ended) == ([4], [4])


async def test_one_slow_dot_does_not_keep_back_other_mails(harness: MailerHarness) -> None:
    harness.sink.once("dot", STALL)
    await harness.add_comments(6)
    async with harness.running_mailer(connections=2):
        await harness.sink.wait_for(5)
        assert len(harness.sink.unanswered) == 1
        await harness.sink.hang_up()
        await harness.all_are("sent")


async def test_an_unusable_server_stops_all_and_is_tried_with_one_mail(
    harness: MailerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.sink.answers["mail"] = "550 5.7.0 sender refused"
    await harness.add_comments(10)
    async with harness.running_mailer() as running:
        running._mail_server_backoff = Backoff(0.05, 0.1)
        await eventually(lambda: mailer.UNUSABLE.own._value.get() == 1)
        await eventually(lambda: harness.sink.seen.count("QUIT") + len(harness.sink.seen) > 20)
        assert await harness.service.value("select max(attempts) from notifications") == 0
        harness.sink.answers.clear()
        await harness.all_are("sent")
        assert mailer.UNUSABLE.own._value.get() == 0
    assert set(harness.copies().values()) == {1}
    assert len(harness.sink.messages) == 10


@pytest.mark.parametrize("path", ["/contacts/lookup", "/people/lookup", "/comments/lookup", "/posts/lookup"])
async def test_mails_wait_for_upstreams_that_are_away(harness: MailerHarness, path: str) -> None:
    harness.fake.away.add(path)
    await harness.add_comments(3)
    async with harness.running_mailer():
        await eventually(lambda: harness.fake.calls.count(path) >= 2)
        assert await harness.service.value("select max(attempts) from notifications") == 0
        assert harness.sink.seen == []
        harness.fake.away.clear()
        await harness.all_are("sent")
    assert len(harness.sink.messages) == 3


async def test_an_upstream_that_breaks_the_contract_counts_as_away(harness: MailerHarness) -> None:
    harness.fake.broken.add("/posts/lookup")
    await harness.add_comments()
    async with harness.running_mailer():
        await eventually(lambda: len(harness.fake.calls) >= 8)
        harness.fake.broken.clear()
        await harness.all_are("sent")


async def test_a_mail_that_fails_every_look_up_does_not_keep_back_others(harness: MailerHarness) -> None:
    poison, *others = await harness.add_comments(12)
    harness.fake.poison.add(str(poison.comment_id))
    async with harness.running_mailer():
        await eventually(lambda: len(harness.sink.messages) == len(others), timeout=20)
        harness.fake.poison.clear()
        await harness.all_are("sent")


async def test_leases_are_renewed_while_a_dialogue_lasts(
    harness: MailerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailer, "RENEW_SECONDS", 0.02)
    harness.sink.once("dot", STALL)
    await harness.add_comments()
    left = "select lease_until > now() + interval '29 s' from notifications"
    async with harness.running_mailer():
        await eventually(lambda: len(harness.sink.unanswered) == 1)
        await harness.service.change("update notifications set lease_until = now() + interval '5 s'")
        await eventually(lambda: harness.service.value(left))
        await harness.sink.hang_up()
        await harness.all_are("sent")


async def test_renewal_goes_on_after_an_unexpected_error(
    harness: MailerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailer, "RENEW_SECONDS", 0.02)
    renew, errors = delivery_queue.renew, [KeyError("no database error")]

    async def failing(*args: Any) -> None:
        if errors:
            raise errors.pop()
        await renew(*args)

    monkeypatch.setattr(delivery_queue, "renew", failing)
    harness.sink.once("dot", STALL)
    await harness.add_comments()
    left = "select lease_until > now() + interval '29 s' from notifications"
    async with harness.running_mailer():
        await eventually(lambda: len(harness.sink.unanswered) == 1)
        await eventually(lambda: not errors)
        await harness.service.change("update notifications set lease_until = now() + interval '5 s'")
        await eventually(lambda: harness.service.value(left))
        await harness.sink.hang_up()
        await harness.all_are("sent")


async def test_rows_that_another_mailer_is_claiming_are_skipped(harness: MailerHarness) -> None:
    await harness.add_comments(4)
    async with harness.service.db.transaction() as tx:
        claimed = await tx.fetch(
            delivery_queue.CLAIM,
            *(3, 0, 3, new_id(), delivery_queue.LEASE, TOLD_WITHIN, delivery_queue.MOST_NAMED),
        )
        assert len(claimed) == 3
        assert len(await asyncio.wait_for(delivery_queue.claim(harness.service.db, 10), 5)) == 1


async def test_a_lease_that_ran_out_is_not_renewed(harness: MailerHarness) -> None:
    await harness.add_comments()
    (claimed,) = await delivery_queue.claim(harness.service.db, 10)
    await harness.service.change("update notifications set lease_until = now() - interval '1 s'")
    await delivery_queue.renew(harness.service.db, [claimed])
    assert await harness.service.value("select lease_until < now() from notifications")


async def test_a_row_whose_mailer_died_is_taken_over_when_its_lease_ends(harness: MailerHarness) -> None:
    await harness.add_comments()
    assert len(await delivery_queue.claim(harness.service.db, 10)) == 1
    async with harness.running_mailer():
        assert await delivery_queue.claim(harness.service.db, 10) == []
        await harness.service.change("update notifications set lease_until = now() - interval '1 s'")
        await harness.all_are("sent")


async def test_a_mail_of_unknown_outcome_is_repeated_byte_for_byte(harness: MailerHarness) -> None:
    harness.sink.once("dot", CLOSE)
    await harness.add_comments()
    async with harness.running_mailer():
        await harness.all_are("sent")
    assert [mail.content for mail in harness.sink.messages] == [mail.content for mail in harness.sink.unanswered]


async def test_a_mail_whose_attempt_breaks_does_not_stop_the_others(
    harness: MailerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, *_ = await harness.add_comments(4)
    prepare, failures = harness.delivery.prepare, [0]

    async def breaking(claimed: Claimed, answers: Any) -> PreparedMail | None:
        if claimed.comment_id == bad.comment_id and failures[0] < 2:
            failures[0] += 1
            raise RuntimeError("unforeseen")
        return await prepare(claimed, answers)

    monkeypatch.setattr(harness.delivery, "prepare", breaking)
    async with harness.running_mailer():
        await harness.all_are("sent")
    assert (await harness.service.row(bad.parent_author_id, bad.comment_id))["attempts"] == 2


async def test_it_survives_a_database_that_is_away(harness: MailerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, failures = delivery_queue.claim, [0]

    async def failing(db: Database, limit: int, **lines: int) -> list[Claimed]:
        if failures[0] < 2:
            failures[0] += 1
            await harness.service.change("select 1/0")
        return await claim(db, limit, **lines)

    monkeypatch.setattr(delivery_queue, "claim", failing)
    await harness.add_comments()
    async with harness.running_mailer():
        await harness.all_are("sent")
    assert failures == [2]


async def test_a_stop_finishes_open_dialogues_and_gives_the_other_rows_back(harness: MailerHarness) -> None:
    harness.sink.answers["dot"] = STALL
    await harness.add_comments(5)
    hanging_up: list[asyncio.Task[None]] = []
    async with harness.running_mailer(connections=1):
        await eventually(lambda: len(harness.sink.unanswered) == 1)
        harness.sink.answers.clear()
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: hanging_up.append(asyncio.create_task(harness.sink.hang_up())))
    assert await harness.service.value("select count(*) from notifications where lease_token is not null") == 0
    assert await harness.service.value("select count(*) from notifications where frozen is not null") == 1
    assert harness.sink.messages == []


async def test_the_event_of_an_end_has_the_correlation_id_of_its_cause(harness: MailerHarness) -> None:
    with context.bound(context.Context("req-1", None, None)):
        await harness.add_comments()
    async with harness.running_mailer():
        await harness.all_are("sent")
    assert await harness.service.value("select correlation_id from outbox") == "req-1"


async def test_backlog_and_age_are_measured(harness: MailerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailer, "MEASURE_SECONDS", 0.02)
    harness.fake.away.add("/posts/lookup")
    await harness.add_comments(2)
    harness.service.settle_seconds = 3600
    await harness.add_comments(1)
    async with running(mailer.measuring(harness.service.db).run):  # no mailer runs
        await eventually(lambda: mailer.WAITING.own._value.get() == 3 and mailer.DUE.own._value.get() == 2)
        assert mailer.DUE_SECONDS.own._value.get() > 0
