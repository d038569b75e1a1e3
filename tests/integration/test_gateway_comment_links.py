"""Links to a comment: the page shows it with what it answers, wherever in the discussion it stands."""

import asyncio
import re
from typing import Any
from uuid import uuid4

import pytest

from services.chassis.errors import Problem, not_found, unavailable
from services.contracts.links import comment_path
from tests.integration.gateway_harness import ANNA, ID, SLUG, GatewayHarness, NewHarness, author
from tests.unit.gateway_fakes import raw_comment, raw_post

PATH = f"/posts/{SLUG}"
FAR = raw_comment(9, depth=2, replies=[raw_comment(10)])
FAR_ID = FAR["id"]
OWN = {"Cookie": "rapport=good", "Origin": "http://rapport.test"}
OTHER_POST = ID[:-1] + "9"


def context_of(*above: dict[str, Any], comment: dict[str, Any] = FAR) -> dict[str, Any]:
    return {"above": list(above), "comment": comment}


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    harness = await new_harness()
    session = {"sid": str(uuid4()), "person": author(ANNA) | {"roles": ["author"]}}
    harness.services.people.on("POST", "/sessions/check", session)
    stone = raw_comment(8, author_id=None, body_html=None, state="removed", depth=1)
    harness.services.comments.on("GET", f"/comments/{FAR_ID}/context", lambda _: context_of(raw_comment(7), stone))
    return harness


def shown(page: str) -> list[str]:
    """Return the numbers of the comments on a page, in order."""
    return [match[-2:].lstrip("0") for match in re.findall(r'<article id="c-([0-9a-f-]+)"', page)]


@pytest.mark.parametrize("query", ["comment={}", "thread={}", "said={}", "reply_to={}", "comments=later&comment={}"])
async def test_a_comment_that_is_not_on_the_page_is_shown_with_what_it_answers(
    harness: GatewayHarness, query: str
) -> None:
    answer = await harness.get(f"{PATH}?{query.format(FAR_ID)}", **OWN)
    assert answer.status_code == 200
    assert shown(answer.text) == ["7", "8", "9", "a"]
    assert "One part of the discussion" in answer.text
    assert f'href="{PATH}#comments">From the beginning' in answer.text
    assert answer.text.count("<ol") == answer.text.count("</ol>")


async def test_a_comment_that_is_on_the_page_anyhow_is_shown_there(harness: GatewayHarness) -> None:
    answer = await harness.get(f"{PATH}?comment={raw_comment(1)['id'].upper()}")
    assert (answer.status_code, shown(answer.text)) == (200, ["1"])
    assert "One part of the discussion" not in answer.text


async def test_the_page_and_the_place_of_a_comment_are_asked_for_at_once(harness: GatewayHarness) -> None:
    both = asyncio.Barrier(2)

    async def answer(found: Any) -> Any:
        async with asyncio.timeout(1):
            await both.wait()
        return found

    comments = harness.services.comments
    comments.on("GET", f"/posts/{ID}/comments", lambda _: answer({"items": [raw_comment(1)], "next": None}))
    comments.on("GET", f"/comments/{FAR_ID}/context", lambda _: answer(context_of(raw_comment(7))))
    assert shown((await harness.get(f"{PATH}?comment={FAR_ID}")).text) == ["7", "9", "a"]


@pytest.mark.parametrize("away", [not_found(), unavailable("It is slow."), None])
async def test_the_place_of_a_comment_is_not_waited_for_where_the_page_has_it(
    harness: GatewayHarness, away: Problem | None
) -> None:
    comment_id = raw_comment(1)["id"]

    async def answer() -> Any:
        if away is None:
            await asyncio.Event().wait()
        return away

    harness.services.comments.on("GET", f"/comments/{comment_id}/context", lambda _: answer())
    page = await harness.get(f"{PATH}?comment={comment_id}")
    assert (page.status_code, shown(page.text)) == (200, ["1"])
    assert "cannot be shown" not in page.text


async def test_a_line_that_is_too_long_for_a_page_leads_on_upwards(harness: GatewayHarness) -> None:
    above = raw_comment(8, depth=1, parent_id=raw_comment(7)["id"])
    harness.services.comments.on("GET", f"/comments/{FAR_ID}/context", lambda _: context_of(above))
    page = (await harness.get(f"{PATH}?comment={FAR_ID}")).text
    assert f'href="{comment_path(SLUG, raw_comment(7)["id"])}">What this answers' in page
    harness.services.comments.on("GET", f"/comments/{FAR_ID}/context", lambda _: context_of(raw_comment(8)))
    assert "What this answers" not in (await harness.get(f"{PATH}?comment={FAR_ID}")).text


async def test_later_replies_are_shown_below_their_comment(harness: GatewayHarness) -> None:
    await harness.get(f"{PATH}?comment={FAR_ID}&replies=more")
    asked = [call.params for call in harness.services.comments.calls if call.path.endswith("/context")]
    assert asked == [{"cursor": "more"}]


@pytest.mark.parametrize("answer", [not_found(), context_of(comment=FAR | {"post_id": OTHER_POST})])
async def test_a_comment_that_is_not_there_leaves_the_post_and_says_so(harness: GatewayHarness, answer: Any) -> None:
    harness.services.comments.on("GET", f"/comments/{FAR_ID}/context", answer)
    page = await harness.get(f"{PATH}?comment={FAR_ID}")
    assert (page.status_code, shown(page.text)) == (404, ["1"])
    assert "That comment is not here" in page.text
    assert "Some <em>text</em>." in page.text


async def test_without_comments_the_post_is_shown_whatever_part_was_asked_for(harness: GatewayHarness) -> None:
    harness.services.comments.away = True
    for query in ("", f"?thread={FAR_ID}", f"?comment={FAR_ID}", f"?comment={FAR_ID}&replies=x", f"?said={FAR_ID}"):
        answer = await harness.get(PATH + query)
        assert answer.status_code == 200, query
        assert "cannot be shown at the moment" in answer.text
        again = query.replace("&", "&amp;") if "said" not in query else ""
        assert f'href="{PATH}{again}#comments">Try again</a>' in answer.text


async def test_a_context_that_fails_leaves_the_post(harness: GatewayHarness) -> None:
    harness.services.comments.on("GET", f"/comments/{FAR_ID}/context", lambda _: unavailable("It is slow."))
    answer = await harness.get(f"{PATH}?comment={FAR_ID}")
    assert answer.status_code == 200
    assert "cannot be shown at the moment" in answer.text


async def test_a_cursor_that_is_none_shows_the_beginning(harness: GatewayHarness) -> None:
    pages = {"later": Problem("malformed-cursor")}
    usual = {"items": [raw_comment(1)], "next": None}
    harness.services.comments.on(
        "GET", f"/posts/{ID}/comments", lambda call: pages.get(str(call.params.get("cursor")), usual)
    )
    assert shown((await harness.get(f"{PATH}?comments=later")).text) == ["1"]


@pytest.mark.parametrize("query", ["comment=", "comment=nonsense", "thread=%22%3E", "comment=x&comment=y"])
async def test_what_is_no_id_is_ignored(harness: GatewayHarness, query: str) -> None:
    answer = await harness.get(f"{PATH}?{query}")
    assert (answer.status_code, shown(answer.text)) == (200, ["1"])


async def test_every_comment_links_to_itself_by_the_same_address(harness: GatewayHarness) -> None:
    page = (await harness.get(PATH)).text
    relative = comment_path(SLUG, raw_comment(1)["id"]).removeprefix(PATH)
    assert f'href="{relative}"' in page, "a page has many of them, and a slug may be long"


async def test_a_comment_just_written_says_whether_it_waits(harness: GatewayHarness) -> None:
    held = {**FAR, "state": "held", "author_id": ANNA}
    harness.services.comments.on("GET", f"/comments/{FAR_ID}/context", lambda _: context_of(comment=held))
    assert "Your comment waits for approval." in (await harness.get(f"{PATH}?said={FAR_ID}", **OWN)).text


@pytest.mark.parametrize("headers", [OWN, {}])
async def test_a_comment_written_that_is_gone_since_is_said_to_be_gone(
    harness: GatewayHarness, headers: dict[str, str]
) -> None:
    gone = str(uuid4())
    harness.services.comments.on("GET", f"/comments/{gone}/context", not_found())
    page = await harness.get(f"{PATH}?said={gone}", **headers)
    assert (page.status_code, shown(page.text)) == (200, ["1"])
    assert "That comment is not here" in page.text


async def test_a_comment_written_and_removed_is_said_to_be_removed(harness: GatewayHarness) -> None:
    removed = {**FAR, "state": "removed", "author_id": ANNA}
    harness.services.comments.on("GET", f"/comments/{FAR_ID}/context", lambda _: context_of(comment=removed))
    page = (await harness.get(f"{PATH}?said={FAR_ID}", **OWN)).text
    assert "Your comment was removed." in page
    assert "Your comment is here" not in page


@pytest.mark.parametrize("state", ["visible", "held"])
async def test_only_its_author_is_told_where_a_comment_just_written_is(harness: GatewayHarness, state: str) -> None:
    own = {**FAR, "state": state, "author_id": ANNA}
    harness.services.comments.on("GET", f"/comments/{FAR_ID}/context", lambda _: context_of(comment=own))
    assert "Your comment" in (await harness.get(f"{PATH}?said={FAR_ID}", **OWN)).text
    anonymous = (await harness.get(f"{PATH}?said={FAR_ID}")).text
    harness.services.comments.on(
        "GET", f"/comments/{FAR_ID}/context", lambda _: context_of(comment={**FAR, "state": state})
    )
    elsewhere = (await harness.get(f"{PATH}?said={FAR_ID}", **OWN)).text
    for page in (anonymous, elsewhere):
        assert f'id="c-{FAR_ID}"' in page
        assert "Your comment" not in page


def form_of(page: str) -> tuple[str, str]:
    """Return what the only form to write in says that it does, and the comment that it answers."""
    forms = re.findall(r'<form method="post" action="/posts/[^"]*"[^>]*>(.*?)</form>', page, re.DOTALL)
    assert len(forms) == 1
    label = re.search(r"<label [^>]*>(.*?)</label>", forms[0])
    parent = re.search(r'name="parent_id" value="([^"]*)"', forms[0])
    assert label is not None
    return re.sub("<[^>]*>", "", label[1]), parent[1] if parent else ""


@pytest.mark.parametrize("query", ["comment={}", "thread={}", "comment={}&replies=more", "comments=later&comment={}"])
async def test_the_form_of_a_linked_comment_answers_it(harness: GatewayHarness, query: str) -> None:
    page = (await harness.get(f"{PATH}?{query.format(FAR_ID)}", **OWN)).text
    assert form_of(page) == ("Your reply to Name b", FAR_ID)
    place = "?comments=later" if query.startswith("comments") else ""
    instead = f'href="{PATH}{place}#reply">Comment on the post instead'
    order = [f'id="c-{FAR_ID}"', "<textarea", instead, f'id="c-{raw_comment(10)["id"]}"']
    assert sorted(order, key=page.index) == order
    assert page.count(instead) == 1


async def test_the_form_of_a_linked_comment_on_the_first_page_answers_it(harness: GatewayHarness) -> None:
    near = raw_comment(1)["id"]
    assert form_of((await harness.get(f"{PATH}?comment={near}", **OWN)).text) == ("Your reply to Name b", near)
    assert form_of((await harness.get(PATH, **OWN)).text) == ("Comment on the post", "")


@pytest.mark.parametrize("changes", [{"depth": 100}, {"state": "held"}, {"state": "removed", "body_html": None}])
async def test_a_linked_comment_that_takes_no_reply_leaves_the_form_of_the_post(
    harness: GatewayHarness, changes: dict[str, Any]
) -> None:
    harness.services.comments.on("GET", f"/comments/{FAR_ID}/context", lambda _: context_of(comment=FAR | changes))
    page = (await harness.get(f"{PATH}?comment={FAR_ID}", **OWN)).text
    assert form_of(page) == ("Comment on the post", "")
    assert "takes no replies" not in page  # nobody asked for one


async def test_nobody_answers_a_linked_comment_who_may_not(harness: GatewayHarness) -> None:
    page = (await harness.get(f"{PATH}?comment={FAR_ID}")).text
    assert "<textarea" not in page
    assert "instead" not in page
    harness.services.posts.on("GET", PATH, raw_post(discussion="closed"))
    assert "<textarea" not in (await harness.get(f"{PATH}?comment={FAR_ID}", **OWN)).text


async def test_the_form_of_a_linked_comment_names_its_author_as_text(harness: GatewayHarness) -> None:
    harness.services.people.on(
        "POST", "/people/lookup", lambda call: {"items": [author(x) | {"name": "<b>&"} for x in call.body["ids"]]}
    )
    page = (await harness.get(f"{PATH}?comment={FAR_ID}", **OWN)).text
    assert "Your reply to <bdi>&lt;b&gt;&amp;</bdi></label>" in page
    harness.services.people.on("POST", "/people/lookup", {"items": []})
    harness.gateway.authors.forget(FAR["author_id"])
    page = (await harness.get(f"{PATH}?comment={FAR_ID}", **OWN)).text
    assert form_of(page) == ("Your reply to this comment", FAR_ID)


async def test_a_comment_just_written_is_not_answered_by_its_own_form(harness: GatewayHarness) -> None:
    page = (await harness.get(f"{PATH}?said={FAR_ID}", **OWN)).text
    assert form_of(page) == ("Comment on the post", "")


async def test_a_refused_comment_on_the_post_stays_one_where_a_comment_was_linked(harness: GatewayHarness) -> None:
    harness.services.comments.on("POST", f"/posts/{ID}/comments", Problem("discussion-closed"))
    fields = {"post_id": ID, "body": "For all of you", "parent_id": ""}
    page = (await harness.http.post(f"{PATH}/comments?comment={FAR_ID}", data=fields, headers=OWN)).text
    assert form_of(page) == ("Comment on the post", "")


async def test_a_later_page_leads_to_the_beginning(harness: GatewayHarness) -> None:
    beginning = '<a rel="prev" href="?#comments">Earlier comments</a>'
    assert beginning not in (await harness.get(PATH)).text
    assert (await harness.get(f"{PATH}?comments=later")).text.count(beginning) == 2


async def test_a_reply_written_on_a_later_page_leads_back_to_it(harness: GatewayHarness) -> None:
    fields = {"post_id": ID, "body": "x", "parent_id": FAR_ID}
    answer = await harness.http.post(f"{PATH}/comments?comments=a%26b&thread={FAR_ID}", data=fields, headers=OWN)
    written = raw_comment(1)["id"]
    assert answer.headers["Location"] == f"{PATH}?comments=a%26b&said={written}#c-{written}"
    page = (await harness.get(f"{PATH}?comments=a%26b&said={FAR_ID}", **OWN)).text
    assert "One part of the discussion" in page
    assert f'href="{PATH}?comments=a%26b#comments">Back to where you were</a>' in page


async def test_replies_that_stand_flush_say_whom_they_answer(harness: GatewayHarness) -> None:
    comment = raw_comment(9, author_id="01936f6e-0000-7000-8000-00000000000c")
    for number in (8, 7, 6, 5):
        gone = {"author_id": None, "body_html": None, "state": "removed"} if number == 7 else {}
        comment = raw_comment(number, replies=[comment], **gone)
    harness.services.comments.on("GET", f"/posts/{ID}/comments", {"items": [comment], "next": None})
    page = (await harness.get(PATH)).text
    told = re.findall(r'<span class="answers">&nbsp;· to <a href="#c-([^"]*)"><bdi>([^<]*)</bdi></a></span>', page)
    assert told == [(raw_comment(7)["id"], "a removed comment"), (raw_comment(8)["id"], "Name b")]


async def test_a_signed_in_reader_gets_the_form_without_a_name(harness: GatewayHarness) -> None:
    assert "<textarea" in (await harness.get(PATH, **OWN)).text
    harness.services.people.on("POST", "/people/lookup", unavailable("It is away."))
    harness.gateway.authors.forget(ANNA)
    answer = await harness.get(PATH, **OWN)
    assert answer.status_code == 200
    assert "<textarea" in answer.text
    harness.services.posts.on("GET", f"/posts/{SLUG}", raw_post(discussion="closed"))
    assert "<textarea" not in (await harness.get(PATH, **OWN)).text
