"""The page of a post's changes, over fake services: what it shows to whom, and how a text is taken away."""

import re
from html.parser import HTMLParser
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.errors import Problem, invalid, not_found
from services.chassis.identity import Signer
from services.gateway.pages.changes import MOST_SHOWN
from tests.integration.gateway_harness import ANNA, ID, POST, SLUG, GatewayHarness, NewHarness
from tests.unit.gateway_fakes import Call, answered, raw_comment

PATH = f"/posts/{SLUG}/changes"
KEY = "01936f6e-0000-7000-8000-0000000000ff"
PRESENT = 3
NOTES: dict[int, str | None] = {1: None, 2: "The <b>month</b>", 3: None}


def revision(number: int, **changes: Any) -> dict[str, Any]:
    at = f"2026-11-2{number}T04:35:00.000Z"
    return {"revision": number, "title": "On beans", "edit_note": NOTES[number], "created_at": at} | changes


def compared(call: Call) -> dict[str, Any]:
    number, against = int(call.path.rpartition("/")[2]), call.params.get("against")
    diff = [
        {"op": "equal", "text": "Sow <them> in "},
        {"op": "delete", "text": f"May {against}"},
        {"op": "insert", "text": f"June {number}"},
        {"op": "equal", "text": ".\n" + "And wait.\n" * 40 + "Then "},
        {"op": "insert", "text": "\n"},
    ]
    shown = revision(number, title=f"Title {number}", body="whole")
    return shown | ({"diff": diff} if against else {})


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    made = await new_harness()
    posts = made.services.posts
    for ref in (ID, SLUG):
        posts.on("GET", f"/posts/{ref}", POST | {"revision": PRESENT})
    listed = [revision(number) for number in (3, 2, 1)]
    posts.on("GET", f"/posts/{ID}/revision-notes", {"items": listed, "next": None})
    for number in (1, 2, 3):
        posts.on("GET", f"/posts/{ID}/revisions/{number}", compared)
    posts.on("DELETE", f"/posts/{ID}/revisions/1", lambda _: answered(None, 204))
    return made


class Heard(HTMLParser):
    """What a page says, and the words inside of certain elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.within: dict[str, list[str]] = {"ins": [], "del": [], "summary": []}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag in self.within:
            self.within[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag, said in self.within.items():
            if tag in self.open:
                said[-1] += data


@pytest.mark.parametrize(("kind", "back"), [("post", "Back to the post"), ("page", "Back to the page")])
async def test_the_way_back_is_named_after_what_it_leads_to(harness: GatewayHarness, kind: str, back: str) -> None:
    harness.services.posts.on("GET", f"/posts/{SLUG}", POST | {"revision": PRESENT, "kind": kind})
    assert f'<a href="/posts/{SLUG}">{back}</a>' in (await harness.get(PATH)).text


async def test_the_newest_change_is_shown_and_said_and_what_stayed_is_folded(harness: GatewayHarness) -> None:
    shown = await harness.get(PATH)
    assert shown.status_code == 200
    said = Heard(shown.text).within
    assert said["del"] == ["[removed: Title 2]", "[removed: May 2]"]
    assert said["ins"] == ["[added: Title 3]", "[added: June 3]", "[added: ↵\n]"]
    assert said["summary"] == ["36 unchanged lines"]
    assert "Sow &lt;them&gt; in <del>" in shown.text
    assert shown.text.count('<ins class="instead">') == 1, "the others stand in place of nothing"
    assert "The &lt;b&gt;month&lt;/b&gt;" in shown.text
    assert '<meta name="robots" content="noindex">' in shown.text
    assert f'<link rel="canonical" href="http://rapport.test/posts/{SLUG}/changes">' in shown.text
    assert 'name="revision"' not in shown.text
    text = "".join(re.findall(r'<div class="difference" dir="auto">(.*?)</div>', shown.text, re.DOTALL))
    assert text.count("And wait.\n") == 40, "folded, but there"


@pytest.mark.parametrize(
    ("query", "old", "new"),
    [
        ("", 2, 3),
        ("?from=1&to=2", 1, 2),
        ("?from=1", 1, 3),
        ("?to=2", 1, 2),
        ("?from=3&to=1", 1, 3),
        ("?from=2&to=2", 2, 2),
        ("?to=1", 1, 1),
    ],
)
async def test_any_two_revisions_are_compared(harness: GatewayHarness, query: str, old: int, new: int) -> None:
    shown = await harness.get(PATH + query)
    assert shown.status_code == 200
    assert f"From revision {old} to revision {new}" in shown.text
    assert harness.services.posts.last("GET", f"/posts/{ID}/revisions/{new}").params.get("against") in (str(old), None)


@pytest.mark.parametrize("query", ["?from=0", "?from=x&to=2", "?from=1&to=4", "?to=99999999999", "?from=-1", "?from=²"])
async def test_a_revision_that_is_not_there_leads_to_those_that_are(harness: GatewayHarness, query: str) -> None:
    for number in (4, 2**31 - 1, 2**31 - 2):
        harness.services.posts.on("GET", f"/posts/{ID}/revisions/{number}", not_found())
    harness.services.posts.on(
        "GET",
        f"/posts/{ID}/revisions/3",
        lambda call: compared(call) if call.params.get("against") == "2" else invalid("against", "is none"),
    )
    shown = await harness.get(PATH + query)
    assert shown.status_code == 404
    assert "One of these revisions is not there" in shown.text
    assert "What changed" in shown.text


async def test_it_is_for_those_who_may_see_the_post_and_leads_to_its_slug(harness: GatewayHarness) -> None:
    harness.services.posts.on("GET", "/posts/former", POST)
    moved = await harness.get("/posts/former/changes?from=1&to=2")
    assert (moved.status_code, moved.headers["location"]) == (301, f"{PATH}?from=1&to=2")
    harness.services.posts.on("GET", "/posts/hidden", not_found())
    assert (await harness.get("/posts/hidden/changes")).status_code == 404


async def test_a_post_that_was_not_changed_says_so(harness: GatewayHarness) -> None:
    harness.services.posts.on("GET", f"/posts/{SLUG}", POST | {"revision": 1})
    harness.services.posts.on("GET", f"/posts/{ID}/revision-notes", {"items": [revision(1)], "next": None})
    shown = await harness.get(PATH)
    assert "The text was not changed since it was published." in shown.text
    assert harness.services.posts.count("GET", f"/posts/{ID}/revisions/1") == 0


async def test_what_was_taken_away_or_is_too_long_is_said(harness: GatewayHarness) -> None:
    posts = harness.services.posts
    posts.on("GET", f"/posts/{ID}/revision-notes", {"items": [revision(3), revision(2, title=None)], "next": "older"})
    posts.on("GET", f"/posts/{ID}/revisions/2", revision(2, title=None, body=None))
    posts.on("GET", f"/posts/{ID}/revisions/3", lambda call: compared(call) | ({"diff": None} if call.params else {}))
    shown = await harness.http.get(PATH, headers=harness.anna)
    assert "One of the two texts was taken away" in shown.text
    assert "This text was taken away." in shown.text
    assert "Take it away" not in shown.text, "neither the present text nor what is gone"
    assert f'href="{PATH}?cursor=older"' in shown.text
    long = [{"op": "insert", "text": "x" * (MOST_SHOWN + 1)}]
    posts.on("GET", f"/posts/{ID}/revisions/2", compared)
    posts.on("GET", f"/posts/{ID}/revisions/3", lambda call: compared(call) | ({"diff": long} if call.params else {}))
    shown = await harness.get(f"{PATH}?from=2")
    assert "too long to be compared here" in shown.text
    assert len(shown.text) < 20_000


def signed(keys: dict[str, str], person: str, *roles: str) -> dict[str, str]:
    token = Signer(keys["PEOPLE_SIGNING_KEY"], "people").token("rapport", UUID(person), roles, 900, session_id=uuid4())
    return {"Authorization": f"Bearer {token}"}


async def test_its_author_takes_a_text_away(harness: GatewayHarness, keys: dict[str, str]) -> None:
    shown = await harness.http.get(PATH, headers=harness.anna)
    forms = re.findall(r'name="revision" value="(\d)"', shown.text)
    assert forms == ["2", "1"], "the present text has none"
    assert len(set(re.findall(r'name="key" value="(.*?)"', shown.text))) == 2
    for who, offered in (
        (signed(keys, str(uuid4()), "author", "moderator"), 0),
        (signed(keys, str(uuid4()), "admin"), 2),
    ):
        assert (await harness.http.get(PATH, headers=who)).text.count('name="revision"') == offered
    form = {"for": ANNA, "key": KEY, "revision": "1"}
    done = await harness.http.post(f"/posts/{ID}/changes", data=form, headers=harness.anna)
    assert (done.status_code, done.headers["location"]) == (303, f"{PATH}?blanked=1")
    assert harness.services.posts.last("DELETE", f"/posts/{ID}/revisions/1").headers == {"Idempotency-Key": KEY}
    before = await harness.http.get(f"{PATH}?blanked=1", headers=harness.anna)
    assert "was taken away" not in before.text, "an address alone says nothing"
    listed = [revision(3), revision(2), revision(1, title=None)]
    harness.services.posts.on("GET", f"/posts/{ID}/revision-notes", {"items": listed, "next": None})
    after = await harness.http.get(f"{PATH}?blanked=1", headers=harness.anna)
    assert "The text of revision 1 was taken away." in after.text


@pytest.mark.parametrize(
    ("problem", "form", "status", "says"),
    [
        (Problem("wrong-state", "This is the present text."), {}, 409, "This is the present text."),
        (Problem("forbidden", "Only its author."), {}, 403, "Only its author."),
        (None, {"revision": "x"}, 422, "Press one of the buttons"),
        (None, {"for": str(uuid4())}, 409, "opened by somebody else"),
    ],
)
async def test_what_forbids_it_is_said_on_the_page(
    harness: GatewayHarness, problem: Problem | None, form: dict[str, str], status: int, says: str
) -> None:
    if problem is not None:
        harness.services.posts.on("DELETE", f"/posts/{ID}/revisions/1", problem)
    sent = {"for": ANNA, "key": KEY, "revision": "1"} | form
    refused = await harness.http.post(f"/posts/{ID}/changes", data=sent, headers=harness.anna)
    assert refused.status_code == status
    assert says in refused.text
    assert 'role="alert"' in refused.text
    assert "<title>Error: Changes to" in refused.text
    assert (await harness.http.post(f"/posts/{ID}/changes", data=sent)).status_code == 401


async def test_comments_from_before_an_edit_lead_to_what_changed(harness: GatewayHarness) -> None:
    comments = [raw_comment(number, answered_revision=read) for number, read in ((1, 1), (2, 3), (3, None))]
    harness.services.comments.on("GET", f"/posts/{ID}/comments", {"items": comments, "next": None})
    shown = await harness.get(f"/posts/{SLUG}")
    assert shown.text.count("about an earlier version") == 1
    assert f'href="{PATH}?from=1&amp;to=3#difference"' in shown.text.replace("&to", "&amp;to")


async def test_comparisons_are_counted_and_lists_are_not(new_harness: NewHarness, keys: dict[str, str]) -> None:
    made = await new_harness(rate_limits="on")
    made.services.posts.on("GET", f"/posts/{SLUG}", POST | {"revision": 2})
    made.services.posts.on("GET", f"/posts/{ID}/revision-notes", {"items": [revision(2)], "next": None})
    for number in (1, 2):
        made.services.posts.on("GET", f"/posts/{ID}/revisions/{number}", compared)
    asked = [f"/v1/posts/{ID}/revisions/2?against=1", f"{PATH}?from=1"]
    who = signed(keys, str(uuid4()))
    answers = [await made.http.get(asked[number % 2], headers=who) for number in range(121)]
    assert {answer.status_code for answer in answers[:120]} == {200}
    assert answers[120].status_code == 429
    assert int(answers[120].headers["Retry-After"]) >= 1
    assert (await made.http.get(f"/v1/posts/{ID}/revisions/2", headers=who)).status_code == 200
