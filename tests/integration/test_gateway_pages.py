"""The web pages over fake services."""

import html
import re
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from services.chassis.errors import Problem, invalid, not_found, unavailable
from tests.integration.gateway_harness import ANNA, COMMENT_ID, ID, SLUG, GatewayHarness, NewHarness, author
from tests.unit.gateway_fakes import answered, raw_comment, raw_post

SID = str(uuid4())
PATH = f"/posts/{SLUG}"
HERE = f"http://rapport.test{PATH}"
OTHER_POST = ID[:-1] + "9"


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    harness = await new_harness()
    session = {"sid": SID, "person": author(ANNA) | {"roles": ["author"]}}
    harness.services.people.on("POST", "/sessions/check", lambda call: _check(call.body, session))
    return harness


def _check(body: Any, session: Any) -> Any:
    return session if body == {"session_id": "good"} else not_found()


OWN = {"Cookie": "rapport=good", "Origin": "http://rapport.test"}


async def submit(harness: GatewayHarness, path: str, **fields: str) -> httpx2.Response:
    return await harness.http.post(path, data=fields, headers=OWN)


async def test_the_front_page(harness: GatewayHarness) -> None:
    harness.services.posts.on("GET", "/posts", {"items": [raw_post(title="A & B")], "next": "more/"})
    answer = await harness.get("/")
    assert answer.status_code == 200
    assert "A &amp; B" in answer.text
    assert "1 comment<" in answer.text
    assert 'href="/?cursor=more/"' in answer.text or 'href="/?cursor=more%2F"' in answer.text
    assert "Sign out" not in answer.text
    assert "Signed in as <bdi>Name a</bdi>" in (await harness.get("/", **OWN)).text
    harness.services.posts.on("GET", "/posts", {"items": [], "next": None})
    assert "There are no older posts." in (await harness.get("/?cursor=x")).text
    harness.gateway.cache.clear()
    assert "Nothing has been published yet." in (await harness.get("/")).text


async def test_a_post_shows_comments_in_every_state(harness: GatewayHarness) -> None:
    stone = raw_comment(2, author_id=None, body_html=None, state="removed", replies=[raw_comment(3)])
    held = raw_comment(4, state="held", edited_at="2026-11-23T04:38:00.000Z")
    held["replies"]["next"] = "deeper"
    harness.services.comments.on("GET", f"/posts/{ID}/comments", {"items": [stone, held], "next": "later"})
    page = (await harness.get(PATH, **OWN)).text
    assert "This comment was removed." in page
    assert "waits for approval" in page
    assert "· edited" in page
    assert f"?comment={held['id']}&replies=first#" in page.replace("&amp;", "&")
    assert "?comments=later#comments" in page
    assert page.count("Reply</a>") == 1
    assert "23 November 2026, 04:36 UTC" in page


async def test_the_reply_form_is_shown_under_the_comment(harness: GatewayHarness) -> None:
    page = (await harness.get(f"{PATH}?reply_to={COMMENT_ID}", **OWN)).text
    assert page.count("<textarea") == 1
    assert f'name="parent_id" value="{COMMENT_ID}"' in page
    away = str(uuid4())
    page = (await harness.get(f"{PATH}?reply_to={away}", **OWN)).text
    assert f'name="parent_id" value="{away}"' in page
    page = (await harness.get(f"{PATH}?reply_to=%22%3E%3Cscript%3E", **OWN)).text
    assert re.findall(r"<script(?! type=\"(?:application/ld\+json\">|module\" src=\"/static/scripts-))", page) == []
    assert 'name="parent_id"' not in page


HEBREW = "דנה כהן"


async def test_names_titles_and_texts_have_a_direction_of_their_own(harness: GatewayHarness) -> None:
    harness.services.people.on(
        "POST",
        "/people/lookup",
        lambda call: {"items": [author(one) | {"name": HEBREW} for one in call.body["ids"]]},
    )
    post = raw_post(title="שלום", excerpt="שלום 27", edited_at="2026-11-23T05:00:00.000Z", edit_note="תיקון")
    harness.services.posts.on("GET", "/posts", {"items": [post], "next": None})
    harness.services.posts.on("GET", PATH, post)
    front = (await harness.get("/", **OWN)).text
    for part in (">שלום</a></h2>", f"<bdi>{HEBREW}</bdi></a>&nbsp;·", 'dir="auto">שלום 27</p>', "Signed in as <bdi>"):
        assert part in front
    page = (await harness.get(PATH, **OWN)).text
    for part in (
        "<title>\u2068שלום\u2069 · Rapport</title>",
        '<h1 dir="auto">שלום</h1>',
        f'<p class="byline"><a href="/people/{ANNA}"><bdi>{HEBREW}</bdi>',
        f"<strong><bdi>{HEBREW}</bdi></strong>",
        ": <bdi>תיקון</bdi>",
        '<div class="text" dir="auto"><p>Some <em>text</em>.</p>',
        f'aria-label="Reply to \u2068{HEBREW}\u2069"',
        '<textarea name="body" dir="auto"',
    ):
        assert part in page
    assert '<input name="name" dir="auto"' in (await harness.get("/sign-in")).text


async def test_without_comments_the_post_is_still_shown(harness: GatewayHarness) -> None:
    harness.services.comments.away = True
    answer = await harness.get(PATH)
    assert answer.status_code == 200
    assert "cannot be shown at the moment" in answer.text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"discussion": "closed"}, "The discussion is closed."),
        ({"status": "draft", "published_at": None}, "<strong>draft</strong>"),
        ({"edited_at": "2026-11-23T05:00:00.000Z", "edit_note": "a <typo>"}, "a &lt;typo&gt;"),
        ({"title": ""}, "Untitled"),
    ],
)
async def test_a_post_shows_its_status_discussion_and_edits(
    harness: GatewayHarness, changes: dict[str, Any], text: str
) -> None:
    harness.services.posts.on("GET", f"/posts/{SLUG}", raw_post(**changes))
    assert text in (await harness.get(PATH)).text


async def test_a_page_that_was_never_discussed_has_no_discussion(harness: GatewayHarness) -> None:
    about = raw_post(kind="page", discussion="closed")
    nothing: dict[str, Any] = {"items": [], "next": None}
    harness.services.posts.on("GET", f"/posts/{SLUG}", about)
    harness.services.comments.on("GET", f"/posts/{ID}/comments", nothing)
    harness.services.comments.on("POST", "/counts", {"counts": {ID: 0}})
    page = (await harness.get(PATH, **OWN)).text
    assert "Edit this page" in page
    for part in ("Edit this post", 'id="comments"', "#comments", "The discussion is closed."):
        assert part not in page
    harness.services.comments.on("GET", f"/posts/{ID}/comments", {"items": [raw_comment(1)], "next": None})
    harness.gateway.cache.clear()
    assert "The discussion is closed." in (await harness.get(PATH, **OWN)).text
    draft = {"kind": "post", "status": "draft", "published_at": None}
    for changes, is_discussed in (({"discussion": "open"}, True), ({"kind": "post"}, True), (draft, False)):
        harness.services.posts.on("GET", f"/posts/{SLUG}", about | changes)
        harness.services.comments.on("GET", f"/posts/{ID}/comments", nothing)
        harness.gateway.cache.clear()
        assert ('id="comments"' in (await harness.get(PATH, **OWN)).text) == is_discussed


async def test_creating_a_comment_by_form(harness: GatewayHarness) -> None:
    key = str(uuid4())
    answer = await submit(harness, f"{PATH}/comments", post_id=ID, key=key, body="One\r\nTwo", parent_id=COMMENT_ID)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"{PATH}?said={COMMENT_ID}#c-{COMMENT_ID}"
    call = harness.services.comments.calls[-1]
    assert call.body == {"body": "One\nTwo", "parent_id": COMMENT_ID}
    assert call.headers == {"Idempotency-Key": key}
    await submit(harness, f"{PATH}/comments", post_id=ID, key="forged", body="x")
    assert harness.services.comments.calls[-1].headers == {}


async def test_a_refused_comment_keeps_its_text(harness: GatewayHarness) -> None:
    harness.services.comments.on("POST", f"/posts/{ID}/comments", invalid("body", "It is too <long>."))
    answer = await submit(harness, f"{PATH}/comments", post_id=ID, body="My <text>")
    assert answer.status_code == 422
    assert "It is too &lt;long&gt;." in answer.text
    assert "My &lt;text&gt;" in answer.text


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("application/json", b"{}", 415),
        ("application/x-www-form-urlencoded", b"x" * (400 * 1024), 413),
        ("application/x-www-form-urlencoded", b"body=%ff", 422),
        ("application/x-www-form-urlencoded", b"&".join([b"a=b"] * 30), 422),
    ],
)
async def test_a_malformed_form_is_refused_with_a_page(
    harness: GatewayHarness, kind: str, content: bytes, status: int
) -> None:
    answer = await harness.http.post(f"{PATH}/comments", content=content, headers=OWN | {"Content-Type": kind})
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


async def test_sign_in_by_page(harness: GatewayHarness) -> None:
    assert (await harness.get("/sign-in")).status_code == 200
    assert (await harness.http.post("/sign-in", data={"email": "a@example.com"})).status_code == 202
    answer = await harness.http.post("/register", data={"name": "Anna", "email": "a@example.com"})
    assert answer.status_code == 202
    assert harness.services.people.calls[-1].body == {"name": "Anna", "email": "a@example.com"}
    harness.services.people.on("POST", "/people", invalid("email", "That is no address."))
    answer = await harness.http.post("/register", data={"name": "An<na", "email": "a@b.example"})
    assert answer.status_code == 422
    assert "That is no address." in answer.text
    assert 'value="An&lt;na"' in answer.text
    answer = await harness.http.post("/register", data={"name": "An<na", "email": "nonsense"})
    assert answer.status_code == 422
    assert "must be an e-mail address" in answer.text
    harness.services.people.away = True
    answer = await harness.http.post("/register", data={"name": "Anna", "email": "a@example.com"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


async def test_a_sign_in_link_is_used_by_its_button_only(harness: GatewayHarness) -> None:
    before = len(harness.services.people.calls)
    page = await harness.get("/sign-in/secret")
    assert '<form method="post" action="/sign-in/secret">' in page.text
    assert len(harness.services.people.calls) == before
    harness.services.people.on("POST", "/sessions", lambda _: answered({"session_id": "opaque", "person": {}}, 201))
    entered = await harness.http.post("/sign-in/secret")
    assert entered.headers["Location"] == "/"
    cookie = entered.headers.get_list("Set-Cookie")[0]
    assert cookie == "rapport=opaque; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
    harness.http.cookies.clear()
    harness.services.people.on("POST", "/sessions", Problem("link-used-or-expired"))
    assert (await harness.http.post("/sign-in/secret")).status_code == 410


@pytest.mark.parametrize(
    ("came_from", "location"),
    [
        ("http://rapport.test/posts/on-letters", "/posts/on-letters"),
        ("http://rapport.test/posts/%C3%BCber?reply_to=1", "/posts/%C3%BCber"),
        (f"{HERE}?comment={COMMENT_ID}", f"{PATH}?comment={COMMENT_ID}#c-{COMMENT_ID}"),
        (f"{HERE}?thread={COMMENT_ID}&replies=MO_-re", f"{PATH}?thread={COMMENT_ID}&replies=MO_-re#c-{COMMENT_ID}"),
        (f"{HERE}?comments=LA_-ter", f"{PATH}?comments=LA_-ter#comments"),
        (f"{HERE}?comments=a&reply_to={COMMENT_ID}", f"{PATH}?comments=a&reply_to={COMMENT_ID}#reply-{COMMENT_ID}"),
        (f"{HERE}?said={COMMENT_ID}", f"{PATH}?said={COMMENT_ID}#c-{COMMENT_ID}"),
        (f"{HERE}?next=//evil.test&comments=a&lang=de", f"{PATH}?comments=a#comments"),
        (f"{HERE}?comments=%0d%0aX:y;%20b%ff", f"{PATH}?comments=%0D%0AX%3Ay%3B+b%EF%BF%BD#comments"),
        (f"{HERE}?comment=%22%3E%3Cscript%3E", PATH),
        (f"{HERE}?comments={'x' * 2_000}&comment={COMMENT_ID}", f"{PATH}?comment={COMMENT_ID}#c-{COMMENT_ID}"),
        (f"{HERE}?comments=", PATH),
        (f"{HERE}?{'a=b&' * 5_000}comments=a", PATH),
        (f"{HERE}?comments=a#//evil.test", f"{PATH}?comments=a#comments"),
        ("http://rapport.test/", "/"),
        ("http://rapport.test/posts/../unsubscribe", "/"),
        ("http://rapport.test/posts/x;y", "/"),
        ("http://rapport.test.evil.test/posts/x", "/"),
        ("http://rapport.test@evil.test/posts/x", "/"),
        ("https://evil.test/posts/x", "/"),
        ("http://[evil/posts/x", "/"),
        ("/posts/x", "/"),
    ],
)
async def test_signing_in_redirects_back_to_a_post_and_nowhere_else(
    harness: GatewayHarness, came_from: str, location: str
) -> None:
    assert (await harness.http.get("/sign-in", headers={"Referer": came_from})).status_code == 200
    harness.services.people.on("POST", "/sessions", lambda _: answered({"session_id": "opaque", "person": {}}, 201))
    entered = await harness.http.post("/sign-in/secret")
    assert entered.headers["Location"] == location
    assert "rapport_back" not in harness.http.cookies
    harness.http.cookies.clear()


@pytest.mark.parametrize(
    ("kept", "location"),
    [
        (f"{PATH}?comments=a#comments", f"{PATH}?comments=a#comments"),
        (PATH, PATH),
        ("/draft", "/draft"),
        *((kept, "/") for kept in ("//evil.test", "/posts/x//evil.test", "https://evil.test/posts/x", "/posts/", "x")),
        ("/posts/x?comments=a#//evil.test", "/posts/x?comments=a#comments"),
        ("/draft?comments=a", "/draft"),
    ],
)
async def test_a_cookie_that_others_wrote_leads_to_no_other_site(
    harness: GatewayHarness, kept: str, location: str
) -> None:
    harness.services.people.on("POST", "/sessions", lambda _: answered({"session_id": "opaque", "person": {}}, 201))
    entered = await harness.http.post("/sign-in/secret", headers={"Cookie": f"rapport_back={kept}"})
    assert entered.headers["Location"] == location


async def test_sign_in_forms_of_browsers_must_come_from_our_own_pages(harness: GatewayHarness) -> None:
    for headers in ({"Cookie": "rapport=any"}, {"Origin": "https://evil.test"}, {"Origin": "null"}):
        for path in ("/sign-in", "/register", "/sign-in/secret"):
            answer = await harness.http.post(path, data={"email": "a@example.com"}, headers=headers)
            assert answer.status_code == 403
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


async def test_sign_out(harness: GatewayHarness) -> None:
    harness.services.people.on("DELETE", "/sessions/current", lambda _: answered(None, 204))
    answer = await submit(harness, "/sign-out")
    assert answer.status_code == 303
    assert "rapport=; Path=/; Max-Age=0" in answer.headers["Set-Cookie"]
    assert harness.services.people.calls[-1].body == {"session_id": SID}
    assert "Sign out" not in (await harness.get("/", **OWN)).text


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("", PATH),
        (f"?comment={COMMENT_ID}", f"{PATH}?comment={COMMENT_ID}#c-{COMMENT_ID}"),
        ("?comments=a%26b", f"{PATH}?comments=a%26b#comments"),
        (f"?reply_to={COMMENT_ID}", PATH),
        (f"?said={COMMENT_ID}", PATH),
    ],
)
async def test_signing_out_stays_at_the_post(harness: GatewayHarness, query: str, location: str) -> None:
    harness.services.people.on("DELETE", "/sessions/current", lambda _: answered(None, 204))
    page = (await harness.get(f"{PATH}{query}", **OWN)).text
    button = re.search(r'<form method="post" action="/sign-out">(.*?)</form>', page)
    assert button is not None
    fields = {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', button[1])}
    refused = await harness.http.post("/sign-out", data=fields, headers=OWN | {"Origin": "https://evil.test"})
    assert refused.status_code == 403
    assert f'name="back" value="{html.escape(location)}"' in refused.text
    assert (await submit(harness, "/sign-out", **fields)).headers["Location"] == location


@pytest.mark.parametrize("back", ["//evil.test", "https://evil.test/", "/posts/x//y", "/v1/me", "", "x" * 9_000])
async def test_signing_out_leads_to_no_other_site(harness: GatewayHarness, back: str) -> None:
    harness.services.people.on("DELETE", "/sessions/current", lambda _: answered(None, 204))
    assert (await submit(harness, "/sign-out", back=back)).headers["Location"] == "/"


async def test_signing_out_leaves_a_post_that_only_its_author_sees(harness: GatewayHarness) -> None:
    harness.services.posts.on("GET", PATH, raw_post(status="draft", published_at=None))
    assert 'name="back"' not in (await harness.get(PATH, **OWN)).text


async def test_who_asked_for_a_mail_reads_to_which_address(harness: GatewayHarness) -> None:
    typed = {"name": "Anna", "email": " a<b&c@example.com "}
    for path, says in (("/register", "is on its way to"), ("/sign-in", "If you are registered with")):
        harness.services.people.on(
            "POST", "/people" if path == "/register" else path, lambda _: answered({"request": "r" * 22}, 202)
        )
        page = (await harness.http.post(path, data=typed | {"email": " anna+x@example.com "})).text
        assert f"{says} <bdi>anna+x@example.com</bdi>" in page
        assert 'name="email" value="anna+x@example.com"' in page
        assert ("If " in page) == (path == "/sign-in")
        assert ('href="/sign-in#register-name"' in page) == (path == "/sign-in"), (
            "who has never registered gets no mail"
        )
    harness.services.people.on("POST", "/sessions/by-code", Problem("invalid-code"))
    code = {"request": "r" * 22, "code": "1", "email": typed["email"]}
    page = (await harness.http.post("/sign-in/code", data=code)).text
    assert "newest mail to <bdi>a&lt;b&amp;c@example.com</bdi>" in page
    page = (await harness.http.post("/sign-in/code", data={**code, "email": "x" * 5_000})).text
    assert "x" * 400 not in page
    page = (await harness.http.post("/sign-in/code", data={"request": "r" * 22, "code": "1"})).text
    assert "<bdi></bdi>" not in page


async def test_who_unsubscribed_reads_how_to_get_mail_again(harness: GatewayHarness) -> None:
    harness.services.notify.on("POST", "/unsubscribe/secret", {"notifications": False})
    page = (await harness.http.post("/unsubscribe/secret", data={"List-Unsubscribe": "One-Click"})).text
    assert 'href="/mail/secret"' in page
    for settings, chosen in (
        ({"notifications": False, "scope": "all"}, "none"),
        ({"notifications": True, "scope": "all"}, "all"),
        ({"notifications": True, "scope": "replies"}, "replies"),
    ):
        harness.services.notify.on("GET", "/unsubscribe/secret", settings)
        choices = (await harness.get("/mail/secret")).text
        assert choices.count(" checked") == 1
        assert f'value="{chosen}" checked' in choices


async def test_a_refused_choice_of_mail_is_shown_with_the_choices(harness: GatewayHarness) -> None:
    harness.services.notify.on("POST", "/mail-choices/secret", unavailable("It took too long."))
    answer = await harness.http.post("/mail/secret", data={"choice": "replies"})
    assert answer.status_code == 503
    assert 'value="replies" checked' in answer.text
    assert "Save" in answer.text


async def test_unsubscribe(harness: GatewayHarness) -> None:
    notify = harness.services.notify
    notify.on("GET", "/unsubscribe/secret", {"notifications": True})
    notify.on("POST", "/unsubscribe/secret", {"notifications": False})
    assert 'value="One-Click"' in (await harness.get("/unsubscribe/secret")).text
    for body in ({"x": "y"}, {"List-Unsubscribe": "Two-Click"}, {}):
        answer = await harness.http.post("/unsubscribe/secret", data=body)
        assert (answer.status_code, "did not come from the button" in answer.text) == (400, True)
    files = {"List-Unsubscribe": (None, "One-Click")}
    bad = await harness.http.post(
        "/unsubscribe/secret", content=b"--x", headers={"Content-Type": "multipart/form-data; boundary=y"}
    )
    assert bad.status_code == 400
    assert notify.count("POST", "/unsubscribe/secret") == 0
    assert (await harness.http.post("/unsubscribe/secret", data={"List-Unsubscribe": "One-Click"})).status_code == 200
    assert (await harness.http.post("/unsubscribe/secret", files=files)).status_code == 200
    assert notify.count("POST", "/unsubscribe/secret") == 2
    notify.on("POST", "/unsubscribe/other", not_found())
    answer = await harness.http.post("/unsubscribe/other", data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 404


async def test_problem_pages(harness: GatewayHarness) -> None:
    page = (await harness.get("/problems")).text
    assert re.findall(r'id="([a-z-]+)"', page).count("stale") == 1
    assert "If-Match" in (await harness.get("/problems/stale")).text
    for hidden in ("post-unknown", "nonsense"):
        assert (await harness.get(f"/problems/{hidden}")).status_code == 404


async def test_the_api_documentation(harness: GatewayHarness) -> None:
    page = (await harness.get("/docs")).text
    assert "POST /v1/posts/{post_id}/comments" in page
    assert 'id="Comment"' in page
    assert re.findall(r"<script(?! type=\"(?:application/ld\+json\">|module\" src=\"/static/scripts-))", page) == []
    document = await harness.get("/openapi.json")
    assert document.headers["Access-Control-Allow-Origin"] == "*"
    assert document.json()["servers"] == [{"url": "http://rapport.test"}]


async def test_a_page_with_deeply_nested_replies(harness: GatewayHarness) -> None:
    chain = raw_comment(60)
    for number in range(59, 0, -1):
        chain = raw_comment(number, replies=[chain])
    harness.services.comments.on("GET", f"/posts/{ID}/comments", {"items": [chain], "next": None})
    page = (await harness.get(PATH)).text
    assert page.count("<article") == 61
    assert page.count("<ol") == page.count("</ol>") == 60  # none under the last
