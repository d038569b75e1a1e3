"""What readers do on the pages, over fake services: edit, remove, quote, preview, follow, leaf through comments."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from services.chassis.errors import Problem, invalid, not_found, unavailable
from services.contracts.event import rfc3339
from tests.integration.gateway_harness import ANNA, ID, SLUG, GatewayHarness, NewHarness, author
from tests.unit.gateway_fakes import answered, raw_comment

BEN = "01936f6e-0000-7000-8000-00000000000b"
PATH = f"/posts/{SLUG}"
OWN = {"Cookie": "rapport=good", "Origin": "http://rapport.test"}
TEXT = "Something <b>new</b> & *better*"


def mine(age_seconds: float = 170, **changes: Any) -> dict[str, Any]:
    """Return a comment by the viewer."""
    written = rfc3339(datetime.now(UTC) - timedelta(seconds=age_seconds))
    changes = {"author_id": ANNA, "body": "As *written*", "format": "markdown", "created_at": written} | changes
    return raw_comment(3, **changes)


MINE = mine()["id"]
EDIT, REMOVE = f"{PATH}/comments/{MINE}/edit", f"{PATH}/comments/{MINE}/remove"


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    harness = await new_harness()
    session = {"sid": str(uuid4()), "person": author(ANNA) | {"roles": ["reader"]}}
    harness.services.people.on("POST", "/sessions/check", session)
    harness.services.notify.on("GET", "/me/attention", {"unread": 0, "follows": False})
    harness.services.comments.on(
        "POST", "/preview", lambda call: {"body_html": f"<p>{html.escape(call.body['body'])}!</p>"}
    )
    stand(harness, mine())
    return harness


def stand(harness: GatewayHarness, comment: Any, **more: Any) -> None:
    """Let a comment stand in the discussion, or be refused by its service."""
    comments = harness.services.comments
    found = comment if isinstance(comment, Problem) else {"above": [], "comment": comment, "edit_window_seconds": 900}
    comments.on("GET", f"/comments/{MINE}/context", found)
    if not isinstance(comment, Problem):
        listed = {"items": [raw_comment(1), comment], "next": None, "edit_window_seconds": 900} | more
        comments.on("GET", f"/posts/{ID}/comments", listed)
        comments.on("PATCH", f"/comments/{MINE}", answered(comment | {"version": 2}))
        comments.on("DELETE", f"/comments/{MINE}", answered(None, 204))


async def get(harness: GatewayHarness, path: str) -> httpx2.Response:
    harness.http.cookies.clear()
    return await harness.get(path, **OWN)


async def post(harness: GatewayHarness, path: str, fields: dict[str, str], **headers: str) -> httpx2.Response:
    harness.http.cookies.clear()
    return await harness.http.post(path, data=fields, headers=OWN | headers)


def fields_of(page: str, action: str) -> dict[str, str]:
    """Return the hidden fields of a form."""
    found = re.search(rf'<form method="post" action="{re.escape(action)}"[^>]*>(.*?)</form>', page, re.DOTALL)
    assert found is not None, page
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', found[1]))


def text_of(page: str) -> str:
    found = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


async def test_only_ones_own_comment_can_be_edited_and_for_how_long_is_said(harness: GatewayHarness) -> None:
    page = (await get(harness, PATH)).text
    assert re.findall(r'href="([^"]*/(?:edit|remove))"', page) == [EDIT, REMOVE]
    assert "13 min left" in page
    stand(harness, mine(901))
    assert re.findall(r'href="([^"]*/(?:edit|remove))"', (await get(harness, PATH)).text) == [REMOVE]
    strangers = (await harness.http.get(PATH)).text
    assert not re.search(r"/edit|/remove|min left|Reply|Quote|own|Follow<", strangers)


async def test_a_comment_is_edited_and_shown_again(harness: GatewayHarness) -> None:
    page = await get(harness, f"{EDIT}?page=2")
    assert (page.status_code, text_of(page.text)) == (200, "As *written*")
    fields = fields_of(page.text, f"{EDIT}?page=2")
    done = await post(harness, f"{EDIT}?page=2", fields | {"body": TEXT})
    assert (done.status_code, done.headers["location"]) == (303, f"{PATH}?page=2&said={MINE}&done=edited#c-{MINE}")
    sent = harness.services.comments.last("PATCH", f"/comments/{MINE}")
    assert sent.body == {"body": TEXT}
    assert sent.headers["If-Match"] == '"1-form"'
    assert sent.headers["Idempotency-Key"] == fields["key"]
    shown = (await get(harness, done.headers["location"])).text
    assert "Your change is stored." in shown
    assert f'<article id="c-{MINE}" class="own" tabindex="-1"' in shown, "the focus can go there"


REFUSALS = [
    (invalid("body", "must have at most 10,000 characters"), 422),
    (Problem("edit-window-over"), 409),
    (Problem("stale"), 412),
    (Problem("still-running", headers={"Retry-After": "1"}), 409),
    (unavailable("Busy."), 503),
    (not_found(), 404),
]


@pytest.mark.parametrize(("problem", "status"), REFUSALS, ids=lambda one: getattr(one, "kind", ""))
async def test_a_refused_edit_comes_back_with_what_was_typed(
    harness: GatewayHarness, problem: Problem, status: int
) -> None:
    fields = fields_of((await get(harness, EDIT)).text, EDIT) | {"body": TEXT}
    harness.services.comments.on("PATCH", f"/comments/{MINE}", problem)
    for found in (mine(), not_found(), unavailable("Busy.")):
        stand(harness, found)
        harness.services.comments.on("PATCH", f"/comments/{MINE}", problem)
        answer = await post(harness, EDIT, fields)
        assert (answer.status_code, text_of(answer.text)) == (status, TEXT)
        assert 'role="alert"' in answer.text
        assert "<title>Error:" in answer.text
        assert (fields_of(answer.text, EDIT)["key"] == fields["key"]) == (problem.kind != "stale")


async def test_a_version_that_is_none_is_not_sent(harness: GatewayHarness) -> None:
    answer = await post(harness, EDIT, {"for": ANNA, "body": TEXT, "version": "0\nX: y-1"})
    assert answer.status_code == 303
    assert "If-Match" not in harness.services.comments.last("PATCH", f"/comments/{MINE}").headers


async def test_an_edit_of_somebody_who_is_signed_out_comes_back(harness: GatewayHarness) -> None:
    fields = fields_of((await get(harness, EDIT)).text, EDIT) | {"body": TEXT}
    harness.services.people.on("POST", "/sessions/check", not_found())
    answer = await post(harness, EDIT, fields, Cookie="rapport=ended")
    assert (answer.status_code, text_of(answer.text)) == (401, TEXT)
    assert "Sign in in a new tab" in answer.text


async def test_after_a_change_elsewhere_the_next_press_stores_it_all_the_same(harness: GatewayHarness) -> None:
    fields = fields_of((await get(harness, EDIT)).text, EDIT) | {"body": TEXT}
    stand(harness, mine(version=7))
    harness.services.comments.on("PATCH", f"/comments/{MINE}", Problem("stale"))
    again = fields_of((await post(harness, EDIT, fields)).text, EDIT)
    harness.services.comments.on("PATCH", f"/comments/{MINE}", answered(mine(version=8)))
    assert (await post(harness, EDIT, again | {"body": TEXT})).status_code == 303
    assert harness.services.comments.last("PATCH", f"/comments/{MINE}").headers["If-Match"] == '"7-form"'


async def test_a_comment_by_somebody_else_is_not_edited_or_removed(harness: GatewayHarness) -> None:
    stand(harness, mine(author_id=BEN))
    for path in (EDIT, REMOVE):
        assert (await get(harness, path)).status_code == 403
    assert (await post(harness, REMOVE, {"key": str(uuid4())})).status_code == 403
    assert harness.services.comments.count("DELETE", f"/comments/{MINE}") == 0
    assert (await get(harness, f"{PATH}/comments/none/edit")).status_code == 404
    assert (await harness.http.get(EDIT, headers={"Cookie": ""})).status_code == 401


async def test_a_comment_that_cannot_be_edited_any_more_says_so(harness: GatewayHarness) -> None:
    stand(harness, mine(1_000))
    page = await get(harness, EDIT)
    assert page.status_code == 409
    assert text_of(page.text) == "As *written*", "to be copied"
    assert ">Save<" not in page.text


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"parent_id": raw_comment(1)["id"], "depth": 1}, raw_comment(1)["id"]),
        ({"replies": [raw_comment(4)]}, MINE),
        ({}, None),
    ],
)
async def test_a_comment_is_removed_after_a_question(
    harness: GatewayHarness, changes: dict[str, Any], place: str | None
) -> None:
    stand(harness, mine(**changes))
    page = (await get(harness, REMOVE)).text
    assert mine()["body_html"] in page
    assert harness.services.comments.count("DELETE", f"/comments/{MINE}") == 0, "nothing is done by asking"
    fields = fields_of(page, REMOVE)
    done = await post(harness, REMOVE, fields)
    query, anchor = (f"said={place}&", f"c-{place}") if place else ("", "comments")
    assert (done.status_code, done.headers["location"]) == (303, f"{PATH}?{query}done=removed#{anchor}")
    assert harness.services.comments.last("DELETE", f"/comments/{MINE}").headers == {"Idempotency-Key": fields["key"]}
    shown = await get(harness, done.headers["location"])
    assert shown.status_code == 200
    assert "Your comment is removed." in shown.text
    stand(harness, not_found())
    assert (await post(harness, REMOVE, fields)).status_code == 303, "it is gone, as was asked for"


async def test_a_removal_that_fails_asks_again(harness: GatewayHarness) -> None:
    fields = fields_of((await get(harness, REMOVE)).text, REMOVE)
    harness.services.comments.on("DELETE", f"/comments/{MINE}", unavailable("Busy."))
    answer = await post(harness, REMOVE, fields)
    assert (answer.status_code, fields_of(answer.text, REMOVE)) == (503, fields)


async def test_another_tab_that_signed_in_somebody_else_changes_nothing(harness: GatewayHarness) -> None:
    for path in (EDIT, REMOVE):
        assert (await post(harness, path, {"for": BEN, "body": TEXT})).status_code == 409
    assert (await post(harness, f"{PATH}/follow", {"for": BEN, "follow": "yes"})).status_code == 409
    assert {call.method for call in harness.services.comments.calls} == {"GET"}


async def test_a_preview_shows_the_text_and_stores_nothing(harness: GatewayHarness) -> None:
    key = str(uuid4())
    fields = {"post_id": ID, "key": key, "for": ANNA, "body": TEXT, "preview": "1"}
    for path in (f"{PATH}/comments", EDIT):
        page = await post(harness, path, fields)
        assert (page.status_code, text_of(page.text)) == (200, TEXT)
        assert f"<p>{html.escape(TEXT)}!</p>" in page.text
        assert 'role="alert"' not in page.text
        assert 'href="?' not in page.text, "its address is another one than that of the discussion"
        assert fields_of(page.text, path)["key"] == key
    assert harness.services.comments.count("POST", f"/posts/{ID}/comments") == 0
    harness.services.comments.on("POST", "/preview", invalid("body", "must not be empty"))
    assert (await post(harness, f"{PATH}/comments", fields)).status_code == 422


async def test_a_quotation_is_put_into_the_reply(harness: GatewayHarness) -> None:
    quoted = raw_comment(1, body_html="<p>One &amp; <em>two</em>.<br>Three.</p>")
    harness.services.comments.on("GET", f"/posts/{ID}/comments", {"items": [quoted], "next": None})
    page = (await get(harness, f"{PATH}?quote={quoted['id']}")).text
    assert text_of(page) == "> One & two.\n> Three.\n\n"
    assert fields_of(page, f"{PATH}/comments")["parent_id"] == quoted["id"]
    assert "autofocus" in page
    assert "textarea" not in (await harness.http.get(f"{PATH}?quote={quoted['id']}")).text


async def test_a_discussion_is_followed_and_left(harness: GatewayHarness) -> None:
    path = f"/me/follows/{ID}"
    for method in ("PUT", "DELETE"):
        harness.services.notify.on(method, path, answered(None, 204))
    page = (await get(harness, PATH)).text
    assert 'name="follow" value="yes">Follow<' in page
    harness.services.notify.on("GET", "/me/attention", {"unread": 0, "follows": True})
    done = await post(harness, f"{PATH}/follow?page=2", {"for": ANNA, "follow": "yes"})
    assert (done.status_code, done.headers["location"]) == (303, f"{PATH}?page=2&done=followed#follow")
    page = (await get(harness, done.headers["location"])).text
    assert 'name="follow" value="no">Unfollow<' in page, "it is not remembered from before"
    assert (await post(harness, f"{PATH}/follow", {"for": ANNA, "follow": "no"})).status_code == 303
    assert [harness.services.notify.count(method, path) for method in ("PUT", "DELETE")] == [1, 1]
    old = {"for": ANNA, "follow": "yes"}  # from a page that was opened before its post got another address
    harness.services.posts.on("GET", "/posts/before", harness.services.posts.replies["GET", f"/posts/{SLUG}"])
    done = await post(harness, "/posts/before/follow", old)
    assert (done.status_code, done.headers["location"]) == (303, f"{PATH}?done=followed#follow")
    assert harness.services.notify.count("PUT", path) == 2
    harness.services.notify.away = True
    assert (await post(harness, f"{PATH}/follow", {"for": ANNA, "follow": "no"})).status_code == 503


@pytest.mark.parametrize("done", ["removed", "followed", "unfollowed"])
async def test_what_an_address_says_was_done_is_told_to_those_for_whom_it_is_true(
    harness: GatewayHarness, done: str
) -> None:
    harness.http.cookies.clear()
    assert 'role="status">You' not in (await harness.get(f"{PATH}?done={done}")).text
    harness.services.notify.on("GET", "/me/attention", {"unread": 0, "follows": done == "unfollowed"})
    assert ('role="status">You' in (await get(harness, f"{PATH}?done={done}")).text) == (done == "removed")


async def test_pages_have_numbers_and_an_order(harness: GatewayHarness) -> None:
    stand(harness, mine(), next="behind", page=2, pages=9, previous=None)
    page = (await get(harness, f"{PATH}?sort=newest&page=2")).text
    asked = harness.services.comments.last("GET", f"/posts/{ID}/comments").params
    assert asked == {"sort": "newest", "page": "2", "limit": "35"}
    below = page[page.rindex("<nav") :]
    links = re.findall(r'<a (?:rel="(\w+)" )?href="([^"]+)"', below[: below.index("</nav>")])
    assert links == [
        ("prev", "?sort=newest#comments"),
        ("", "?sort=newest#comments"),
        ("", "?sort=newest&amp;page=3#comments"),
        ("", "?sort=newest&amp;page=9#comments"),
        ("next", "?sort=newest&amp;comments=behind#comments"),
    ]
    assert '<strong aria-current="page">2</strong>' in below
    assert ">Later comments</a>" in below[: below.index("<ol")], "the newest come first"
    assert f'href="{EDIT}?page=2&amp;sort=newest"' in page, "it leads back to this page"


async def test_pages_that_everybody_sees_are_kept_once(harness: GatewayHarness) -> None:
    asked = harness.services.comments
    for query in ("", "?page=2", "?sort=newest&page=3", "?comments=behind"):
        before = asked.count("GET", f"/posts/{ID}/comments")
        first, again = [await harness.http.get(PATH + query) for _ in range(2)]
        assert first.content == again.content
        assert asked.count("GET", f"/posts/{ID}/comments") == before + 1, query
