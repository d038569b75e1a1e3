"""Idempotency keys: a request under a key is carried out once, whatever state its repetitions find."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.database.idempotency import CommandResult
from services.chassis.errors import Problem
from services.comments.commands import moderating, posting
from services.contracts.comments import CreateComment
from tests.integration.comments_harness import ANN, BOB, Harness, refused, request_key


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    made = Harness(await new_database("services.chassis", "services.comments"))
    await made.publish_post()
    return made


def request(harness: Harness, body: str = "x", text: str = "k") -> Awaitable[CommandResult]:
    """Post a comment under a key."""
    key = request_key(ANN, text, body={"body": body})
    return posting.post_comment(next(harness.queues), ANN, harness.post_id, CreateComment(body=body), key)


async def test_a_repeated_request_returns_the_first_answer(harness: Harness) -> None:
    first = await request(harness)
    comment_id = first.representation["id"]
    assert (first.status, first.location, first.replayed) == (201, f"/v1/comments/{comment_id}", False)
    await harness.post_comment(BOB, comment_id)
    await harness.edit(comment_id, "Changed since")
    await harness.change_post(discussion="closed")
    again = await request(harness)
    assert again.representation == first.representation | {"version": 2}
    assert (again.status, again.location, again.replayed) == (201, first.location, True)
    assert await harness.count() == 2
    assert (await refused(request(harness, "something else"))).kind == "idempotency-key-reused"


async def test_a_refusal_does_not_keep_the_key(harness: Harness) -> None:
    await harness.change_post(discussion="closed")
    assert (await refused(request(harness))).kind == "discussion-closed"
    await harness.change_post(discussion="open")
    assert not (await request(harness)).replayed
    assert len(await harness.events()) == 1


async def test_concurrent_requests_with_one_key_store_one_comment(harness: Harness) -> None:
    outcomes = await asyncio.gather(*(request(harness) for _ in range(8)), return_exceptions=True)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(problem, Problem) and problem.kind == "still-running" for problem in refusals)
    assert all(isinstance(problem, Problem) and problem.headers == {"Retry-After": "1"} for problem in refusals)
    fresh = [outcome for outcome in outcomes if isinstance(outcome, CommandResult) and not outcome.replayed]
    assert len(fresh) == 1
    assert await harness.count() == 1


async def test_a_repeated_removal_is_replayed(harness: Harness) -> None:
    comment = await harness.post_comment()
    key = request_key(ANN, method="DELETE", path=f"/comments/{comment['id']}")
    first = await moderating.remove_comment(harness.db, ANN, UUID(comment["id"]), key)
    again = await moderating.remove_comment(harness.db, ANN, UUID(comment["id"]), key)
    assert (first.status, first.replayed) == (204, False)
    assert (again.status, again.replayed) == (204, True)
    other = request_key(ANN, method="DELETE", path=f"/comments/{uuid4()}")
    assert (await refused(moderating.remove_comment(harness.db, ANN, uuid4(), other))).kind == "idempotency-key-reused"


async def test_a_replay_does_not_show_the_text_of_a_removed_comment(harness: Harness) -> None:
    first = await request(harness, "rude")
    await harness.moderate(first.representation["id"], "reject")
    again = await request(harness, "rude")
    assert (again.representation["body"], again.representation["body_html"]) == (None, None)
    await harness.moderate(first.representation["id"], "restore")
    back = await request(harness, "rude")
    assert back.representation["body"] == "rude"
