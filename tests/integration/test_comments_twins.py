"""Twins: the same text, posted again by the same person at the same place, is the comment that stands already."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.chassis.database.idempotency import CommandResult
from services.chassis.identity import Caller
from services.comments.commands import importing, posting
from services.comments.commands.posting import PostingQueue
from services.contracts.comments import CreateComment, ImportComment
from tests.integration.comments_harness import ANN, BOB, MODERATOR, WRITER, Harness, person, refused, request_key


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    made = Harness(await new_database("services.chassis", "services.comments"))
    await made.publish_post()
    return made


async def post(
    harness: Harness, body: str, who: Caller = ANN, parent: str | None = None, key: str | None = None, **options: Any
) -> CommandResult:
    command = CreateComment(body=body, parent_id=UUID(parent) if parent else None)
    idempotency_key = request_key(who, key, body=body) if key else None
    queue = options.get("queue") or next(harness.queues)
    return await posting.post_comment(queue, who, harness.post_id, command, idempotency_key)


async def make_older(harness: Harness, minutes: float) -> None:
    async with harness.db.transaction() as tx:
        await tx.execute(f"update comments set created_at = created_at - interval '{minutes} minutes'")


@pytest.mark.parametrize("keys", [(None, None), ("one", "two"), (None, "two"), ("one", None)])
async def test_the_same_text_posted_again_is_the_first_comment(harness: Harness, keys: tuple[str, str]) -> None:
    first = await post(harness, "Well said.", key=keys[0])
    again = await post(harness, "Well said.", key=keys[1])
    assert not first.replayed
    assert again == CommandResult(201, first.representation, first.location, replayed=True)
    assert await post(harness, "Well said.", key=keys[1]) == again, "the new key is kept too"
    assert await harness.count() == 1
    assert [event["type"] for event in await harness.events()] == ["posted"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("é", "e\u0301"),
        ("One\n\nTwo", "One\r\n\r\nTwo\r\n"),
        ("One\nTwo", "One\rTwo"),
        ("Hello", "\n \n  Hello  \n\n"),
        ("- a\n- b", "- a \n- b\t"),
        ("Hello", "Hel\u202elo"),
        ("Hello\u3000", "Hello"),
    ],
)
async def test_texts_are_compared_as_they_are_kept_without_white_space_around_lines(
    harness: Harness, first: str, second: str
) -> None:
    one, two = await post(harness, first), await post(harness, second)
    assert (two.replayed, two.location) == (True, one.location)


@pytest.mark.parametrize("second", ["    Hello", "hello", "Hello\n\nHello", "Hello\u200d", "Hel lo", "\tHello"])
async def test_another_text_is_another_comment(harness: Harness, second: str) -> None:
    one, two = await post(harness, "Hello"), await post(harness, second)
    assert (two.replayed, two.location != one.location) == (False, True)


async def test_who_and_where_must_be_the_same(harness: Harness) -> None:
    first = (await post(harness, "Yes")).representation["id"]
    elsewhere = Harness(harness.db)
    await elsewhere.publish_post()
    for other in (
        await post(harness, "Yes", BOB),
        await post(harness, "Yes", parent=first),
        await post(elsewhere, "Yes"),
    ):
        assert not other.replayed
    again = await post(harness, "Yes", parent=first)
    assert (again.replayed, again.representation["parent_id"]) == (True, first)
    assert (await post(harness, "Yes")).representation["replies"]["items"], "with the replies it has by now"
    assert await harness.count() == 3


async def test_only_what_stands_unedited_has_a_twin(harness: Harness) -> None:
    for number, change in enumerate(("edit", "remove", "reject")):
        text = f"Text {number}"
        first = (await post(harness, text)).representation["id"]
        if change == "edit":
            await harness.edit(first, "Something else")
            await harness.edit(first, text)
        elif change == "remove":
            await harness.remove(first)
        else:
            await harness.moderate(first, "reject")
        second = await post(harness, text)
        assert not second.replayed, change
        assert (await post(harness, text)).location == second.location


async def test_a_step_of_a_moderator_that_leaves_it_standing_changes_nothing(harness: Harness) -> None:
    first = (await post(harness, "Yes")).representation["id"]
    steps: tuple[Any, ...] = ("hold", "approve", "reject", "restore")
    for step in steps:
        await harness.moderate(first, step)
        if step != "reject":
            again = await post(harness, "Yes")
            assert (again.replayed, again.representation["state"]) == (True, "held" if step == "hold" else "visible")


async def test_held_comments_have_twins_too(harness: Harness) -> None:
    await harness.change_post(discussion="held")
    first, again = await post(harness, "Yes"), await post(harness, "Yes")
    assert (again.replayed, again.representation) == (True, first.representation)
    assert first.representation["state"] == "held"


async def test_after_ten_minutes_it_is_a_new_comment(harness: Harness) -> None:
    await post(harness, "Yes")
    await make_older(harness, 9.9)
    assert (await post(harness, "Yes")).replayed
    await make_older(harness, 0.2)
    assert not (await post(harness, "Yes")).replayed


async def test_what_was_imported_has_no_twin(harness: Harness) -> None:
    command = ImportComment(
        site="blog.example", source_id="1", post_id=harness.post_id, author_id=person(ANN), body="Yes",
        format="markdown", created_at=datetime.now(UTC),
    )  # fmt: skip
    await importing.import_comment(harness.db, command)
    assert not (await post(harness, "Yes")).replayed


async def test_who_may_and_the_state_come_first(harness: Harness) -> None:
    top = (await post(harness, "Top", BOB)).representation["id"]
    await post(harness, "Yes")
    await post(harness, "Yes", parent=top)
    await harness.moderate(top, "hold")
    await harness.remove((await post(harness, "Yes", parent=None)).representation["id"])
    await harness.change_post(discussion="closed")
    assert (await refused(post(harness, "Yes"))).kind == "discussion-closed"
    await harness.change_post(status="withdrawn")
    assert (await refused(post(harness, "Yes"))).kind == "post-unknown"


async def test_twins_that_come_together_are_one(harness: Harness) -> None:
    """Whether they meet in one batch, in two batches, or in two processes."""
    queues = [PostingQueue(harness.db), PostingQueue(harness.db)]
    parent = (await post(harness, "Top", WRITER)).representation["id"]
    results = await asyncio.gather(
        *(
            post(harness, text, who, above, key=f"{text}{number}{above}", queue=queues[number % 2])
            for number in range(12)
            for text in ("Yes", "No")
            for above in (None, parent)
            for who in (ANN, BOB)
        )
    )
    assert len({result.location for result in results}) == 8
    assert sum(not result.replayed for result in results) == 8
    assert await harness.count() == 9
    (top,) = [one for one in await harness.page() if one["id"] == parent]
    assert top["reply_count"] == 4
    assert [event["type"] for event in await harness.events()] == ["posted"] * 9


async def test_a_removed_text_leaves_nothing_by_which_it_could_be_guessed(harness: Harness) -> None:
    first = (await post(harness, "A secret")).representation["id"]
    await harness.remove(first)
    async with harness.db.reader() as reader:
        assert await reader.fetchval("select text_key from comments where id = $1", UUID(first)) is None


async def test_one_more_press_by_a_moderator_is_not_held_apart(harness: Harness) -> None:
    await harness.change_post(discussion="held")
    first, again = await post(harness, "Yes", MODERATOR), await post(harness, "Yes", MODERATOR)
    assert (first.representation["state"], again.replayed) == ("visible", True)
