"""Many followers of a discussion: all of them are told, once, in pieces, and only while the comment is visible."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from services.chassis.runtime import context
from services.notify import fan_outs
from services.notify.domain import FIRST_FOLLOWERS
from services.notify.fan_outs import FanOuts, end_old, tell_piece
from tests.conftest import NewDatabase
from tests.integration.chassis_harness import running
from tests.integration.notify_harness import PACKAGES, FakeComment, NotifyHarness
from tests.waiting import eventually

FOLLOWERS = 250
INSERT_FOLLOWS = """
insert into follows (id, post_id, person_id, follows)
select gen_random_uuid(), $1, gen_random_uuid(), true from generate_series(1, $2)
"""
TOLD = "select count(*) from notifications where comment_id = $1 and follower and state = 'waiting' and announced"
LEFT = "select count(*) from fan_outs"


@pytest.fixture
async def service(new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch) -> NotifyHarness:
    monkeypatch.setattr(fan_outs, "PIECE", 60)
    return NotifyHarness(await new_database(*PACKAGES))


async def followed(service: NotifyHarness, state: str = "visible", followers: int = FOLLOWERS) -> FakeComment:
    """Return a comment on a post that many follow, its author too."""
    comment = FakeComment(state=state)
    await service.change(INSERT_FOLLOWS, comment.post_id, followers - 1)
    follow = "insert into follows (id, post_id, person_id, follows) values (gen_random_uuid(), $1, $2, true)"
    await service.change(follow, comment.post_id, comment.author_id)
    return comment


async def tell_all(service: NotifyHarness) -> int:
    """Tell piece after piece; return how many there were."""
    pieces = 0
    while await tell_piece(service.db):
        pieces += 1
    return pieces


async def test_all_followers_are_told_the_first_with_the_event_the_others_in_pieces(service: NotifyHarness) -> None:
    service.settle_seconds = 7
    comment = await followed(service)
    with context.bound(context.Context("request-1")):
        await service.handle(comment.posted)
    assert await service.value(TOLD, comment.comment_id) in (FIRST_FOLLOWERS - 1, FIRST_FOLLOWERS)
    assert await service.value(LEFT) == 1
    assert await tell_all(service) == 3
    assert await service.value(LEFT) == 0
    assert await service.value(TOLD, comment.comment_id) == FOLLOWERS - 1
    assert await service.ending(comment.author_id, comment.comment_id) is None, "nobody is told of their own comment"
    assert await service.rows() == FOLLOWERS - 1 + 2, "and those whom it answers"
    alike = (
        "select count(distinct (due_at, correlation_id, reasons, post_id)) from notifications "
        "where follower and reasons = '{followed_thread}' and correlation_id = 'request-1'"
    )
    assert await service.value(alike) == 1
    assert await service.value("select bool_and(due_at > now()) from notifications")


async def test_few_followers_are_told_at_once(service: NotifyHarness) -> None:
    comment = await followed(service, followers=FIRST_FOLLOWERS - 1)
    await service.handle(comment.posted)
    assert await service.value(TOLD, comment.comment_id) == FIRST_FOLLOWERS - 2
    assert await service.value(LEFT) == 0


async def test_who_is_answered_and_follows_is_told_once_and_not_as_a_follower(service: NotifyHarness) -> None:
    comment = await followed(service)
    follow = "insert into follows (id, post_id, person_id, follows) values (gen_random_uuid(), $1, $2, true)"
    highest = UUID("f" * 32)
    comment = FakeComment(**{**vars(comment), "parent_author_id": highest})
    await service.change(follow, comment.post_id, highest)
    await service.handle(comment.posted)
    await tell_all(service)
    row = await service.row(highest, comment.comment_id)
    assert row["reasons"] == ["reply_to_you"]
    assert not await service.value("select follower from notifications where person_id = $1", highest)


async def test_several_processes_tell_each_follower_once(service: NotifyHarness) -> None:
    comments = [await followed(service) for _ in range(3)]
    await service.handle(*(comment.posted for comment in comments))
    await asyncio.gather(*(tell_all(service) for _ in range(4)))
    await tell_all(service)  # what the others have skipped because it was locked
    for comment in comments:
        assert await service.value(TOLD, comment.comment_id) == FOLLOWERS - 1


async def test_several_comments_are_told_of_by_turns(service: NotifyHarness) -> None:
    first, second = [await followed(service) for _ in range(2)]
    await service.handle(first.posted, second.posted)
    before = [await service.value(TOLD, one.comment_id) for one in (first, second)]
    for _ in range(2):
        assert await tell_piece(service.db)
    after = [await service.value(TOLD, one.comment_id) for one in (first, second)]
    assert all(later > earlier for earlier, later in zip(before, after, strict=True))


async def test_of_a_hidden_comment_nobody_more_is_told_until_it_is_visible_again(service: NotifyHarness) -> None:
    comment = await followed(service)
    await service.handle(comment.posted)
    assert await tell_piece(service.db)
    hidden = comment.changed_to("held")
    await service.handle(hidden.held)
    assert not await tell_piece(service.db)
    assert await service.value(TOLD, comment.comment_id) == 0
    await service.handle(hidden.changed_to("visible").approved)
    assert await tell_all(service) > 0
    assert await service.value(TOLD, comment.comment_id) == FOLLOWERS - 1


async def test_a_comment_that_was_held_first_is_told_of_when_it_is_approved(service: NotifyHarness) -> None:
    comment = await followed(service, state="held")
    await service.handle(comment.posted)
    assert not await tell_piece(service.db)
    await service.handle(comment.changed_to("visible").approved)
    await tell_all(service)
    assert await service.value(TOLD, comment.comment_id) == FOLLOWERS - 1


async def test_who_follows_no_more_when_it_is_their_turn_is_not_told(service: NotifyHarness) -> None:
    comment = await followed(service)
    await service.handle(comment.posted)
    told = await service.value(TOLD, comment.comment_id)
    await service.change("update follows set follows = false")
    await tell_all(service)
    assert await service.value(TOLD, comment.comment_id) == told
    assert await service.value(LEFT) == 0


async def test_a_comment_that_stays_hidden_is_forgotten_in_the_end(
    service: NotifyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    comment = await followed(service)
    await service.handle(comment.posted, comment.changed_to("removed").removed)
    await end_old(service.db)
    assert await service.value(LEFT) == 1
    monkeypatch.setattr(fan_outs, "TOLD_WITHIN", timedelta(0))
    await end_old(service.db)
    assert await service.value(LEFT) == 0


async def test_it_wakes_when_a_transaction_with_many_followers_is_committed(service: NotifyHarness) -> None:
    told: list[bool] = []
    fan_out = FanOuts(service.db, lambda: told.append(True))
    async with running(fan_out.run):
        await eventually(lambda: not fan_out._woken.is_set())
        comment = await followed(service)
        fan_out.committed()
        assert told == [True]
        assert not fan_out._woken.is_set(), "nothing was begun"
        service.expect_fan_out = fan_out.expect
        await service.handle(comment.posted)
        fan_out.committed()
        await eventually(lambda: len(told) == 2 + 3)
    assert await service.value(TOLD, comment.comment_id) == FOLLOWERS - 1
