"""The moderators' queue over fake services: who may see it, what is decided, and what comes back if that is refused."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from services.chassis.errors import Problem
from services.chassis.identity import Signer
from tests.integration.gateway_harness import ANNA, ID, SLUG, GatewayHarness, harnesses
from tests.unit.gateway_fakes import answered, raw_comment

PARENT = raw_comment(1)
WAITING = [raw_comment(number, state="held", parent_id=PARENT["id"] if number == 2 else None) for number in (2, 3, 4)]
IDS = [item["id"] for item in WAITING]


@pytest.fixture
async def harness(keys: dict[str, str], redis_url: str) -> AsyncIterator[GatewayHarness]:
    async with harnesses(keys, redis_url) as make:
        made = await make()
        token = Signer(keys["PEOPLE_SIGNING_KEY"], "people").token(
            "rapport", UUID(ANNA), ["moderator"], 900, session_id=uuid4()
        )
        made.author, made.anna = made.anna, {"Authorization": f"Bearer {token}"}  # type: ignore[attr-defined]
        made.services.comments.on("GET", "/comments", {"items": WAITING, "next": "later"})
        made.services.comments.on("POST", "/comments/lookup", {"items": [PARENT]})
        posts = {"items": [{"id": ID, "status": "published", "slug": SLUG, "title": "On <beans>"}]}
        made.services.posts.on("POST", "/posts/lookup", posts)
        for item in WAITING:
            for step in ("approve", "reject"):
                made.services.comments.on("POST", f"/comments/{item['id']}/{step}", lambda _, item=item: answered(item))
        yield made


def decided(harness: GatewayHarness) -> list[str]:
    return [call.path for call in harness.services.comments.calls if call.path.endswith(("/approve", "/reject"))]


async def test_only_moderators_see_it(harness: GatewayHarness) -> None:
    assert (await harness.get("/moderate")).status_code == 401
    author = harness.author  # type: ignore[attr-defined]
    for answer in (
        await harness.get("/moderate", **author),
        await harness.http.post("/moderate", data={"step": f"approve {IDS[0]}"}, headers=author),
    ):
        assert answer.status_code == 403
    assert decided(harness) == []


async def test_what_waits_is_shown_with_what_it_answers(harness: GatewayHarness) -> None:
    page = (await harness.get("/moderate", **harness.anna)).text
    assert page.count("<article") == 3
    assert page.count("<details>") == 1
    assert "On &lt;beans&gt;" in page
    assert f'href="/posts/{SLUG}?comment={IDS[0]}#c-{IDS[0]}"' in page
    assert "/moderate?cursor=later" in page
    call = harness.services.comments.last("GET", "/comments")
    assert call.params["state"] == "held"


@pytest.mark.parametrize(("step", "said"), [("approve", "approved"), ("reject", "rejected")])
async def test_one_is_decided_by_its_button(harness: GatewayHarness, step: str, said: str) -> None:
    done = await harness.http.post(
        "/moderate", data={"for": ANNA, "step": f"{step} {IDS[1]}", f"comment-{IDS[0]}": "1"}, headers=harness.anna
    )
    assert (done.status_code, done.headers["location"]) == (303, f"/moderate?{said}=1")
    assert decided(harness) == [f"/comments/{IDS[1]}/{step}"]
    assert f"1 comment was {said}." in (await harness.get(f"/moderate?{said}=1", **harness.anna)).text


async def test_several_are_decided_at_once(harness: GatewayHarness) -> None:
    form = {"for": ANNA, "step": "reject", f"comment-{IDS[0]}": "1", f"comment-{IDS[2]}": "1"}
    done = await harness.http.post("/moderate", data=form, headers=harness.anna)
    assert done.headers["location"] == "/moderate?rejected=2"
    assert decided(harness) == [f"/comments/{one}/reject" for one in (IDS[0], IDS[2])]


async def test_one_that_is_refused_stops_no_other_and_is_said(harness: GatewayHarness) -> None:
    harness.services.comments.on("POST", f"/comments/{IDS[0]}/approve", Problem("wrong-state", "It was removed."))
    form = {"for": ANNA, "step": "approve", f"comment-{IDS[0]}": "1", f"comment-{IDS[1]}": "1"}
    answer = await harness.http.post("/moderate", data=form, headers=harness.anna)
    assert answer.status_code == 409
    assert "It was removed." in answer.text
    assert answer.text.count(" checked") == 2
    assert decided(harness) == [f"/comments/{one}/approve" for one in IDS[:2]]


@pytest.mark.parametrize(
    "form", [{"step": "approve"}, {"step": "burn", f"comment-{IDS[0]}": "1"}, {}, {"step": "approve x"}]
)
async def test_a_form_without_a_choice_says_what_is_missing(harness: GatewayHarness, form: dict[str, str]) -> None:
    answer = await harness.http.post("/moderate", data={"for": ANNA} | form, headers=harness.anna)
    assert (answer.status_code, 'role="alert"' in answer.text) == (422, True)
    assert decided(harness) == []


async def test_a_form_of_somebody_else_decides_nothing(harness: GatewayHarness) -> None:
    form = {"for": str(uuid4()), "step": f"approve {IDS[0]}"}
    assert (await harness.http.post("/moderate", data=form, headers=harness.anna)).status_code == 409
    assert decided(harness) == []


async def test_an_empty_queue_is_no_dead_end(harness: GatewayHarness) -> None:
    harness.services.comments.on("GET", "/comments", {"items": [], "next": None})
    page = (await harness.get("/moderate", **harness.anna)).text
    assert "Nothing waits." in page
    assert '<a href="/">' in page
