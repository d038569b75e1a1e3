"""Pages of a discussion have numbers that lead to them and back, for everybody as they see it."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.chassis.identity import Caller
from services.comments import numbering, queries
from services.comments.queries import Sort
from tests.integration.comments_harness import ANN, BOB, MODERATOR, NOBODY, Harness

LIMIT = 3
SORTS: tuple[Sort, ...] = ("oldest", "newest")


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    harness = Harness(await new_database("services.chassis", "services.comments"))
    await harness.publish_post()
    return harness


async def page(harness: Harness, who: Caller, sort: Sort, number: int = 1, cursor: str | None = None) -> dict[str, Any]:
    return await queries.numbered(harness.db, who, harness.post_id, sort, cursor, LIMIT, number)


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["id"] for item in answer["items"]]


async def test_every_page_is_found_by_its_number_and_by_going_on(harness: Harness) -> None:
    written = [await harness.post_comment(BOB if number % 4 == 1 else ANN) for number in range(11)]
    for comment in written[1::4]:
        await harness.moderate(comment["id"], "hold")
    await harness.post_comment(ANN, parent=written[0]["id"])
    for who, sort in itertools.product((NOBODY, ANN, BOB, MODERATOR), SORTS):
        expected = [item["id"] for item in await harness.page(who, sort, 50)]
        assert len(expected) == (11 if who in (BOB, MODERATOR) else 8)
        count, cursor, found = -(-len(expected) // LIMIT), None, list[str]()
        for number in range(1, count + 1):
            by_number, gone_on = await page(harness, who, sort, number), await page(harness, who, sort, 1, cursor)
            assert by_number == gone_on, (who, sort, number)
            assert (by_number["page"], by_number["pages"]) == (number, count)
            found, cursor = found + ids(by_number), by_number["next"]
        assert (found, cursor) == (expected, None)
        assert await page(harness, who, sort, 99) == await page(harness, who, sort, count)


async def test_a_page_keeps_its_number_when_comments_before_it_go(harness: Harness) -> None:
    written = [await harness.post_comment() for _ in range(9)]
    second = await page(harness, NOBODY, "oldest", 2)
    await harness.remove(written[1]["id"])
    again = await page(harness, NOBODY, "oldest", 1, (await page(harness, NOBODY, "oldest"))["next"])
    assert (again["page"], again["pages"]) == (2, 3)
    kept = await page(harness, NOBODY, "oldest", 1, second["next"])
    assert (kept["page"], kept["pages"]) == (3, 3)
    assert ids(kept) == [one["id"] for one in written[6:]], "nobody misses a comment by going on"


async def test_an_empty_discussion_is_one_page(harness: Harness) -> None:
    for number in (1, 2):
        answer = await page(harness, NOBODY, "oldest", number)
        assert (answer["items"], answer["page"], answer["pages"]) == ([], 1, 1)


async def test_behind_the_comments_that_are_counted_pages_go_on_without_numbers(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbering, "MOST_COUNTED", 6)
    for _ in range(14):
        await harness.post_comment()
    for who, sort in itertools.product((NOBODY, ANN, MODERATOR), SORTS):
        answers = [await page(harness, who, sort)]
        while answers[-1]["next"]:
            answers.append(await page(harness, who, sort, 1, answers[-1]["next"]))
        assert [(one["page"], one["pages"]) for one in answers] == [
            (1, None),
            (2, None),
            (3, None),
            *2 * [(None, None)],
        ]
        for before, after in itertools.pairwise(answers[2:]):
            assert ids(await page(harness, who, sort, 1, after["previous"])) == ids(before)
        assert ids(await page(harness, who, sort, 99)) == ids(answers[2]), "the last one that has a number"
