"""A request under a key happens once, whatever its repetitions meet."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.errors import Problem
from services.comments import commands
from services.contracts.comments import CreateComment
from tests.integration.comments_harness import ANN, BOB, House, refused, request_key


@pytest.fixture
async def house(new_database: Callable[..., Awaitable[Any]]) -> House:
    made = House(await new_database("services.chassis", "services.comments"))
    await made.post()
    return made


def posting(house: House, body: str = "x", text: str = "k") -> Awaitable[commands.Done]:
    key = request_key(ANN, text, body={"body": body})
    return commands.post_comment(house.db, ANN, house.post_id, CreateComment(body=body), key)


async def test_a_repetition_answers_the_first_time(house: House) -> None:
    first = await posting(house)
    assert first.representation is not None
    comment_id = first.representation["id"]
    assert (first.status, first.location, first.replayed) == (201, f"/v1/comments/{comment_id}", False)
    await house.say(BOB, comment_id)
    await house.edit(comment_id, "Changed since")
    await house.change_post(discussion="closed")
    again = await posting(house)
    assert again.representation == first.representation | {"version": 2}
    assert (again.status, again.location, again.replayed) == (201, first.location, True)
    assert await house.count() == 2
    assert (await refused(posting(house, "something else"))).kind == "idempotency-key-reused"


async def test_a_refusal_leaves_nothing_behind(house: House) -> None:
    await house.change_post(discussion="closed")
    assert (await refused(posting(house))).kind == "discussion-closed"
    await house.change_post(discussion="open")
    assert not (await posting(house)).replayed
    assert len(await house.events()) == 1


async def test_many_at_once_happen_once(house: House) -> None:
    outcomes = await asyncio.gather(*(posting(house) for _ in range(8)), return_exceptions=True)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(problem, Problem) and problem.kind == "still-running" for problem in refusals)
    assert all(isinstance(problem, Problem) and problem.headers == {"Retry-After": "1"} for problem in refusals)
    fresh = [outcome for outcome in outcomes if isinstance(outcome, commands.Done) and not outcome.replayed]
    assert len(fresh) == 1
    assert await house.count() == 1


async def test_removal_is_kept_too(house: House) -> None:
    comment = await house.say()
    key = request_key(ANN, method="DELETE", path=f"/comments/{comment['id']}")
    first = await commands.remove_comment(house.db, ANN, UUID(comment["id"]), key)
    again = await commands.remove_comment(house.db, ANN, UUID(comment["id"]), key)
    assert (first.status, first.replayed) == (204, False)
    assert (again.status, again.replayed) == (204, True)
    other = request_key(ANN, method="DELETE", path=f"/comments/{uuid4()}")
    assert (await refused(commands.remove_comment(house.db, ANN, uuid4(), other))).kind == "idempotency-key-reused"


async def test_what_a_moderator_removed_is_not_read_through_a_key(house: House) -> None:
    first = await posting(house, "rude")
    assert first.representation is not None
    await house.moderate(first.representation["id"], "reject")
    again = await posting(house, "rude")
    assert again.representation is not None
    assert (again.representation["body"], again.representation["body_html"]) == (None, None)
    await house.moderate(first.representation["id"], "restore")
    back = await posting(house, "rude")
    assert back.representation is not None
    assert back.representation["body"] == "rude"
