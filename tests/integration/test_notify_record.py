"""What notify makes of facts about comments, in whatever order they come."""

import itertools
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.database.pool import Transaction
from services.chassis.ids import new_id
from services.chassis.runtime.context import Context
from services.contracts.comments import (
    CommentApproved,
    CommentEdited,
    CommentFact,
    CommentHeld,
    CommentImported,
    CommentPosted,
    CommentRemoved,
    CommentStated,
)
from services.notify.commands import Reported, record
from services.notify.handlers import build
from tests.conftest import NewDatabase
from tests.integration.notify_harness import PACKAGES, FakeComment, NotifyHarness, envelope_of

WAITING = ("waiting", None)
REMOVED = ("skipped", "comment_removed")
HELD = ("skipped", "comment_held")


@pytest.fixture
async def harness(new_database: NewDatabase) -> NotifyHarness:
    return NotifyHarness(await new_database(*PACKAGES))


async def test_a_reply_concerns_the_parents_author_and_the_posts_author(harness: NotifyHarness) -> None:
    comment = FakeComment()
    await harness.handle(comment.posted)
    answered = await harness.row(comment.parent_author_id, comment.comment_id)
    assert answered["reasons"] == ["reply_to_you"]
    assert (await harness.row(comment.post_author_id, comment.comment_id))["reasons"] == ["on_your_post"]
    assert await harness.rows() == 2
    assert answered["state"] == "waiting"
    assert await harness.events() == []


async def test_reasons_of_one_person_are_one_row(harness: NotifyHarness) -> None:
    comment = FakeComment()
    both = FakeComment(post_author_id=comment.author_id, parent_author_id=comment.author_id)
    await harness.handle(both.posted)
    assert (await harness.row(comment.author_id, both.comment_id))["reasons"] == ["reply_to_you", "on_your_post"]
    assert await harness.rows() == 1


async def test_nobody_is_notified_of_their_own_comment(harness: NotifyHarness) -> None:
    me = FakeComment().author_id
    await harness.handle(FakeComment(author_id=me, post_author_id=me, parent_author_id=me).posted)
    assert await harness.rows() == 0


async def test_a_notification_is_due_when_it_has_settled(harness: NotifyHarness) -> None:
    harness.settle_seconds = 10
    comment = FakeComment()
    await harness.handle(comment.posted)
    assert 8 < (await harness.row(comment.parent_author_id, comment.comment_id))["due_in"] <= 10


async def test_an_imported_comment_never_notifies_even_when_approved(harness: NotifyHarness) -> None:
    comment = FakeComment(imported=True, state="held")
    approved = FakeComment(**{**vars(comment), "state": "visible", "version": 2})
    await harness.handle(comment.fact(CommentImported), approved.approved)
    # A later fact that forgot the mark changes nothing: what was imported stays imported.
    await harness.handle(FakeComment(**{**vars(approved), "imported": False, "version": 3}).approved)
    assert await harness.rows() == 0


async def test_a_stated_comment_never_notifies(harness: NotifyHarness) -> None:
    comment = FakeComment()
    await harness.handle(comment.fact(CommentStated))
    assert await harness.rows() == 0
    await harness.handle(comment.posted)
    assert await harness.ending(comment.parent_author_id, comment.comment_id) == WAITING


async def test_a_stated_comment_skips_waiting_rows_but_does_not_revive(harness: NotifyHarness) -> None:
    held, gone = FakeComment(state="held"), FakeComment()
    await harness.handle(held.posted, held.changed_to("visible").fact(CommentStated))
    assert await harness.ending(held.parent_author_id, held.comment_id) == HELD
    await harness.handle(gone.posted, gone.changed_to("removed").fact(CommentStated))
    assert await harness.ending(gone.parent_author_id, gone.comment_id) == REMOVED


async def test_a_held_comment_notifies_only_when_it_is_approved(harness: NotifyHarness) -> None:
    comment = FakeComment(state="held")
    await harness.handle(comment.posted)
    row = await harness.row(comment.parent_author_id, comment.comment_id)
    assert (row["state"], row["why"], row["announced"]) == ("skipped", "comment_held", False)
    await harness.handle(comment.changed_to("visible").approved)
    row = await harness.row(comment.parent_author_id, comment.comment_id)
    assert (row["state"], row["why"], row["announced"]) == ("waiting", None, True)
    assert await harness.events() == [("skipped", "comment_held")] * 2


Step = Callable[[FakeComment], CommentFact]


@pytest.mark.parametrize(
    ("first", "fact", "ending"),
    [
        ("visible", lambda comment: comment.changed_to("removed").removed, REMOVED),
        ("visible", lambda comment: comment.changed_to("removed").rejected, REMOVED),
        ("held", lambda comment: comment.changed_to("removed").rejected, REMOVED),
        ("visible", lambda comment: comment.changed_to("held").held, HELD),
    ],
)
async def test_a_comment_that_is_no_longer_visible_is_skipped(
    harness: NotifyHarness, first: str, fact: Step, ending: tuple[str, str]
) -> None:
    comment = FakeComment(state=first)
    await harness.handle(comment.posted, fact(comment))
    assert await harness.ending(comment.parent_author_id, comment.comment_id) == ending
    assert (await harness.events())[-1] == ending


async def test_a_notification_skipped_as_invisible_is_revived(harness: NotifyHarness) -> None:
    comment = FakeComment()
    gone = comment.changed_to("removed")
    await harness.handle(comment.posted, gone.rejected, gone.changed_to("visible").restored)
    assert await harness.ending(comment.parent_author_id, comment.comment_id) == WAITING


@pytest.mark.parametrize("state", ["sent", "failed", "skipped"])
async def test_a_notification_that_ended_otherwise_is_not_revived(harness: NotifyHarness, state: str) -> None:
    comment = FakeComment()
    why = {"sent": None, "failed": "gave_up", "skipped": "unsubscribed"}[state]
    await harness.handle(comment.posted)
    await harness.change(
        "update notifications set state = $1, why = $2, due_at = null, sent_at = case when $1 = 'sent' then now() end",
        state,
        why,
    )
    gone = comment.changed_to("removed")
    await harness.handle(gone.rejected, gone.changed_to("visible").restored)
    assert await harness.ending(comment.parent_author_id, comment.comment_id) == (state, why)


async def _all_orders(
    harness: NotifyHarness, story: Callable[[FakeComment], list[CommentFact]], ending: tuple[str, str | None]
) -> None:
    for order in itertools.permutations(range(len(story(FakeComment())))):
        comment = FakeComment()
        told = story(comment)
        await harness.handle(*(told[index] for index in order))
        assert await harness.ending(comment.parent_author_id, comment.comment_id) == ending, order


Story = Callable[[FakeComment], list[CommentFact]]


@pytest.mark.parametrize(
    ("story", "ending"),
    [
        (lambda comment: [comment.posted, comment.changed_to("visible").edited], WAITING),
        (lambda comment: [comment.posted, comment.changed_to("removed").removed], REMOVED),
        (
            lambda comment: [
                comment.posted,
                comment.changed_to("visible").edited,
                comment.changed_to("visible").changed_to("removed").rejected,
            ],
            REMOVED,
        ),
        (
            lambda comment: [
                comment.posted,
                comment.changed_to("removed").rejected,
                comment.changed_to("removed").changed_to("visible").restored,
            ],
            WAITING,
        ),
    ],
)
async def test_the_order_of_arrival_does_not_matter(
    harness: NotifyHarness, story: Story, ending: tuple[str, str | None]
) -> None:
    await _all_orders(harness, story, ending)


async def test_a_held_comment_and_its_approval_in_either_order(harness: NotifyHarness) -> None:
    await _all_orders(
        harness,
        lambda comment: [
            FakeComment(**{**vars(comment), "state": "held"}).posted,
            comment.changed_to("visible").approved,
        ],
        WAITING,
    )


async def test_a_row_under_a_lease_is_left_to_its_mailer(harness: NotifyHarness) -> None:
    comment = FakeComment()
    await harness.handle(comment.posted)
    await harness.change("update notifications set lease_token = gen_random_uuid(), lease_until = now() + '30 s'")
    await harness.handle(comment.changed_to("removed").removed)
    assert await harness.ending(comment.parent_author_id, comment.comment_id) == WAITING
    await harness.change("update notifications set lease_until = now() - interval '1 s'")
    await harness.handle(comment.changed_to("removed").changed_to("removed").rejected)
    assert await harness.ending(comment.parent_author_id, comment.comment_id) == REMOVED


async def test_repeated_facts_change_nothing(harness: NotifyHarness) -> None:
    comment = FakeComment()
    await harness.handle(comment.posted, comment.posted, comment.changed_to("visible").edited, comment.posted)
    assert await harness.rows() == 2
    assert await harness.value("select version from comments") == 2


KINDS: dict[str, list[type[CommentFact]]] = {
    "visible": [CommentApproved, CommentEdited],
    "held": [CommentHeld],
    "removed": [CommentRemoved],
}
NOTIFICATIONS = """
select reasons, state, why, announced, follower, version, correlation_id, causation_id
from notifications where comment_id = $1 order by reasons
"""


@pytest.mark.parametrize("seed", range(3))
async def test_events_that_are_recorded_together_leave_what_they_leave_one_after_the_other(
    harness: NotifyHarness, seed: int
) -> None:
    """Also those of one comment, in any order, and those that are recorded a second time."""
    chance = random.Random(seed)
    together: list[FakeComment] = []
    apart: list[FakeComment] = []
    reports: list[tuple[float, CommentFact, CommentFact]] = []
    for number in range(10):
        first, *later = [chance.choice(["visible", "visible", "held"]), *chance.choices(list(KINDS), k=3)]
        kinds = [chance.choice(KINDS[state]) for state in later]
        lives = []
        for comments in (together, apart):
            comment = FakeComment(state=first, imported=number == 9)
            comments.append(comment)
            lives.append([comment.posted])
            for state, kind in zip(later, kinds, strict=True):
                comment = comment.changed_to(state)
                lives[-1].append(comment.fact(kind))
        order = chance.choices(range(len(lives[0])), k=5)
        reports += [(chance.random(), lives[0][at], lives[1][at]) for at in order]
    reports.sort(key=lambda report: report[0])
    cause = Context("request-1", new_id())
    async with harness.db.transaction() as tx:
        await record(tx, [Reported(event, 0, cause) for _, event, _ in reports], timedelta(0))
    for _, _, event in reports:
        async with harness.db.transaction() as tx:
            await record(tx, [Reported(event, 0, cause)], timedelta(0))
    for one, other in zip(together, apart, strict=True):
        async with harness.db.reader() as reader:
            assert await reader.fetch(NOTIFICATIONS, one.comment_id) == await reader.fetch(
                NOTIFICATIONS, other.comment_id
            )
    events = await harness.events()
    assert Counter(events[: len(events) // 2]) == Counter(events[len(events) // 2 :])


class CountedTransaction(Transaction):
    """Counts the statements that are run in another transaction."""

    def __init__(self, tx: Transaction) -> None:
        super().__init__(tx._connection)
        self.count = 0

    async def fetch(self, sql: str, *args: object) -> list[Any]:
        self.count += 1
        return await super().fetch(sql, *args)

    async def execute(self, sql: str, *args: object) -> int:
        self.count += 1
        return await super().execute(sql, *args)


@pytest.mark.parametrize("length", [1, 5])
async def test_a_run_of_posted_comments_is_two_statements(harness: NotifyHarness, length: int) -> None:
    """And each notification has the request and the event that it comes from, whatever stands beside it."""
    run = [(event := FakeComment().posted, envelope_of(event, f"request-{number}")) for number in range(length)]
    handlers = build(settle_seconds=0)
    record_run = handlers.of_run(handlers.by_type[CommentPosted.type])
    assert record_run is not None
    async with harness.db.transaction() as tx:
        counted = CountedTransaction(tx)
        await record_run(counted, run)
    assert counted.count == 2
    for event, envelope in run:
        async with harness.db.reader() as reader:
            rows = await reader.fetch(NOTIFICATIONS, event.comment_id)
        assert [(row["correlation_id"], row["causation_id"]) for row in rows] == [
            (envelope.correlation_id, envelope.id)
        ] * 2
