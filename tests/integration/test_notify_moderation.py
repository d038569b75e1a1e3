"""Moderators are told of what waits: seldom enough, of each comment once, and of nothing that was decided meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.errors import Problem
from services.chassis.messaging import epochs
from services.chassis.messaging.history import History
from services.chassis.runtime import failpoint
from services.contracts.comments import CommentStated
from services.contracts.notify import EditMailSettings, ModerationMail
from services.notify import choices, delivery, delivery_queue, endings, moderation, pausing
from services.notify.delivery_queue import Draft
from services.notify.endings import End
from services.notify.moderation import ModerationMails
from services.notify.restoring import apply_history
from tests.integration.notify_harness import FakeComment
from tests.integration.notify_upstreams import address
from tests.integration.test_notify_api import ApiHarness
from tests.integration.test_notify_api import harness as api
from tests.integration.test_notify_delivery import DeliveryHarness
from tests.integration.test_notify_delivery import harness as delivering
from tests.smtp_sink import CLOSE

__all__ = ["api", "delivering"]


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Desk:
    """Moderators, what waits for them, and a clock that a test sets."""

    mails: DeliveryHarness
    now: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(seconds=1))

    def __post_init__(self) -> None:
        self.planner = ModerationMails(
            self.mails.service.db, self.mails.upstreams, timedelta(0), lambda: None, clock=lambda: self.now
        )

    def moderator(self) -> UUID:
        person_id = uuid4()
        self.mails.fake.add_moderator(person_id)
        return person_id

    async def held(self, **fields: Any) -> FakeComment:
        """A comment that waits and concerns moderators alone, fake to all, handled by notify."""
        author = uuid4()
        people: dict[str, Any] = {"author_id": author, "post_author_id": author, "parent_author_id": None}
        comment = FakeComment(parent_id=None, state="held", **people, **fields)
        self.mails.fake.add(comment)
        await self.mails.service.handle(comment.posted)
        return comment

    async def decide(self, comment: FakeComment, state: str, *, is_heard: bool = False) -> None:
        """Let a moderator decide; notify hears of it, or not yet."""
        self.mails.fake.decide(comment, state)
        if is_heard:
            await self.mails.service.handle(comment.changed_to(state).approved)

    async def told(self) -> list[tuple[str, int]]:
        """Plan and send what is due; return who got a mail, and how many comments it names."""
        before = len(self.mails.sink.messages)
        await self.planner.look()
        while claimed := await delivery_queue.claim(self.mails.service.db, 1):
            await self.mails.attempt(claimed[0])
        new = self.mails.sink.messages[before:]
        return sorted((mail.recipients[0], mail.text.count("?comment=")) for mail in new)

    async def endings(self) -> list[tuple[str, str | None]]:
        async with self.mails.service.db.reader() as reader:
            rows = await reader.fetch("select state, why from notifications where moderation order by id")
        return [(row["state"], row["why"]) for row in rows]

    async def expire(self) -> None:
        """Let the leases of a process that was killed expire."""
        expired = "lease_until = now() - interval '1 s', due_at = now()"
        await self.mails.service.change(f"update notifications set {expired} where moderation and state = 'waiting'")


@pytest.fixture
async def desk(delivering: DeliveryHarness) -> AsyncIterator[Desk]:
    yield Desk(delivering)


async def test_each_moderator_hears_of_each_comment_once_and_seldom(desk: Desk) -> None:
    mo, ada, never, daily = (desk.moderator() for _ in range(4))
    settings: list[tuple[UUID, ModerationMail]] = [(never, "off"), (daily, "daily")]
    for who, choice in settings:
        await choices.choose_moderation_mail(desk.mails.service.db, who, choice)
    first = desk.now
    assert await desk.told() == []  # nothing waits, and nobody is asked who moderates
    assert desk.mails.fake.calls == []
    await desk.held(), await desk.held()
    three = sorted(address(who) for who in (mo, ada, daily))
    assert await desk.told() == [(who, 2) for who in three]
    assert desk.mails.sink.messages[-1].message["Subject"] == "2 comments wait for approval"
    await desk.held()
    desk.now = first + timedelta(minutes=59)
    assert await desk.told() == []
    desk.now = first + timedelta(minutes=61)
    assert await desk.told() == [(who, 1) for who in sorted((address(mo), address(ada)))]
    assert desk.mails.sink.messages[-1].message["Subject"] == "3 comments wait for approval"
    assert "2 more wait." in desk.mails.sink.messages[-1].text
    desk.now = first + timedelta(hours=5)
    assert await desk.told() == []  # nothing new
    desk.now = first + timedelta(hours=25)
    assert await desk.told() == [(address(daily), 1)]
    assert await desk.endings() == [("sent", None)] * 6
    assert (
        await desk.mails.service.events() == [("mail-choice-changed", None)] * 2 + [("moderation-mail-ended", None)] * 6
    )
    assert await desk.mails.service.value(
        "select bool_and(frozen is null and not announced) from notifications where moderation"
    )


async def test_a_comment_waits_a_moment_before_anybody_is_told(desk: Desk) -> None:
    desk.moderator()
    planner = ModerationMails(
        desk.mails.service.db, desk.mails.upstreams, timedelta(minutes=5), lambda: None, clock=lambda: desk.now
    )
    comment = await desk.held()
    assert await planner.look() == 0
    desk.now += timedelta(minutes=6)
    assert await planner.look() == 1
    await desk.decide(comment, "visible", is_heard=True)
    assert await desk.told() == []
    assert await desk.endings() == [("skipped", "nothing_waits")]


@pytest.mark.parametrize(("state", "is_heard"), [("visible", True), ("removed", False)])
async def test_what_was_decided_before_the_mail_went_is_not_told(desk: Desk, state: str, is_heard: bool) -> None:
    desk.moderator()
    comment = await desk.held()
    assert await desk.planner.look() == 1
    await desk.decide(comment, state, is_heard=is_heard)
    assert await desk.told() == []
    assert (await desk.endings(), desk.mails.sink.seen) == ([("skipped", "nothing_waits")], [])
    await desk.held()
    desk.now += timedelta(minutes=2)  # no hour: nobody has heard anything
    assert [count for _, count in await desk.told()] == [1]


async def test_a_comment_of_a_withdrawn_post_waits_for_nobody(desk: Desk) -> None:
    desk.moderator()
    comment = await desk.held()
    desk.mails.fake.posts[str(comment.post_id)]["status"] = "withdrawn"
    assert await desk.told() == []
    assert await desk.endings() == [("skipped", "nothing_waits")]
    desk.now += timedelta(minutes=30)  # nobody is asked about it every minute
    assert (await desk.told(), await desk.endings()) == ([], [("skipped", "nothing_waits")])
    desk.mails.fake.posts[str(comment.post_id)]["status"] = "published"
    desk.now += timedelta(minutes=31)
    assert [count for _, count in await desk.told()] == [1]


async def _attempt_while_decided(desk: Desk, patch: pytest.MonkeyPatch, comment: FakeComment, state: str) -> None:
    """Attempt the mail that is due; a moderator decides while the server takes it."""
    claimed, reach = await desk.mails.claim(), failpoint.reach

    def decide(point: str) -> None:
        if point == "mailer.rcpt":
            desk.mails.fake.decide(comment, state)
        reach(point)

    with patch.context() as patched:
        patched.setattr(failpoint, "reach", decide)
        await desk.mails.attempt(claimed)


async def test_a_decision_during_the_dialogue_is_seen_before_the_dot(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the mail names is asked about anew; the next attempt names what waits then."""
    monkeypatch.setattr(delivery, "FRESH_SECONDS", 0.0)
    mo = desk.moderator()
    decided, waits = await desk.held(), await desk.held()
    await desk.planner.look()
    await _attempt_while_decided(desk, monkeypatch, decided, "visible")
    assert (desk.mails.sink.messages, desk.mails.sink.unanswered) == ([], [])
    assert await desk.endings() == [("waiting", None)]
    assert await desk.told() == [(address(mo), 1)]
    assert str(waits.comment_id) in desk.mails.sink.messages[0].text
    assert str(decided.comment_id) not in desk.mails.sink.messages[0].text


async def test_a_mail_that_was_built_anew_is_tried_again_for_what_it_names_now(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only its first bytes named, which nobody got, does not overtake it, and counts as told by nobody."""
    monkeypatch.setattr(delivery, "FRESH_SECONDS", 0.0)
    mo = desk.moderator()
    decided, waits = await desk.held(), await desk.held()
    await desk.planner.look()
    await _attempt_while_decided(desk, monkeypatch, decided, "removed")
    desk.mails.sink.once("dot", CLOSE)
    assert await desk.told() == []
    await desk.expire()
    assert await desk.told() == [(address(mo), 1)]
    assert str(waits.comment_id) in desk.mails.sink.messages[0].text
    assert await desk.endings() == [("sent", None)]
    desk.mails.fake.decide(decided, "held")  # a rejection was taken back
    await desk.held()
    desk.now += timedelta(minutes=61)
    assert await desk.told() == [(address(mo), 2)]


async def test_what_waits_below_withdrawn_posts_hides_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_queue, "MOST_NAMED", 2)
    mo = desk.moderator()
    for comment in [await desk.held() for _ in range(3)]:
        desk.mails.fake.posts[str(comment.post_id)]["status"] = "withdrawn"
    await desk.held()
    assert await desk.told() == [(address(mo), 1)]


POINTS = ["mailer.frozen", "mailer.data", "mailer.sent"]
MORE_POINTS = [pytest.param(name, marks=pytest.mark.chaos) for name in ("mailer.rcpt", "mailer.marked")]


@pytest.mark.parametrize("point", [*POINTS, *MORE_POINTS])
async def test_a_kill_loses_no_mail_and_doubles_it_byte_for_byte_at_most(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    mo = desk.moderator()
    await desk.held()
    reach = failpoint.reach

    def killed(reached: str) -> None:
        if reached == point:
            raise Killed
        reach(reached)

    monkeypatch.setattr(failpoint, "reach", killed)
    with pytest.raises(Killed):
        await desk.told()
    monkeypatch.setattr(failpoint, "reach", reach)
    await desk.held()  # is in no mail that is frozen already
    await desk.expire()
    await desk.told()
    sent = desk.mails.sink.to(address(mo))
    assert len({mail.content for mail in sent}) == 1
    assert len(sent) == (2 if point == "mailer.sent" else 1)
    assert await desk.endings() == [("sent", None)]
    desk.now += timedelta(hours=2)
    assert await desk.told() == [(address(mo), 1)]


async def test_what_was_decided_while_the_outcome_was_unknown_is_not_sent_again(desk: Desk) -> None:
    """The mail may have arrived: no other follows before its hour is over, and that one names the rest."""
    mo = desk.moderator()
    decided, waits = await desk.held(), await desk.held()
    desk.mails.sink.once("dot", CLOSE)
    assert await desk.told() == []
    desk.mails.fake.decide(decided, "removed")
    await desk.expire()
    assert await desk.told() == []
    assert await desk.endings() == [("skipped", "overtaken")]
    assert len(desk.mails.sink.unanswered) == 1
    desk.now += timedelta(minutes=61)
    assert await desk.told() == [(address(mo), 1)]
    assert str(waits.comment_id) in desk.mails.sink.messages[0].text


async def test_two_processes_plan_one_mail(desk: Desk) -> None:
    desk.moderator()
    await desk.held()
    assert sorted(await asyncio.gather(*(desk.planner.look() for _ in range(4)))) == [0, 0, 0, 1]
    assert len(await desk.told()) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [({"moderates": False}, "not_a_moderator"), ({"confirmed": False, "email": None}, "address_not_confirmed")],
)
async def test_who_moderates_no_more_hears_nothing(desk: Desk, change: dict[str, Any], why: str) -> None:
    mo = desk.moderator()
    await desk.held()
    await desk.planner.look()
    desk.mails.fake.contacts[str(mo)].update(change)
    assert await desk.told() == []
    assert (await desk.endings(), desk.mails.sink.seen) == ([("skipped", why)], [])


async def test_the_choice_is_read_last(desk: Desk) -> None:
    mo = desk.moderator()
    await desk.held()
    await desk.planner.look()
    claimed = await desk.mails.claim()
    settings = EditMailSettings(moderation="off", notifications=True)
    await choices.edit_mail_settings(desk.mails.service.db, mo, settings)
    await desk.mails.attempt(claimed)
    assert (await desk.endings(), desk.mails.sink.seen) == ([("skipped", "moderation_off")], [])


async def test_no_mail_about_answers_is_no_choice_about_what_waits(desk: Desk) -> None:
    mo = desk.moderator()
    await choices.choose_mail(desk.mails.service.db, mo, "none")
    await desk.held()
    assert await desk.told() == [(address(mo), 1)]


async def test_what_was_imported_stated_or_waits_for_long_is_nothing_new(desk: Desk) -> None:
    desk.moderator()
    await desk.held(imported=True)
    stated = FakeComment(state="held")
    desk.mails.fake.add(stated)
    await desk.mails.service.handle(stated.fact(CommentStated))
    assert await desk.told() == []
    old = await desk.held()
    hold = "update comments set held_at = now() - interval '73 hours' where comment_id = $1"
    await desk.mails.service.change(hold, old.comment_id)
    assert await desk.told() == []
    await desk.held()
    assert [count for _, count in await desk.told()] == [3]  # but it waits too, and was named to nobody


async def test_a_restored_notify_tells_nobody_until_an_operator_says_so(desk: Desk) -> None:
    mo = desk.moderator()
    before = await desk.held()
    await desk.planner.look()
    async with desk.mails.service.db.transaction() as tx:
        await epochs.raise_epoch(tx)
        await apply_history(tx, History(), 0)
    assert await desk.endings() == [("skipped", "restored")]
    assert await desk.mails.service.events() == [("moderation-mail-ended", "restored")]
    after = await desk.held()
    desk.now = datetime.now(UTC) + timedelta(hours=2)
    assert await desk.told() == []
    await pausing.resume(desk.mails.service.db, dry_run=False)
    desk.now = datetime.now(UTC) + timedelta(minutes=30)  # one may have gone out before the restore
    assert await desk.told() == []
    desk.now = datetime.now(UTC) + timedelta(minutes=61)
    assert await desk.told() == [(address(mo), 2)]
    for comment in (before, after):
        assert str(comment.comment_id) in desk.mails.sink.messages[0].text


async def test_without_people_nothing_is_planned_and_nothing_is_lost(desk: Desk) -> None:
    desk.moderator()
    await desk.held()
    desk.mails.fake.away.add("/moderators")
    with pytest.raises(Problem, match="Away"):
        await desk.planner.look()
    desk.mails.fake.away.clear()
    assert len(await desk.told()) == 1


async def test_the_link_stops_these_mails_alone_and_can_be_undone(api: ApiHarness) -> None:
    me = uuid4()
    token = api.tokens.stop_moderation(me)
    asked = (await api.call("GET", f"/unsubscribe/{token}")).json()
    before = {"notifications": True, "scope": "all", "moderation": "hourly"}
    assert asked == before | {"about": "moderation"}
    stopped = (await api.call("POST", f"/unsubscribe/{token}")).json()
    assert stopped == before | {"moderation": "off", "about": "moderation", "before": before}
    for choice in ("daily", "hourly"):
        chosen = await api.call("POST", f"/mail-choices/{token}", {"choice": choice})
        assert {name: chosen.json()[name] for name in before} == before | {"moderation": choice}
    for wrong, of in (("none", token), ("daily", api.tokens.unsubscribe(me))):
        assert (await api.call("POST", f"/mail-choices/{of}", {"choice": wrong})).status_code == 422


async def test_the_explanation_says_what_moderators_were_told(api: ApiHarness) -> None:
    mo, comment = uuid4(), FakeComment(state="held")
    await api.service.handle(comment.posted)
    assert (await api.explain(mo, comment.comment_id))["why"] == "not_concerned"

    async def explained() -> dict[str, Any]:
        headers = api.signed(mo, roles=["moderator"])
        path = f"/me/notifications/explain?comment={comment.comment_id}"
        found: dict[str, Any] = (await api.client.get(path, headers=headers)).json()
        return found

    waits = await explained()
    assert (waits["reasons"], waits["state"], waits["heard"]) == (["waits_for_approval"], "none", False)
    await choices.choose_moderation_mail(api.service.db, mo, "off")
    assert (await explained())["why"] == "moderation_off"
    await choices.choose_moderation_mail(api.service.db, mo, "hourly")
    async with api.service.db.transaction() as tx:
        assert await moderation.plan(tx, [mo], datetime.now(UTC) + timedelta(seconds=1), timedelta(0)) == 1
    [claimed] = await delivery_queue.claim(api.service.db, 9)
    await delivery_queue.freeze(api.service.db, [Draft(claimed, b"x", 1, "<x@x>", named=frozenset(claimed.waiting))])
    assert (await explained())["state"] == "waiting"
    await endings.finish(api.service.db, [End(claimed, "sent")])
    sent = await explained()
    assert (sent["state"], sent["heard"], sent["sent_at"] is not None) == ("sent", True, True)
    assert sent["text"] == "A mail told you, as a moderator, that it waited for approval."
    assert (await api.explain(comment.parent_author_id, comment.comment_id))["why"] == "comment_held"
    assert (await api.call("GET", "/me/notifications", who=mo)).json()["items"] == []
    assert (await api.call("GET", "/me/attention", who=mo)).json()["unread"] == 0
