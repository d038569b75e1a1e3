"""The mailer as a whole: it wakes, batches, backs off, recovers, and never sends twice."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.database.pool import Database
from services.chassis.ids import new_id
from services.chassis.mail.smtp import Smtp, SmtpSettings
from services.chassis.runtime import context
from services.notify import commands, delivery_queue, mailer, window
from services.notify.delivery import Delivery
from services.notify.delivery_queue import Claimed
from services.notify.mailer import Mailer, Pause
from services.notify.message import MessageBuilder, PreparedMail
from services.notify.tokens import Tokens
from services.notify.upstreams import Upstreams
from tests.conftest import NewDatabase
from tests.integration.notify_harness import PACKAGES, House, Said
from tests.integration.notify_upstreams import FakeOwners, address, owning
from tests.smtp_sink import CLOSE, STALL, SmtpSink
from tests.waiting import eventually


@dataclass
class Office:
    """Everything a mailer needs, and mailers on demand."""

    house: House
    known: FakeOwners
    owners: Upstreams
    sink: SmtpSink
    courier: Delivery

    @asynccontextmanager
    async def mailing(
        self, *, database: Database | None = None, connections: int = 4, poll_seconds: float = 0.05
    ) -> AsyncIterator[Mailer]:
        """A running mailer, stopped in order afterwards."""
        running = Mailer(
            database or self.house.database,
            self.owners,
            self.courier,
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

    async def say(self, count: int = 1, **fields: Any) -> list[Said]:
        """Comments that concern one person each."""
        made = []
        for _ in range(count):
            said = Said(**fields)
            said = Said(**{**vars(said), "post_author_id": said.author_id})
            self.known.know(said)
            await self.house.hear(said.posted)
            made.append(said)
        return made

    async def all_are(self, state: str) -> None:
        async def reached() -> bool:
            return bool(await self.house.value("select bool_and(state = $1) from notifications", state))

        await eventually(reached, timeout=20)

    def counts(self) -> dict[str, int]:
        """How many mails each address got."""
        found: dict[str, int] = {}
        for mail in self.sink.messages:
            found[mail.recipients[0]] = found.get(mail.recipients[0], 0) + 1
        return found


@pytest.fixture
async def office(new_database: NewDatabase, keys: dict[str, str], smtp_sink: SmtpSink) -> AsyncIterator[Office]:
    database = await new_database(*PACKAGES)
    tokens = Tokens(keys["NOTIFY_SECRET"], "rapport.test")
    letters = MessageBuilder(mail_from="Rapport <n@rapport.test>", public_url="https://rapport.test", tokens=tokens)
    smtp = Smtp(SmtpSettings(smtp_port=smtp_sink.port))
    async with owning(keys) as (known, owners):
        courier = Delivery(database, owners, letters, smtp, first_retry=timedelta(0), give_up=timedelta(days=4))
        yield Office(House(database), known, owners, smtp_sink, courier)
        await smtp.close()


async def test_what_is_due_is_sent_once_each(office: Office) -> None:
    said = await office.say(30)
    async with office.mailing():
        await office.all_are("sent")
    assert office.counts() == {address(one.parent_author_id): 1 for one in said}


async def test_it_wakes_at_once(office: Office) -> None:
    async with office.mailing(poll_seconds=60) as running:
        await eventually(lambda: running._woken.is_set() is False)
        await office.say()
        assert office.sink.messages == []
        running.wake()
        await office.sink.wait_for(1)


async def test_it_polls_when_nothing_wakes_it(office: Office) -> None:
    async with office.mailing():
        await office.say()
        await office.sink.wait_for(1)


async def test_owners_are_asked_once_for_a_whole_batch(office: Office) -> None:
    await office.say(20)
    async with office.mailing():
        await office.all_are("sent")
    assert len(office.known.asked) == 4


async def test_owners_are_asked_about_many_mails_at_once_also_in_a_backlog(office: Office) -> None:
    await office.say(120)
    async with office.mailing():
        await office.all_are("sent")
    assert len(office.known.asked) <= 4 * (120 // 16 + 1)


@pytest.mark.parametrize("which", ["_relay_pause", "_owners_pause"])
async def test_after_a_failure_one_mail_goes_ahead(office: Office, which: str) -> None:
    idle = Mailer(office.house.database, office.owners, office.courier, connections=4, poll_seconds=1)
    assert idle._room() == 32
    pause = Pause(0.0, 0.0)
    pause._length = 0.1  # tripped, and over
    setattr(idle, which, pause)
    assert idle._room() == 1
    pause._until = time.monotonic() + 60
    assert idle._room() == 0


async def test_what_has_not_settled_waits(office: Office) -> None:
    office.house.settle_seconds = 3600
    (waiting,) = await office.say()
    office.house.settle_seconds = 0
    await office.say()
    async with office.mailing():
        await office.sink.wait_for(1)
    assert await office.house.ending(waiting.parent_author_id, waiting.comment_id) == ("waiting", None)


async def test_two_mailers_share_the_work(office: Office) -> None:
    said = await office.say(40)
    async with office.mailing(), office.mailing():
        await office.all_are("sent")
    assert office.counts() == {address(one.parent_author_id): 1 for one in said}


async def test_dialogues_at_once_are_bounded(office: Office) -> None:
    office.sink.answers["dot"] = STALL
    await office.say(6)
    async with office.mailing(connections=2):
        await eventually(lambda: len(office.sink.unanswered) == 2)
        await office.sink.hang_up()
        assert len(office.sink.unanswered) == 2
        office.sink.answers.clear()
        await office.all_are("sent")


async def test_one_mail_at_a_time_is_between_dot_and_commit(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a process that dies repeats one mail and not one for each connection."""
    monkeypatch.setattr(window, "PATIENCE_SECONDS", 30)
    office.sink.once("dot", STALL)
    await office.say(6)
    async with office.mailing(connections=4):
        waiting = office.courier._window._lock
        await eventually(lambda: len(waiting._waiters or ()) == 3 and len(office.sink.unanswered) > 0)
        assert office.sink.seen.count("DATA") == 4
        assert len(office.sink.unanswered) == 1
        await office.sink.hang_up()
        await office.all_are("sent")


async def test_a_slow_relay_holds_nobody_up(office: Office) -> None:
    office.sink.once("dot", STALL)
    await office.say(6)
    async with office.mailing(connections=2):
        await office.sink.wait_for(5)
        assert len(office.sink.unanswered) == 1
        await office.sink.hang_up()
        await office.all_are("sent")


async def test_an_unusable_relay_stops_all_and_is_tried_with_one_mail(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.sink.answers["mail"] = "550 5.7.0 sender refused"
    await office.say(10)
    async with office.mailing() as running:
        running._relay_pause = Pause(0.05, 0.1)
        await eventually(lambda: mailer.UNUSABLE._value.get() == 1)
        await eventually(lambda: office.sink.seen.count("QUIT") + len(office.sink.seen) > 20)
        assert await office.house.value("select max(attempts) from notifications") == 0
        office.sink.answers.clear()
        await office.all_are("sent")
        assert mailer.UNUSABLE._value.get() == 0
    assert set(office.counts().values()) == {1}
    assert len(office.sink.messages) == 10


@pytest.mark.parametrize("path", ["/contacts/lookup", "/people/lookup", "/comments/lookup", "/posts/lookup"])
async def test_mails_wait_for_owners_that_are_away(office: Office, path: str) -> None:
    office.known.away.add(path)
    await office.say(3)
    async with office.mailing():
        await eventually(lambda: office.known.asked.count(path) >= 2)
        assert await office.house.value("select max(attempts) from notifications") == 0
        assert office.sink.seen == []
        office.known.away.clear()
        await office.all_are("sent")
    assert len(office.sink.messages) == 3


async def test_owners_that_answer_nonsense_are_away(office: Office) -> None:
    office.known.broken.add("/posts/lookup")
    await office.say()
    async with office.mailing():
        await eventually(lambda: len(office.known.asked) >= 8)
        office.known.broken.clear()
        await office.all_are("sent")


async def test_one_about_which_nothing_can_be_said_keeps_nobody_back(office: Office) -> None:
    poison, *others = await office.say(12)
    office.known.poison.add(str(poison.comment_id))
    async with office.mailing():
        await eventually(lambda: len(office.sink.messages) == len(others), timeout=20)
        office.known.poison.clear()
        await office.all_are("sent")


async def test_leases_are_renewed_while_a_dialogue_lasts(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailer, "RENEW_SECONDS", 0.02)
    office.sink.once("dot", STALL)
    await office.say()
    left = "select lease_until > now() + interval '29 s' from notifications"
    async with office.mailing():
        await eventually(lambda: len(office.sink.unanswered) == 1)
        await office.house.change("update notifications set lease_until = now() + interval '5 s'")
        await eventually(lambda: office.house.value(left))
        await office.sink.hang_up()
        await office.all_are("sent")


async def test_what_another_is_just_claiming_is_passed_over(office: Office) -> None:
    await office.say(4)
    async with office.house.database.transaction() as tx:
        assert len(await delivery_queue.claim(tx, new_id(), 3)) == 3
        assert len(await asyncio.wait_for(commands.claim(office.house.database, 10), 5)) == 1


async def test_a_lease_that_was_lost_is_not_taken_back(office: Office) -> None:
    await office.say()
    (claimed,) = await commands.claim(office.house.database, 10)
    await office.house.change("update notifications set lease_until = now() - interval '1 s'")
    assert await commands.renew(office.house.database, [claimed]) == 0


async def test_a_row_whose_mailer_died_is_taken_over_when_its_lease_ends(office: Office) -> None:
    await office.say()
    assert len(await commands.claim(office.house.database, 10)) == 1
    async with office.mailing():
        assert await commands.claim(office.house.database, 10) == []
        await office.house.change("update notifications set lease_until = now() - interval '1 s'")
        await office.all_are("sent")


async def test_a_mail_of_unknown_outcome_is_repeated_byte_for_byte(office: Office) -> None:
    office.sink.once("dot", CLOSE)
    await office.say()
    async with office.mailing():
        await office.all_are("sent")
    assert [mail.content for mail in office.sink.messages] == [mail.content for mail in office.sink.unanswered]


async def test_a_mail_whose_attempt_breaks_does_not_stop_the_others(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, *_ = await office.say(4)
    prepare = office.courier.prepare

    async def breaking(claimed: Claimed, facts: Any) -> PreparedMail | None:
        if claimed.comment_id == bad.comment_id and claimed.attempts < 2:
            raise RuntimeError("nobody foresaw this")
        return await prepare(claimed, facts)

    monkeypatch.setattr(office.courier, "prepare", breaking)
    async with office.mailing():
        await office.all_are("sent")
    assert (await office.house.row(bad.parent_author_id, bad.comment_id))["attempts"] == 2


async def test_it_outlives_a_database_that_is_away(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, failures = commands.claim, [0]

    async def failing(database: Database, limit: int) -> list[Claimed]:
        if failures[0] < 2:
            failures[0] += 1
            await office.house.change("select 1/0")
        return await claim(database, limit)

    monkeypatch.setattr(commands, "claim", failing)
    await office.say()
    async with office.mailing():
        await office.all_are("sent")
    assert failures == [2]


async def test_stopping_ends_what_has_begun_and_gives_the_rest_back(office: Office) -> None:
    office.sink.answers["dot"] = STALL
    await office.say(5)
    hanging_up: list[asyncio.Task[None]] = []
    async with office.mailing(connections=1):
        await eventually(lambda: len(office.sink.unanswered) == 1)
        office.sink.answers.clear()
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: hanging_up.append(asyncio.create_task(office.sink.hang_up())))
    assert await office.house.value("select count(*) from notifications where lease_token is not null") == 0
    assert await office.house.value("select count(*) from notifications where frozen is not null") == 1
    assert office.sink.messages == []


async def test_the_ending_belongs_to_the_request_that_caused_it(office: Office) -> None:
    with context.bound(context.Context("req-1", None, None)):
        await office.say()
    async with office.mailing():
        await office.all_are("sent")
    assert await office.house.value("select correlation_id from outbox") == "req-1"


async def test_backlog_and_age_are_measured(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailer, "MEASURE_SECONDS", 0.02)
    office.known.away.add("/posts/lookup")
    await office.say(2)
    office.house.settle_seconds = 3600
    await office.say(1)
    async with office.mailing():
        await eventually(lambda: mailer.WAITING._value.get() == 3 and mailer.DUE._value.get() == 2)
        assert mailer.DUE_SECONDS._value.get() > 0


def test_a_pause_doubles_from_failure_to_failure_and_ends_with_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("services.notify.mailer.time.monotonic", lambda: now[0])
    pause = Pause(1.0, 5.0)
    lengths = []
    for _ in range(4):
        assert pause.trip()
        assert not pause.trip()
        lengths.append(pause.left)
        now[0] += pause.left
        assert pause.tripped
    assert lengths == [1.0, 2.0, 4.0, 5.0]
    pause.clear()
    assert not pause.tripped
    assert pause.trip()
    assert pause.left == 1.0
