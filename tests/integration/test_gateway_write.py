"""The pages on which authors write, over fake services: what is sent, and how a refused form comes back."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.errors import Problem, invalid, unavailable
from services.chassis.identity import Signer
from tests.integration.gateway_harness import ANNA, ID, POST, SLUG, GatewayHarness, harnesses
from tests.unit.gateway_fakes import answered

KEY = "01936f6e-0000-7000-8000-0000000000ff"
FORM = {"for": ANNA, "key": KEY, "title": "On <beans>", "body": "Sow *them*.\r\nNow.", "slug": "", "discussion": "held"}


@pytest.fixture
async def harness(keys: dict[str, str], redis_url: str) -> AsyncIterator[GatewayHarness]:
    async with harnesses(keys, redis_url) as make:
        made = await make()
        made.services.posts.on("POST", "/posts", lambda _: answered(POST | {"status": "draft"}, 201))
        made.services.posts.on("PATCH", f"/posts/{ID}", lambda _: answered(POST))
        for step in ("publish", "withdraw"):
            made.services.posts.on("POST", f"/posts/{ID}/{step}", lambda _: answered(POST))
        made.services.comments.on("GET", f"/posts/{ID}/version", {"epoch": 0, "version": 99})
        yield made


async def sent(harness: GatewayHarness, path: str, **changes: str) -> Any:
    return await harness.http.post(path, data=FORM | changes, headers=harness.anna)


async def test_only_authors_write(harness: GatewayHarness, keys: dict[str, str]) -> None:
    assert (await harness.get("/write")).status_code == 401
    token = Signer(keys["PEOPLE_SIGNING_KEY"], "people").token("rapport", UUID(ANNA), [], 900, session_id=uuid4())
    reader = {"Authorization": f"Bearer {token}"}
    assert (await harness.get("/write", **reader)).status_code == 403
    refused = await harness.http.post("/write", data=FORM | {"step": "publish"}, headers=reader)
    assert refused.status_code == 403
    assert "Sow *them*." in refused.text
    assert harness.services.posts.count("POST", "/posts") == 0


@pytest.mark.parametrize(("step", "publish"), [("publish", True), ("save", False), ("", False)])
async def test_a_post_is_stored_as_its_button_says(harness: GatewayHarness, step: str, publish: bool) -> None:
    done = await sent(harness, "/write", step=step)
    assert done.status_code == 303
    assert done.headers["location"] == (f"/posts/{SLUG}" if publish else f"/posts/{SLUG}/edit?done=saved")
    call = harness.services.posts.last("POST", "/posts")
    assert call.body == {"title": "On <beans>", "body": "Sow *them*.\nNow.", "discussion": "held", "publish": publish}
    assert call.headers == {"Idempotency-Key": KEY}
    await sent(harness, "/write", slug=" beans ")
    assert harness.services.posts.last("POST", "/posts").body["slug"] == "beans"


@pytest.mark.parametrize(
    ("problem", "status", "says"),
    [
        (invalid("slug", "is taken"), 422, "The address is taken."),
        (invalid("title", "must show something"), 422, "The title must show something."),
        (unavailable("Busy."), 503, "Press the button again in a moment."),
        (Problem("too-many-requests", headers={"Retry-After": "7"}), 429, "in 7 seconds"),
    ],
)
async def test_a_refused_post_comes_back_whole(
    harness: GatewayHarness, problem: Problem, status: int, says: str
) -> None:
    harness.services.posts.on("POST", "/posts", problem)
    refused = await sent(harness, "/write", slug="beans", step="publish")
    assert refused.status_code == status
    assert says in refused.text
    assert 'value="On &lt;beans&gt;"' in refused.text
    assert "Sow *them*.\nNow.</textarea>" in refused.text
    assert 'value="beans"' in refused.text
    assert 'value="held" selected' in refused.text
    assert f'value="{KEY}"' in refused.text


async def test_the_longest_text_is_taken_and_a_longer_one_comes_back(harness: GatewayHarness) -> None:
    longest = "각" * 60_000  # nine bytes each in the form
    assert (await sent(harness, "/write", body=longest)).status_code == 303
    assert harness.services.posts.last("POST", "/posts").body["body"] == longest
    refused = await sent(harness, "/write", body="각" * 200_000)
    assert (refused.status_code, "각각각</textarea>" in refused.text) == (413, True)


async def test_an_edit_is_stored_for_the_version_that_was_opened(harness: GatewayHarness) -> None:
    page = (await harness.get(f"/posts/{SLUG}/edit", **harness.anna)).text
    assert f'name="version" value="0-{POST["version"]}"' in page
    assert ">Saved.</p>" in (await harness.get(f"/posts/{SLUG}/edit?done=saved", **harness.anna)).text
    done = await sent(harness, f"/write/{ID}", version="0-3", step="update", edit_note="When.")
    assert (done.status_code, done.headers["location"]) == (303, f"/posts/{SLUG}")
    call = harness.services.posts.last("PATCH", f"/posts/{ID}")
    assert call.headers == {"If-Match": '"3-form"'}
    assert call.body == {"title": "On <beans>", "body": "Sow *them*.\nNow.", "discussion": "held", "edit_note": "When."}
    await sent(harness, f"/write/{ID}", version="1700-3", step="update")
    assert harness.services.posts.last("PATCH", f"/posts/{ID}").headers == {"If-Match": '"3-e1700-form"'}


async def test_a_stale_edit_comes_back_and_may_overwrite(harness: GatewayHarness) -> None:
    harness.services.posts.on("PATCH", f"/posts/{ID}", Problem("stale"))
    refused = await sent(harness, f"/write/{ID}", version="0-3", step="update")
    assert refused.status_code == 412
    assert "changed meanwhile" in refused.text
    assert 'value="overwrite"' in refused.text
    assert "Sow *them*." in refused.text
    harness.services.posts.on("PATCH", f"/posts/{ID}", lambda _: answered(POST))
    assert (await sent(harness, f"/write/{ID}", version="0-3", step="overwrite")).status_code == 303
    assert harness.services.posts.last("PATCH", f"/posts/{ID}").headers == {}


@pytest.mark.parametrize("step", ["publish", "withdraw"])
async def test_a_post_is_published_and_withdrawn_with_its_edit(harness: GatewayHarness, step: str) -> None:
    assert (await sent(harness, f"/write/{ID}", version="0-3", step=step)).status_code == 303
    assert [call.path for call in harness.services.posts.calls if call.method in ("PATCH", "POST")][-2:] == [
        f"/posts/{ID}", f"/posts/{ID}/{step}"
    ]  # fmt: skip


async def test_nothing_is_stored_for_somebody_else_or_by_a_made_up_choice(harness: GatewayHarness) -> None:
    assert (await sent(harness, "/write", **{"for": str(uuid4())})).status_code == 409
    assert (await sent(harness, "/write", discussion="shouting")).status_code == 422
    assert (await sent(harness, "/write/x")).status_code == 404
    assert harness.services.posts.count("POST", "/posts") == 0


async def test_ones_posts_are_listed_by_status(harness: GatewayHarness) -> None:
    page = (await harness.get("/me/posts?status=published", **harness.anna)).text
    assert f'href="/posts/{SLUG}/edit"' in page
    assert 'aria-current="page">Published' in page
    assert harness.services.posts.last("GET", "/posts").params == {"status": "published", "author": "me"}
    assert (await harness.get("/me/posts?status=secret", **harness.anna)).status_code == 404
