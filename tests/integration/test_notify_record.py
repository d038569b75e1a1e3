"""What notify makes of facts about comments, in whatever order they come."""

import itertools
from collections.abc import Callable

import pytest

from services.contracts.comments import CommentFact, CommentImported, CommentStated
from tests.conftest import NewDatabase
from tests.integration.notify_harness import PACKAGES, House, Said

WAITING = ("waiting", None)
REMOVED = ("skipped", "comment_removed")
HELD = ("skipped", "comment_held")


@pytest.fixture
async def house(new_database: NewDatabase) -> House:
    return House(await new_database(*PACKAGES))


async def test_a_reply_concerns_whom_it_answers_and_the_posts_author(house: House) -> None:
    said = Said()
    await house.hear(said.posted)
    answered = await house.row(said.parent_author_id, said.comment_id)
    assert answered["reasons"] == ["reply_to_you"]
    assert (await house.row(said.post_author_id, said.comment_id))["reasons"] == ["on_your_post"]
    assert await house.rows() == 2
    assert answered["state"] == "waiting"
    assert await house.events() == []


async def test_reasons_of_one_person_are_one_row(house: House) -> None:
    said = Said()
    both = Said(post_author_id=said.author_id, parent_author_id=said.author_id)
    await house.hear(both.posted)
    assert (await house.row(said.author_id, both.comment_id))["reasons"] == ["reply_to_you", "on_your_post"]
    assert await house.rows() == 1


async def test_nobody_hears_of_their_own_comment(house: House) -> None:
    me = Said().author_id
    await house.hear(Said(author_id=me, post_author_id=me, parent_author_id=me).posted)
    assert await house.rows() == 0


async def test_a_notification_is_due_when_it_has_settled(house: House) -> None:
    house.settle_seconds = 10
    said = Said()
    await house.hear(said.posted)
    assert 8 < (await house.row(said.parent_author_id, said.comment_id))["due_in"] <= 10


async def test_an_imported_comment_never_notifies_even_when_approved(house: House) -> None:
    said = Said(imported=True, state="held")
    approved = Said(**{**vars(said), "state": "visible", "version": 2})
    await house.hear(said.fact(CommentImported), approved.approved)
    # A later fact that forgot the mark changes nothing: what was imported stays imported.
    await house.hear(Said(**{**vars(approved), "imported": False, "version": 3}).approved)
    assert await house.rows() == 0


async def test_a_stated_comment_never_notifies(house: House) -> None:
    said = Said()
    await house.hear(said.fact(CommentStated))
    assert await house.rows() == 0
    await house.hear(said.posted)
    assert await house.ending(said.parent_author_id, said.comment_id) == WAITING


async def test_what_is_only_stated_revives_nothing_but_withholds(house: House) -> None:
    held, gone = Said(state="held"), Said()
    await house.hear(held.posted, held.then("visible").fact(CommentStated))
    assert await house.ending(held.parent_author_id, held.comment_id) == HELD
    await house.hear(gone.posted, gone.then("removed").fact(CommentStated))
    assert await house.ending(gone.parent_author_id, gone.comment_id) == REMOVED


async def test_nobody_hears_of_a_held_comment_before_it_is_approved(house: House) -> None:
    said = Said(state="held")
    await house.hear(said.posted)
    row = await house.row(said.parent_author_id, said.comment_id)
    assert (row["state"], row["why"], row["announced"]) == ("skipped", "comment_held", False)
    await house.hear(said.then("visible").approved)
    row = await house.row(said.parent_author_id, said.comment_id)
    assert (row["state"], row["why"], row["announced"]) == ("waiting", None, True)
    assert await house.events() == [("skipped", "comment_held")] * 2


Step = Callable[[Said], CommentFact]


@pytest.mark.parametrize(
    ("first", "fact", "ending"),
    [
        ("visible", lambda said: said.then("removed").removed, REMOVED),
        ("visible", lambda said: said.then("removed").rejected, REMOVED),
        ("held", lambda said: said.then("removed").rejected, REMOVED),
        ("visible", lambda said: said.then("held").held, HELD),
    ],
)
async def test_what_nobody_may_see_any_more_is_not_mailed(
    house: House, first: str, fact: Step, ending: tuple[str, str]
) -> None:
    said = Said(state=first)
    await house.hear(said.posted, fact(said))
    assert await house.ending(said.parent_author_id, said.comment_id) == ending
    assert (await house.events())[-1] == ending


async def test_what_was_never_sent_is_revived(house: House) -> None:
    said = Said()
    gone = said.then("removed")
    await house.hear(said.posted, gone.rejected, gone.then("visible").restored)
    assert await house.ending(said.parent_author_id, said.comment_id) == WAITING


@pytest.mark.parametrize("state", ["sent", "failed", "skipped"])
async def test_what_has_ended_otherwise_is_not_revived(house: House, state: str) -> None:
    said = Said()
    why = {"sent": None, "failed": "gave_up", "skipped": "unsubscribed"}[state]
    await house.hear(said.posted)
    await house.change(
        "update notifications set state = $1, why = $2, due_at = null, sent_at = case when $1 = 'sent' then now() end",
        state,
        why,
    )
    gone = said.then("removed")
    await house.hear(gone.rejected, gone.then("visible").restored)
    assert await house.ending(said.parent_author_id, said.comment_id) == (state, why)


async def _all_orders(house: House, story: Callable[[Said], list[CommentFact]], ending: tuple[str, str | None]) -> None:
    for order in itertools.permutations(range(len(story(Said())))):
        said = Said()
        told = story(said)
        await house.hear(*(told[index] for index in order))
        assert await house.ending(said.parent_author_id, said.comment_id) == ending, order


Story = Callable[[Said], list[CommentFact]]


@pytest.mark.parametrize(
    ("story", "ending"),
    [
        (lambda said: [said.posted, said.then("visible").edited], WAITING),
        (lambda said: [said.posted, said.then("removed").removed], REMOVED),
        (
            lambda said: [said.posted, said.then("visible").edited, said.then("visible").then("removed").rejected],
            REMOVED,
        ),
        (
            lambda said: [
                said.posted,
                said.then("removed").rejected,
                said.then("removed").then("visible").restored,
            ],
            WAITING,
        ),
    ],
)
async def test_the_order_of_arrival_does_not_matter(house: House, story: Story, ending: tuple[str, str | None]) -> None:
    await _all_orders(house, story, ending)


async def test_a_held_comment_and_its_approval_in_either_order(house: House) -> None:
    await _all_orders(
        house, lambda said: [Said(**{**vars(said), "state": "held"}).posted, said.then("visible").approved], WAITING
    )


async def test_a_row_under_a_lease_is_left_to_its_mailer(house: House) -> None:
    said = Said()
    await house.hear(said.posted)
    await house.change("update notifications set lease_token = gen_random_uuid(), lease_until = now() + '30 s'")
    await house.hear(said.then("removed").removed)
    assert await house.ending(said.parent_author_id, said.comment_id) == WAITING
    await house.change("update notifications set lease_until = now() - interval '1 s'")
    await house.hear(said.then("removed").then("removed").rejected)
    assert await house.ending(said.parent_author_id, said.comment_id) == REMOVED


async def test_the_structure_may_be_told_again(house: House) -> None:
    said = Said()
    await house.hear(said.posted, said.posted, said.then("visible").edited, said.posted)
    assert await house.rows() == 2
    assert await house.value("select version from comments") == 2
