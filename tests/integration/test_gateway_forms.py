"""Forms of the pages over fake services: whatever refuses one, it comes back with what was typed, and says why."""

import base64
import html
import re
import zlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx2
import orjson
import pytest

from services.chassis.errors import Problem, invalid, not_found, unavailable
from services.contracts.links import comment_path
from services.contracts.people import SIGN_IN_PERIOD
from services.gateway.pages.refusals import DRAFT_OF_NOBODY
from tests.integration.gateway_harness import ANNA, COMMENT_ID, ID, SLUG, GatewayHarness, NewHarness, author
from tests.unit.gateway_fakes import answered, raw_comment, raw_post

BEN = "01936f6e-0000-7000-8000-00000000000b"
PATH = f"/posts/{SLUG}"
OWN = {"Cookie": "rapport=good", "Origin": "http://rapport.test"}
KEY = str(uuid4())
TEXT = 'Über "A & B":\n  <b>100 %</b> + 1 = 日本語 👩‍👩‍👧 \u202bשלום\u202c'
FIELDS = {"post_id": ID, "key": KEY, "for": ANNA, "body": TEXT}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
UNKNOWN = str(uuid4())


@pytest.fixture
async def new_harness(new_harness: NewHarness) -> NewHarness:
    async def signed_in(**changes: Any) -> GatewayHarness:
        harness = await new_harness(**changes)
        people = {"good": ANNA, "ben": BEN}
        harness.services.people.on("POST", "/sessions/check", lambda call: _check(call.body["session_id"], people))
        return harness

    return signed_in


def _check(cookie: str, people: dict[str, str]) -> Any:
    if cookie not in people:
        return not_found()
    return {"sid": str(uuid4()), "person": author(people[cookie]) | {"roles": ["reader"]}}


def keep(harness: GatewayHarness, comment_id: str, found: Any) -> None:
    """Let the service of comments have one at the top level, by itself and in its context; or refuse it."""
    refused = isinstance(found, Problem)
    harness.services.comments.on("GET", f"/comments/{comment_id}", found)
    context = found if refused else {"above": [], "comment": found}
    harness.services.comments.on("GET", f"/comments/{comment_id}/context", context)


async def post(
    harness: GatewayHarness, fields: dict[str, str] = FIELDS, path: str = f"{PATH}/comments", **headers: str
) -> httpx2.Response:
    harness.http.cookies.clear()
    return await harness.http.post(path, data=fields, headers=OWN | headers)


class Form:
    """The comment form of a page."""

    def __init__(self, answer: httpx2.Response) -> None:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "; script-src 'self'; connect-src 'self'; " in answer.headers["Content-Security-Policy"]
        found = re.findall(r'<form method="post" action="(/posts/[^"]*)"[^>]*>(.*?)</form>', answer.text, re.DOTALL)
        assert len(found) == 1, answer.text
        self.action, self.content = html.unescape(found[0][0]), found[0][1]
        area = re.search(r"<textarea([^>]*)>\n(.*?)</textarea>", self.content, re.DOTALL)
        assert area is not None
        self.area, self.text = area[1], html.unescape(area[2])
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', self.content)
        self.fields = {name: html.unescape(value) for name, value in hidden}
        alert = re.search(r'<p class="error" role="alert" id="([^"]+)">([^<]*)</p>', self.content)
        self.error, self.sentence = (alert[1], html.unescape(alert[2])) if alert else ("", "")
        self.title = re.findall(r"<title>(.*?)</title>", answer.text)[0]
        self.page = answer.text


def check_returned(answer: httpx2.Response, status: int, text: str = TEXT) -> Form:
    """Check that the form came back whole and says why, and that its address leads into its text area."""
    assert answer.status_code == status
    form = Form(answer)
    assert form.text == text
    assert form.fields["key"] == KEY
    assert form.fields["for"] == ANNA
    assert form.fields["post_id"] == ID
    assert form.sentence
    assert form.title.startswith("Error: ")
    assert f'aria-describedby="{form.error}"' in form.area
    anchor = re.search(r'<button formaction="[^"#]*#([^"]+)">', form.content)
    assert anchor is not None
    assert f'id="{anchor[1]}"' in form.area
    return form


REFUSALS = [
    (invalid("body", "must have at most 10,000 characters"), 422),
    (Problem("discussion-closed"), 409),
    (Problem("still-running", headers={"Retry-After": "1"}), 409),
    (Problem("forbidden"), 403),
    (not_found(), 404),
    (unavailable("Busy."), 503),
    (Problem("too-many-requests", headers={"Retry-After": "7"}), 429),
    (Problem("too-large"), 413),
    (Problem("internal"), 500),
]


@pytest.mark.parametrize(("problem", "status"), REFUSALS, ids=lambda one: getattr(one, "kind", ""))
async def test_what_comments_refuses_comes_back(harness: GatewayHarness, problem: Problem, status: int) -> None:
    harness.services.comments.on("POST", f"/posts/{ID}/comments", problem)
    answer = await post(harness)
    form = check_returned(answer, status)
    assert "Signed in as" in form.page
    for name, value in problem.headers.items():
        assert answer.headers[name] == value
    assert ('aria-invalid="true"' in form.area) == (problem.kind in ("invalid", "too-large"))


async def test_the_sentence_names_the_text_and_not_its_field(harness: GatewayHarness) -> None:
    harness.services.comments.on("POST", f"/posts/{ID}/comments", invalid("body", "must not be empty"))
    assert Form(await post(harness)).sentence == "The text must not be empty."


@pytest.mark.parametrize("changes", [{"discussion": "closed"}, {"status": "withdrawn"}])
async def test_a_post_that_takes_no_comments_any_more_gives_the_text_back(
    harness: GatewayHarness, changes: dict[str, Any]
) -> None:
    harness.services.posts.on("GET", f"/posts/{SLUG}", raw_post(**changes))
    harness.services.comments.on("POST", f"/posts/{ID}/comments", Problem("discussion-closed"))
    check_returned(await post(harness), 409)


async def test_a_post_that_is_gone_gives_the_text_back(harness: GatewayHarness) -> None:
    for ref in (ID, SLUG):
        harness.services.posts.on("GET", f"/posts/{ref}", not_found())
    harness.services.comments.on("POST", f"/posts/{ID}/comments", Problem("post-unknown"))
    check_returned(await post(harness), 404)


@pytest.mark.parametrize("away", ["posts", "comments", "people"])
async def test_a_service_that_is_away_gives_the_text_back(harness: GatewayHarness, away: str) -> None:
    await harness.get("/", **OWN)  # the session is known
    harness.services.comments.on("POST", f"/posts/{ID}/comments", unavailable("Busy."))
    getattr(harness.services, away).away = True
    check_returned(await post(harness), 503)


async def test_a_session_that_cannot_be_checked_gives_the_text_back(harness: GatewayHarness) -> None:
    harness.services.people.away = True
    check_returned(await post(harness), 503)


async def test_an_unexpected_error_gives_the_text_back(harness: GatewayHarness) -> None:
    harness.services.comments.on("POST", f"/posts/{ID}/comments", {"nonsense": True})
    check_returned(await post(harness), 500)


async def test_too_many_comments_give_the_text_back(new_harness: NewHarness) -> None:
    harness = await new_harness(rate_limits="on")
    answers = [await post(harness) for _ in range(121)]
    form = check_returned(answers[-1], 429)
    assert re.search(r"in \d+ seconds?", form.sentence)
    assert answers[-1].headers["Retry-After"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none", "Origin": "null"},
        {"Sec-Fetch-Site": "anything"},
        {"Host": "elsewhere.test", "Sec-Fetch-Site": "same-origin"},
        {"Host": "rapport.test:81"},
    ],
)
async def test_a_form_from_elsewhere_comes_back_and_does_nothing(
    harness: GatewayHarness, headers: dict[str, str]
) -> None:
    form = check_returned(await post(harness, FIELDS, f"{PATH}/comments", **headers), 403)
    assert f'href="http://rapport.test{PATH}"' in form.page
    assert harness.services.comments.count("POST", f"/posts/{ID}/comments") == 0


@pytest.mark.parametrize(
    ("public_url", "headers"),
    [
        ("http://rapport.test", {"Origin": "null", "Sec-Fetch-Site": "same-origin"}),
        ("http://rapport.test", {"Sec-Fetch-Site": "same-origin"}),
        ("http://rapport.test", {"Sec-Fetch-Site": "none", "Origin": "http://rapport.test"}),
        ("HTTP://Rapport.TEST:80/", {"Origin": "http://rapport.test"}),
        ("https://bücher.example", {"Host": "xn--bcher-kva.example", "Origin": "https://xn--bcher-kva.example"}),
        ("https://BÜCHER.example:8443", {"Host": "xn--bcher-kva.example:8443", "Sec-Fetch-Site": "same-origin"}),
        ("https://faß.example", {"Host": "xn--fa-hia.example", "Origin": "https://xn--fa-hia.example"}),
        ("http://[::1]:8000", {"Host": "[::1]:8000", "Origin": "http://[::1]:8000"}),
        ("http://[0:0::1]:8000", {"Host": "[::1]:8000", "Origin": "http://[::1]:8000"}),
        ("http://[2001:DB8::0:1]", {"Host": "[2001:db8::1]", "Origin": "http://[2001:db8::1]"}),
        ("http://[::ffff:127.0.0.1]", {"Host": "[::ffff:7f00:1]", "Origin": "http://[::ffff:7f00:1]"}),
    ],
)
async def test_our_own_forms_are_taken(new_harness: NewHarness, public_url: str, headers: dict[str, str]) -> None:
    harness = await new_harness(public_url=public_url)
    cookie = "__Host-rapport" if public_url.startswith("https") else "rapport"
    sent = {"Cookie": f"{cookie}=good"} | headers
    answer = await harness.http.post(f"{PATH}/comments", data=FIELDS, headers=sent)
    assert answer.status_code == 303, answer.text
    signing_in = await harness.http.post("/sign-in", data={"email": "a@example.com"}, headers=headers)
    assert signing_in.status_code == 202


# 413, 415, and forms that are not whole


async def test_a_form_that_is_too_large_comes_back(harness: GatewayHarness) -> None:
    text = "x" * 400_000
    check_returned(await post(harness, FIELDS | {"body": text}), 413, text)
    check_returned(await post(harness, FIELDS | {"body": "日" * 60_000}), 413, "日" * 60_000)
    assert harness.services.comments.count("POST", f"/posts/{ID}/comments") == 0
    refused = await post(harness, FIELDS | {"body": "x" * 2_000_000})
    assert refused.status_code == 413
    assert "Go back to the page before: what you typed is still there." in refused.text


async def test_a_body_without_a_length_is_bounded_too(harness: GatewayHarness) -> None:
    async def chunks(size: int) -> AsyncIterator[bytes]:
        yield urlencode(FIELDS | {"body": ""}).encode()
        for _ in range(size // 50_000):
            yield b"x" * 50_000

    answer = await harness.http.post(f"{PATH}/comments", content=chunks(400_000), headers=OWN | FORM)
    check_returned(answer, 413, "x" * 400_000)
    answer = await harness.http.post(f"{PATH}/comments", content=chunks(2_000_000), headers=OWN | FORM)
    assert answer.status_code == 413


async def test_the_longest_text_is_taken_however_it_is_encoded(harness: GatewayHarness) -> None:
    jamo = "\u1112\u1161\u11ab" * 10_000  # 10,000 code points in NFC, 27 bytes each
    assert (await post(harness, FIELDS | {"body": jamo})).status_code == 303
    assert harness.services.comments.calls[-1].body == {"body": jamo}


async def test_every_encoding_of_a_form_gives_its_text_back(harness: GatewayHarness) -> None:
    files: Any = {name: (None, value) for name, value in FIELDS.items()}
    check_returned(await harness.http.post(f"{PATH}/comments", files=files, headers=OWN), 415)
    plain = "".join(f"{name}={value}\r\n" for name, value in FIELDS.items()).encode()
    answer = await harness.http.post(f"{PATH}/comments", content=plain, headers=OWN | {"Content-Type": "text/plain"})
    check_returned(answer, 415)
    check_returned(await harness.http.post(f"{PATH}/comments", json=FIELDS, headers=OWN), 415)
    odd = OWN | {"Content-Type": "application/octet-stream"}
    check_returned(await harness.http.post(f"{PATH}/comments", content=urlencode(FIELDS).encode(), headers=odd), 415)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00", b"&&&=&=", b"body", b"body=%", b"body=%zz%ff", b"a=b&" * 40, b"{", b"--x\r\n", b"[1]"],
)
@pytest.mark.parametrize(
    "media_type",
    [*FORM.values(), "multipart/form-data; boundary=x", "multipart/form-data", "text/plain", "application/json", ""],
)
async def test_garbage_is_refused_with_a_form(harness: GatewayHarness, content: bytes, media_type: str) -> None:
    answer = await harness.http.post(f"{PATH}/comments", content=content, headers=OWN | {"Content-Type": media_type})
    assert answer.status_code in (415, 422)
    Form(answer)


async def test_a_form_that_is_not_utf_8_gives_its_letters_back(harness: GatewayHarness) -> None:
    content = urlencode(FIELDS | {"body": ""}).encode() + b"caf%E9 and more"
    answer = await harness.http.post(f"{PATH}/comments", content=content, headers=OWN | FORM)
    check_returned(answer, 422, "café and more")
    plain = "".join(f"{name}={value}\r\n" for name, value in (FIELDS | {"body": "“café”"}).items()).encode("cp1252")
    answer = await harness.http.post(f"{PATH}/comments", content=plain, headers=OWN | {"Content-Type": "text/plain"})
    check_returned(answer, 415, "“café”")


async def test_a_form_names_its_post_by_an_id_and_nothing_else(harness: GatewayHarness) -> None:
    for post_id in ("", "../../comments", "x"):
        answer = await post(harness, FIELDS | {"post_id": post_id})
        check_returned(answer, 422)  # with the right post in it
    assert {call.path for call in harness.services.comments.calls if call.method == "POST"} == {"/counts"}


@pytest.mark.parametrize("ref", ["none-such", "%C3%BCber", f"{ID[:-1]}9"])
async def test_a_comment_leads_to_the_post_that_it_is_under(harness: GatewayHarness, ref: str) -> None:
    answer = await post(harness, path=f"/posts/{ref}/comments")
    assert answer.headers["Location"] == f"{PATH}?said={COMMENT_ID}#c-{COMMENT_ID}"
    for own in (SLUG, ID, ID.upper()):
        answer = await post(harness, path=f"/posts/{own}/comments")
        assert answer.headers["Location"].partition("?")[0] == f"/posts/{own}"


async def test_a_comment_leads_to_its_post_even_when_posts_does_not_answer(harness: GatewayHarness) -> None:
    harness.services.posts.away = True
    answer = await post(harness, path="/posts/none-such/comments")
    assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (303, f"/posts/{ID}")


# Signed out while writing


@pytest.mark.parametrize("cookie", ["rapport=dead", "other=1"])
async def test_a_session_that_ended_gives_the_text_back_and_leads_on(harness: GatewayHarness, cookie: str) -> None:
    answer = await post(harness, FIELDS | {"parent_id": COMMENT_ID}, Cookie=cookie)
    form = check_returned(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert '<a href="/sign-in" target="_blank" rel="noopener">' in form.page
    assert re.findall(r"\w+ tab\b", form.content) == ["new tab"]
    assert "shown there again" in form.page
    assert form.fields["parent_id"] == COMMENT_ID
    assert f'href="{comment_path(SLUG, COMMENT_ID)}" target="_blank"' in form.page
    harness.http.cookies.clear()
    again = await harness.http.post(form.action, data=form.fields | {"body": form.text}, headers=OWN)  # in that tab
    assert again.status_code == 303
    assert harness.services.comments.calls[-1].body == {"body": TEXT, "parent_id": COMMENT_ID}
    assert harness.services.comments.calls[-1].headers == {"Idempotency-Key": KEY}


async def test_signing_in_by_a_link_leads_back_to_the_text(harness: GatewayHarness) -> None:
    keep(harness, UNKNOWN, raw_comment(7, id=UNKNOWN))
    refused = await post(harness, FIELDS | {"parent_id": UNKNOWN}, Cookie="rapport=dead")
    cookies = refused.headers.get_list("Set-Cookie")
    assert all("; HttpOnly; SameSite=Lax" in cookie for cookie in cookies)
    lives = [int(re.findall(r"Max-Age=([0-9]+)", cookie)[0]) for cookie in cookies]
    assert min(lives) > SIGN_IN_PERIOD.total_seconds()  # the link of a mail that goes out late lives as long
    assert [cookie.partition("=")[0] for cookie in cookies] == ["rapport_back", "rapport_draft"]
    assert "; Path=/draft; " in cookies[1]  # not with every request
    came_from = {"Referer": f"http://rapport.test{PATH}/comments"}
    await harness.http.get("/sign-in", headers=came_from)
    harness.services.people.on("POST", "/sessions", lambda _: answered({"session_id": "good", "person": {}}, 201))
    entered = await harness.http.post("/sign-in/secret")
    assert entered.headers["Location"] == "/draft"
    form = Form(await harness.http.get("/draft"))
    assert form.text == TEXT
    assert form.fields == {"post_id": ID, "key": KEY, "for": ANNA, "parent_id": UNKNOWN}
    assert form.page.index(f'id="c-{UNKNOWN}"') < form.page.index("<textarea")
    assert not form.title.startswith("Error")
    sent = await harness.http.post(
        form.action, data=form.fields | {"body": form.text}, headers={"Origin": "http://rapport.test"}
    )
    assert sent.status_code == 303


async def test_a_text_that_no_cookie_holds_stays_in_its_tab(harness: GatewayHarness) -> None:
    text = "".join(chr(0x4E00 + number * 7 % 20_000) for number in range(10_000))
    answer = await post(harness, FIELDS | {"body": text}, Cookie="rapport=dead")
    form = check_returned(answer, 401, text)
    assert "shown there again" not in form.page
    assert "your text stays here" in form.page
    assert "rapport_draft" not in str(answer.headers.get_list("Set-Cookie"))
    harness.services.people.on("POST", "/sessions", lambda _: answered({"session_id": "good", "person": {}}, 201))
    assert (await harness.http.post("/sign-in/secret")).headers["Location"] == PATH


@pytest.mark.parametrize(
    ("parent_id", "location"),
    [("", "?comments=LATER#comments"), (COMMENT_ID, f"?comments=LATER&reply_to={COMMENT_ID}#reply-{COMMENT_ID}")],
)
async def test_a_text_that_no_cookie_holds_leads_back_to_its_place(
    harness: GatewayHarness, parent_id: str, location: str
) -> None:
    text = "".join(chr(0x4E00 + number * 7 % 20_000) for number in range(10_000))
    fields = FIELDS | {"body": text, "parent_id": parent_id}
    refused = await post(harness, fields, f"{PATH}/comments?comments=LATER", Cookie="rapport=dead")
    assert parent_id or f'href="{PATH}?comments=LATER#comments" target="_blank"' in refused.text
    harness.services.people.on("POST", "/sessions", lambda _: answered({"session_id": "good", "person": {}}, 201))
    assert (await harness.http.post("/sign-in/secret")).headers["Location"] == PATH + location


async def test_a_draft_is_shown_in_the_place_where_it_was_written(harness: GatewayHarness) -> None:
    later = raw_comment(90)
    harness.services.comments.on(
        "GET", f"/posts/{ID}/comments", lambda call: {"items": [later] if call.params else [], "next": None}
    )
    refused = await post(harness, FIELDS, f"{PATH}/comments?comments=LATER", Cookie="rapport=dead")
    draft = refused.headers.get_list("Set-Cookie")[1].partition(";")[0]
    harness.http.cookies.clear()
    form = Form(await harness.get("/draft", Cookie=f"{draft}; rapport=good"))
    assert form.text == TEXT
    assert f'id="c-{later["id"]}"' in form.page


def packed(*fields: Any) -> str:
    return base64.urlsafe_b64encode(zlib.compress(orjson.dumps(fields))).decode()


@pytest.mark.parametrize(
    "value",
    [
        *("", "x", "eJw", "4pyT" * 900, "eNoBAAD__wAAAAE"),
        packed(SLUG, ID, None, KEY, None, "text"),
        packed(SLUG, ID, {}, KEY, [], "text", ""),
        packed("../republish", ID, None, KEY, None, "text", ""),
        packed("", ID, None, KEY, None, "text", ""),
        packed(SLUG, ID, "../x", KEY, None, "text", ""),
        packed(SLUG, ID, None, KEY, None, "x" * 1_000_000, ""),
    ],
)
async def test_a_cookie_that_holds_no_text_leads_to_the_front_page(harness: GatewayHarness, value: str) -> None:
    answer = await harness.get("/draft", Cookie=f"rapport=good; rapport_draft={value}")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


async def drafted(harness: GatewayHarness, fields: dict[str, str] = FIELDS) -> str:
    """Return the cookie of a form that was refused because nobody was signed in."""
    refused = await post(harness, fields, Cookie="rapport=dead")
    harness.http.cookies.clear()
    return refused.headers.get_list("Set-Cookie")[1].partition(";")[0]


async def test_a_draft_is_shown_again_before_and_after_signing_in(harness: GatewayHarness) -> None:
    draft = await drafted(harness)
    check_returned(await harness.get("/draft", Cookie=draft), 401)
    harness.http.cookies.clear()
    own = await harness.get("/draft", Cookie=f"{draft}; rapport=good")
    assert own.status_code == 200
    assert (Form(own).text, Form(own).fields["for"], Form(own).sentence) == (TEXT, ANNA, "")
    harness.services.posts.away = True
    check_returned(await harness.get("/draft", Cookie=f"{draft}; rapport=good"), 503)


@pytest.mark.parametrize("posts_away", [False, True])
async def test_a_draft_of_somebody_else_says_so(harness: GatewayHarness, posts_away: bool) -> None:
    draft = await drafted(harness)
    harness.services.posts.away = posts_away
    answer = await harness.get("/draft", Cookie=f"{draft}; rapport=ben")
    form = Form(answer)
    assert answer.status_code == 409
    assert "signed in as Name b now" in form.sentence
    assert "opened by somebody else" in form.sentence
    assert (form.text, form.fields["key"]) == (TEXT, KEY)
    assert form.fields["for"] == (ANNA if posts_away else BEN)


async def test_a_draft_that_names_nobody_says_that_it_may_be_anybodys(harness: GatewayHarness) -> None:
    draft = f"rapport_draft={packed(SLUG, ID, None, KEY, None, TEXT, '')}"
    answer = await harness.get("/draft", Cookie=f"{draft}; rapport=good")
    form = Form(answer)
    assert answer.status_code == 409
    assert form.text == TEXT
    assert form.sentence == DRAFT_OF_NOBODY
    assert "what you wrote before" not in form.page


async def test_a_draft_ends_when_its_author_signs_out_or_a_comment_is_taken(harness: GatewayHarness) -> None:
    harness.services.people.on("DELETE", "/sessions/current", lambda _: answered(None, 204))
    ends = "rapport_draft=; Path=/draft; Max-Age=0; HttpOnly; SameSite=Lax"
    for cookie in ("rapport=good", "rapport=dead"):
        answer = await post(harness, {"for": ANNA}, "/sign-out", Cookie=cookie)
        assert answer.status_code == 303
        assert ends in answer.headers.get_list("Set-Cookie")
        assert "rapport=; Path=/; Max-Age=0" in str(answer.headers.get_list("Set-Cookie"))
    kept = await post(harness, {"for": ANNA}, "/sign-out", Cookie="rapport=ben")
    assert kept.status_code == 409
    assert "Set-Cookie" not in kept.headers
    taken = await post(harness)
    assert taken.status_code == 303
    assert taken.headers.get_list("Set-Cookie") == [ends]


# The key, and for whom the form is


async def test_the_key_lives_as_long_as_the_form(harness: GatewayHarness) -> None:
    form: Form | None = None
    for problem in (unavailable("Busy."), Problem("still-running", headers={"Retry-After": "1"}), unavailable("Busy.")):
        harness.services.comments.on("POST", f"/posts/{ID}/comments", problem)
        form = check_returned(
            await post(harness, form.fields | {"body": form.text} if form else FIELDS), problem.status
        )
    sent = [call.headers for call in harness.services.comments.calls if call.path == f"/posts/{ID}/comments"]
    assert [one for one in sent if one] == [{"Idempotency-Key": KEY}] * 3


async def test_a_key_that_something_else_was_stored_with_is_replaced(harness: GatewayHarness) -> None:
    harness.services.comments.on("POST", f"/posts/{ID}/comments", Problem("idempotency-key-reused"))
    form = Form(await post(harness))
    assert form.text == TEXT
    assert form.fields["key"] != KEY
    assert "already stored" in form.sentence


async def test_a_form_says_for_whom_it_is(harness: GatewayHarness) -> None:
    assert Form(await harness.get(PATH, **OWN)).fields["for"] == ANNA
    answer = await post(harness, Cookie="rapport=ben")
    assert answer.status_code == 409
    form = Form(answer)
    assert form.text == TEXT
    assert form.fields["for"] == BEN
    assert form.fields["key"] == KEY
    assert "signed in as Name b now" in form.sentence
    assert harness.services.comments.count("POST", f"/posts/{ID}/comments") == 0
    sent = await post(harness, form.fields | {"body": form.text}, Cookie="rapport=ben")
    assert sent.status_code == 303
    without = {name: value for name, value in FIELDS.items() if name != "for"}  # shown by a version before this one
    assert (await post(harness, without)).status_code == 303


async def test_signing_out_ends_nobody_elses_session(harness: GatewayHarness) -> None:
    harness.services.people.on("DELETE", "/sessions/current", lambda _: answered(None, 204))
    answer = await post(harness, {"for": ANNA}, "/sign-out", Cookie="rapport=ben")
    assert answer.status_code == 409
    assert "signed in as Name b now" in html.unescape(answer.text)
    assert '<form method="post" action="/sign-out">' in answer.text
    assert harness.services.people.count("DELETE", "/sessions/current") == 0
    assert (await post(harness, {"for": BEN}, "/sign-out", Cookie="rapport=ben")).status_code == 303


async def test_signing_out_twice_ends_at_the_front_page(harness: GatewayHarness) -> None:
    answer = await post(harness, {}, "/sign-out", Cookie="rapport=dead")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "rapport=; Path=/; Max-Age=0" in answer.headers["Set-Cookie"]


# Where the form stands


@pytest.mark.parametrize("query", ["comments=LATER", "thread={top}", "thread={top}&replies=MORE"])
async def test_a_reply_stands_below_what_it_answers_on_whatever_page(harness: GatewayHarness, query: str) -> None:
    top, far = raw_comment(1), raw_comment(90, author_id=BEN)
    query = query.format(top=top["id"])
    comments = harness.services.comments
    listed = {"items": [far], "next": None}
    whole = {"items": [top | {"replies": {"items": [far], "next": None}}], "next": "L"}
    comments.on("GET", f"/posts/{ID}/comments", lambda call: listed if call.params.get("cursor") else whole)
    keep(harness, top["id"], raw_comment(1, replies=[far]))
    keep(harness, far["id"], far)
    comments.on("GET", f"/comments/{top['id']}/replies", listed)
    page = (await harness.get(f"{PATH}?{query}", **OWN)).text
    link = next(one for one in re.findall(r'<a href="([^"]*reply_to=[^"]*)"', page) if far["id"] in one)
    opened = Form(await harness.get(PATH + html.unescape(link), **OWN))
    assert opened.page.index(f'id="c-{far["id"]}"') < opened.page.index("<textarea")
    assert opened.fields["parent_id"] == far["id"]
    comments.on("POST", f"/posts/{ID}/comments", invalid("body", "must not be empty"))
    refused = check_returned(
        await post(harness, opened.fields | FIELDS, opened.action),
        422,
    )
    assert refused.page.index(f'id="c-{far["id"]}"') < refused.page.index("<textarea")
    assert refused.action == opened.action


async def test_a_reply_to_a_comment_of_another_page_shows_that_comment(harness: GatewayHarness) -> None:
    far = raw_comment(90)
    keep(harness, far["id"], far)
    form = Form(await harness.get(f"{PATH}?reply_to={far['id']}", **OWN))
    assert form.page.index(f'id="c-{far["id"]}"') < form.page.index("<textarea")
    assert "One part of the discussion" in form.page


@pytest.mark.parametrize("changes", [{"depth": 100}, {"state": "held"}, {"post_id": UNKNOWN}, None])
async def test_no_reply_is_offered_that_cannot_be_taken(harness: GatewayHarness, changes: Any) -> None:
    far = raw_comment(90) | (changes or {})
    keep(harness, far["id"], far if changes else not_found())
    form = Form(await harness.get(f"{PATH}?reply_to={far['id']}", **OWN))
    assert "parent_id" not in form.fields
    assert "takes no replies" in form.page
    if changes == {"depth": 100}:
        harness.services.comments.on("GET", f"/posts/{ID}/comments", {"items": [far], "next": None})
        page = (await harness.get(PATH, **OWN)).text
        assert f'id="c-{far["id"]}"' in page
        assert "reply_to=" not in page


async def test_a_reply_whose_comment_went_may_become_a_comment_on_the_post(harness: GatewayHarness) -> None:
    keep(harness, UNKNOWN, not_found())
    harness.services.comments.on("POST", f"/posts/{ID}/comments", invalid("parent_id", "is not a visible comment"))
    form = check_returned(await post(harness, FIELDS | {"parent_id": UNKNOWN}), 422)
    assert form.sentence == "The comment above is not a visible comment."
    assert '<button name="parent_id" value="" formaction="' in form.content
    await post(harness, form.fields | {"body": form.text, "parent_id": ""})
    assert harness.services.comments.calls[-1].body == {"body": TEXT} or "parent_id" not in str(
        [call.body for call in harness.services.comments.calls if call.path == f"/posts/{ID}/comments"][-2:]
    )


@pytest.mark.parametrize("parent_id", ['"><b>', "../../posts", "x", " "])
async def test_a_parent_that_is_no_id_is_refused_and_not_forgotten(harness: GatewayHarness, parent_id: str) -> None:
    form = check_returned(await post(harness, FIELDS | {"parent_id": parent_id}), 422)
    assert "parent_id" not in form.fields
    assert form.sentence == "The comment above is unknown. Press the button to comment on the post instead."
    assert harness.services.comments.count("POST", f"/posts/{ID}/comments") == 0


# Other forms


ACCOUNT = {"name": "Zoë <b>", "email": "zo&e@example.com"}


@pytest.mark.parametrize(("path", "upstream"), [("/sign-in", "/sign-in"), ("/register", "/people")])
async def test_a_refused_form_to_sign_in_keeps_its_fields(harness: GatewayHarness, path: str, upstream: str) -> None:
    def check(answer: httpx2.Response, status: int) -> str:
        assert answer.status_code == status
        assert answer.text.count(html.escape(ACCOUNT["email"])) == 1
        assert (html.escape(ACCOUNT["name"]) in answer.text) == (path == "/register")
        assert "<title>Error: Sign in" in answer.text
        assert answer.text.count('role="alert"') == 1
        assert f'formaction="{path}#' in answer.text
        return answer.text

    fields = ACCOUNT if path == "/register" else {"email": ACCOUNT["email"]}
    harness.services.people.on("POST", upstream, invalid("email", "must be an address"))
    page = check(await post(harness, fields, path), 422)
    assert "The address must be an address." in page
    assert page.count('aria-invalid="true"') == 1
    harness.services.people.on("POST", upstream, Problem("too-many-requests", headers={"Retry-After": "9"}))
    assert "in 9 seconds" in check(await post(harness, fields, path), 429)
    harness.services.people.away = True
    check(await post(harness, fields, path), 503)
    check(await post(harness, fields, path, Origin="https://evil.test"), 403)
    check(await post(harness, fields, path, **{"Sec-Fetch-Site": "cross-site"}), 403)
    check(await post(harness, fields | {"more": "x" * 400_000}, path), 413)
    files: Any = {name: (None, value) for name, value in fields.items()}
    check(await harness.http.post(path, files=files, headers=OWN), 415)


async def test_too_many_tries_to_sign_in_keep_the_fields(new_harness: NewHarness) -> None:
    harness = await new_harness(rate_limits="on")
    answers = [await harness.http.post("/register", data=ACCOUNT) for _ in range(121)]
    assert answers[10].status_code == answers[-1].status_code == 429
    for answer in (answers[10], answers[-1]):
        assert f'value="{html.escape(ACCOUNT["name"])}"' in answer.text


async def test_nothing_is_cut_while_it_is_typed(harness: GatewayHarness) -> None:
    for path in (PATH, "/sign-in"):
        assert "maxlength" not in (await harness.get(path, **OWN)).text


async def test_a_refused_button_to_sign_in_stays_a_button(harness: GatewayHarness) -> None:
    harness.services.people.on("POST", "/sessions", unavailable("Busy."))
    answer = await harness.http.post("/sign-in/secret")
    assert answer.status_code == 503
    assert '<form method="post" action="/sign-in/secret">' in answer.text
    assert (await harness.http.post("/sign-in/secret", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403
    for kind, status in (("link-used-or-expired", 410), ("not-found", 404)):
        harness.services.people.on("POST", "/sessions", Problem(kind))
        answer = await harness.http.post("/sign-in/secret")
        assert answer.status_code == status
        assert '<a class="button" href="/sign-in">Ask for another link</a>' in answer.text


async def test_a_refused_button_to_unsubscribe_stays_a_button(harness: GatewayHarness) -> None:
    harness.services.notify.on("POST", "/unsubscribe/secret", unavailable("Busy."))
    for fields, status in (({"List-Unsubscribe": "One-Click"}, 503), ({"x": "y"}, 400)):
        answer = await harness.http.post("/unsubscribe/secret", data=fields)
        assert answer.status_code == status
        assert 'value="One-Click"' in answer.text
        assert 'role="alert"' in answer.text
