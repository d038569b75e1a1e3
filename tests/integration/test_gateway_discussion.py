"""What the author of a post changed in its discussion holds when the answer says so."""

import asyncio
import time
from typing import Any

import pytest

from services.chassis.errors import Problem, unavailable
from services.gateway.composition.comment_views import DISCUSSION_SECONDS
from tests.integration.gateway_harness import ID, SLUG, GatewayHarness, NewHarness, kind
from tests.unit.gateway_fakes import Call, raw_post

WAITS = (
    ("PATCH", "", {"discussion": "held"}),
    ("PATCH", "", {"title": "x", "discussion": "closed"}),
    ("POST", "/withdraw", None),
)
DOES_NOT_WAIT = (("PATCH", "", {"title": "x"}), ("POST", "/publish", None))
VERSION_PATH = f"/posts/{ID}/version"


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    harness = await new_harness()
    for method, rest, _ in (*WAITS, *DOES_NOT_WAIT):
        harness.services.posts.on(method, f"/posts/{ID}{rest}", raw_post(version=5))
    return harness


async def send(harness: GatewayHarness, method: str, rest: str, body: Any, ref: str = ID) -> Any:
    return await harness.http.request(method, f"/v1/posts/{ref}{rest}", json=body, headers=harness.anna)


@pytest.mark.parametrize("ref", [ID, ID.upper(), SLUG])
@pytest.mark.parametrize(("method", "rest", "body"), WAITS)
async def test_the_answer_waits_until_comments_has_the_version(
    harness: GatewayHarness, method: str, rest: str, body: Any, ref: str
) -> None:
    known = [None, 3, 4, 5]
    harness.services.comments.on("GET", VERSION_PATH, lambda _: {"version": known.pop(0)})
    answer = await send(harness, method, rest, body, ref)
    assert (answer.status_code, known) == (200, [])
    assert "unavailable" not in answer.json()


@pytest.mark.parametrize(("method", "rest", "body"), DOES_NOT_WAIT)
async def test_other_changes_do_not_wait(harness: GatewayHarness, method: str, rest: str, body: Any) -> None:
    assert (await send(harness, method, rest, body)).status_code == 200
    assert harness.services.comments.count("GET", VERSION_PATH) == 0


async def test_a_later_version_will_do(harness: GatewayHarness) -> None:
    harness.services.comments.on("GET", VERSION_PATH, {"version": 6})
    assert "unavailable" not in (await send(harness, *WAITS[0])).json()
    assert harness.services.comments.count("GET", VERSION_PATH) == 1


@pytest.mark.parametrize(
    ("reply", "missing"),
    [
        ({"version": 4}, ["discussion"]),
        (unavailable("It is away."), ["discussion", "comment_count"]),
        (Problem("internal"), ["discussion", "comment_count"]),
        (None, ["discussion", "comment_count"]),
    ],
)
async def test_after_two_seconds_the_discussion_is_named_as_missing(
    harness: GatewayHarness, reply: Any, missing: list[str]
) -> None:
    harness.services.comments.on("GET", VERSION_PATH, reply)
    began = time.monotonic()
    answer = await send(harness, *WAITS[0])
    assert time.monotonic() - began < DISCUSSION_SECONDS + 2
    assert (answer.status_code, answer.json()["unavailable"]) == (200, missing)
    assert answer.json()["discussion"] == "open", "the post itself is as posts says"


async def hang(call: Call) -> Problem:
    """Answer as the client does to a service that is silent until the deadline."""
    await asyncio.sleep(call.deadline - time.monotonic())
    return unavailable("It took too long.")


@pytest.mark.parametrize("known", [hang, {"version": 4}, {"version": 5}])
async def test_comments_that_answers_no_more_delays_the_answer_by_two_seconds_at_most(
    harness: GatewayHarness, known: Any
) -> None:
    harness.services.comments.on("GET", VERSION_PATH, known)
    harness.services.comments.on("POST", "/counts", hang)
    began = time.monotonic()
    answer = await send(harness, *WAITS[0])
    assert time.monotonic() - began < DISCUSSION_SECONDS + 2, "a write has 5 s, which it must not take"
    assert "comment_count" in answer.json()["unavailable"]
    assert answer.json()["author"]["name"], "names have a moment left"
    assert (known is hang) == (harness.services.comments.count("POST", "/counts") == 0)


async def test_a_refusal_is_not_waited_for(harness: GatewayHarness) -> None:
    harness.services.posts.on("POST", f"/posts/{ID}/withdraw", Problem("wrong-state", "It is a draft."))
    answer = await send(harness, "POST", "/withdraw", None)
    assert (answer.status_code, kind(answer)) == (409, "wrong-state")
    assert harness.services.comments.calls == []
