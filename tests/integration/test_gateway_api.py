"""The whole gateway over fake services: what it adds to their answers, and what it does when they do not answer."""

import json
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from services.chassis.errors import Problem, not_found
from services.contracts.people import REQUESTER
from services.gateway.access import rate_limits
from services.gateway.access.counters import Policy
from tests.integration.gateway_harness import (
    ANNA,
    COMMENT,
    COMMENT_ID,
    ID,
    SLUG,
    GatewayHarness,
    NewHarness,
    kind,
)
from tests.unit.gateway_fakes import answered, raw_post


async def test_writes_have_rate_limit_headers_and_reads_have_none(new_harness: NewHarness) -> None:
    harness = await new_harness(rate_limits="on")
    answer = await harness.comment()
    assert answer.status_code == 201
    assert answer.headers["RateLimit-Policy"] == f'"posting";q={rate_limits.POSTING.quota};w=60'
    assert answer.headers["RateLimit"].startswith(f'"posting";r={rate_limits.POSTING.quota - 1};t=')
    for refused in (
        await harness.http.post(f"/v1/posts/{ID}/comments", json={"body": "x"}),
        await harness.http.post(f"/v1/posts/{ID}/comments", headers={"Authorization": "Bearer x"}),
        await harness.http.post(f"/v1/posts/{ID}/comments", headers=harness.anna, content=b"{"),
    ):
        assert refused.status_code in (400, 401, 415)
        assert "RateLimit" in refused.headers
    assert "RateLimit" not in (await harness.get("/v1/posts")).headers


@pytest.mark.parametrize("letter", ["😀", "\u03b1\u0313\u0301\u0345"])
async def test_the_longest_texts_are_forwarded_in_any_spelling(harness: GatewayHarness, letter: str) -> None:
    body = json.dumps({"body": letter * 10_000}).encode()
    sent = harness.anna | {"Content-Type": "application/json"}
    answer = await harness.http.post(f"/v1/posts/{ID}/comments", content=body, headers=sent)
    assert answer.status_code == 201
    harness.services.posts.on("POST", "/posts", lambda _: answered(raw_post(), 201, Location="/v1/posts/x"))
    body = json.dumps({"title": letter * 300, "body": letter * 60_000}).encode()
    answer = await harness.http.post("/v1/posts", content=body, headers=sent)
    assert answer.status_code == 201
    assert harness.services.posts.calls[-1].body["body"] == letter * 60_000


async def test_too_many_writes_are_refused_before_they_are_forwarded(
    new_harness: NewHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = await new_harness(rate_limits="on")
    monkeypatch.setattr("services.gateway.guards.POSTING", Policy("posting", 2, 3_600))
    for _ in range(2):
        assert (await harness.comment()).status_code == 201
    answer = await harness.comment(**{"Idempotency-Key": "replayed"})
    assert (answer.status_code, kind(answer)) == (429, "too-many-requests")
    assert 1 <= int(answer.headers["Retry-After"]) <= 3_600
    assert answer.headers["RateLimit"].startswith('"posting";r=0;t=')
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert harness.services.comments.count("POST", f"/posts/{ID}/comments") == 2


async def test_too_many_reads_are_refused_with_rate_limit_headers(
    new_harness: NewHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = await new_harness(rate_limits="on")
    monkeypatch.setattr("services.gateway.guards.READING", Policy("reading", 1, 86_400, strict=False))
    assert (await harness.get("/v1/posts", **harness.anna)).status_code == 200
    answer = await harness.get("/v1/posts", **harness.anna)
    assert (answer.status_code, kind(answer)) == (429, "too-many-requests")
    assert answer.headers["RateLimit"].startswith('"reading";r=0;t=')


async def test_sign_in_mails_to_one_address_are_limited(new_harness: NewHarness) -> None:
    harness = await new_harness(rate_limits="on")
    for number in range(rate_limits.SIGN_IN_PER_ADDRESS.quota):
        spelled = {"email": " Anna@Example.com " if number % 2 else "anna@example.com"}
        assert (await harness.http.post("/v1/sign-in", json=spelled)).status_code == 202
    answer = await harness.http.post("/v1/people", json={"name": "x", "email": "anna@example.com"})
    assert (answer.status_code, kind(answer)) == (429, "too-many-requests")
    assert answer.headers["RateLimit-Policy"].count(";q=") == 2
    assert (await harness.http.post("/v1/sign-in", json={"email": "ben@example.com"})).status_code == 202


async def test_asking_for_mails_uses_up_nothing_of_what_those_with_a_mail_or_a_session_need(
    new_harness: NewHarness,
) -> None:
    harness = await new_harness(rate_limits="on")
    for number in range(rate_limits.SIGN_IN.quota):
        await harness.http.post("/v1/sign-in", json={"email": f"p{number}@example.com"})
    for path, body in (("/v1/sign-in", {"email": "x@example.com"}), ("/v1/people", {"email": "x@x.org", "name": "x"})):
        assert (await harness.http.post(path, json=body)).status_code == 429
    refused: dict[str, Any] = {
        "/sessions/refresh": Problem("invalid-refresh-token"),
        "/sessions": Problem("link-used-or-expired"),
        "/sessions/by-code": Problem("invalid-code"),
    }
    for upstream, problem in refused.items():
        harness.services.people.on("POST", upstream, problem)
    used = await harness.http.post("/v1/sessions", json={"token": "x"})
    assert (used.status_code, kind(used)) == (410, "link-used-or-expired")
    assert (await harness.http.post("/v1/sessions", json={"request": "x", "code": "1"})).status_code == 401
    assert (await harness.http.post(f"/sign-in/{'x' * 43}", data={})).status_code == 410
    assert (await harness.http.post("/sign-in/code", data={"request": "x", "code": "1"})).status_code == 401
    refreshed = await harness.http.post("/v1/sessions/refresh", json={"refresh_token": "x"})
    assert (refreshed.status_code, kind(refreshed)) == (401, "invalid-refresh-token")
    assert refreshed.headers["RateLimit-Policy"] == '"refresh";q=1200;w=60'


async def test_wrong_codes_do_not_stop_sessions_from_being_refreshed(new_harness: NewHarness) -> None:
    harness = await new_harness(rate_limits="on")
    for path, problem in (("by-code", "invalid-code"), ("refresh", "invalid-refresh-token")):
        harness.services.people.on("POST", f"/sessions/{path}", Problem(problem))
    body = {"request": "x", "code": "1"}
    answers = [(await harness.http.post("/v1/sessions", json=body)).status_code for _ in range(121)]
    assert answers == [401] * 120 + [429]
    answers = [
        (await harness.http.post("/v1/sessions/refresh", json={"refresh_token": "x"})).status_code for _ in range(200)
    ]
    assert answers == [401] * 200
    assert (await harness.http.post("/v1/sign-in", json={"email": "ben@example.com"})).status_code == 202


HUGE = "1" * 400  # what orjson refuses and the standard library reads
SPELLINGS = [
    b'{"email": "anna@example.com"}',
    b'{"email": " Anna@EXAMPLE.com "}',
    '{"email": "anna@ｅｘａｍｐｌｅ.com"}'.encode(),
    '{"email": "anna@example。com"}'.encode(),
    b'{"\\u0065mail": "\\u0061nna@ex\\u0061mple.com"}',
    b'{"email": "eve@example.com", "email": "anna@example.com"}',
    b'{"email": "anna+1@example.com"}',
    b'{"email": "ANNA+a+b@example.com"}',
    f'{{"name": {HUGE}, "name": "x", "email": "anna@example.com"}}'.encode(),
    b'{"name": "\\ud800", "name": "x", "email": "anna@example.com"}',
    b'{"name": "x", "email": "anna@example.com"}\n',
]
IDN_SPELLINGS = [
    '{"email": "anna@bücher.example"}'.encode(),
    b'{"email": "anna@xn--bcher-kva.example"}',
    b'{"email": "anna@XN--BCHER-KVA.example"}',
    '{"email": "anna@bu\u0308cher.example"}'.encode(),
    '{"email": "anna+x@BÜCHER.example"}'.encode(),
    '{"email": "anna@ｂücher．example"}'.encode(),
]


@pytest.mark.parametrize("spellings", [SPELLINGS, IDN_SPELLINGS])
async def test_every_spelling_of_an_address_is_counted_as_one(
    new_harness: NewHarness, monkeypatch: pytest.MonkeyPatch, spellings: list[bytes]
) -> None:
    harness = await new_harness(rate_limits="on")
    quota = len(spellings)
    monkeypatch.setattr("services.gateway.sessions.SIGN_IN_PER_ADDRESS", Policy("address", quota, 86_400))
    json = {"Content-Type": "application/json"}
    for number, body in enumerate(spellings, 1):
        path = "/v1/people" if b"name" in body else "/v1/sign-in"
        answer = await harness.http.post(path, content=body, headers=json)
        assert answer.status_code == 202, (body, answer.text)
        assert f'"address";r={quota - number};' in answer.headers["RateLimit"], body
    for body in spellings:
        path = "/v1/people" if b"name" in body else "/v1/sign-in"
        assert (await harness.http.post(path, content=body, headers=json)).status_code == 429, body
    form = {"email": orjson.loads(spellings[0])["email"].upper()}
    assert (await harness.http.post("/sign-in", data=form)).status_code == 429


async def test_people_gets_the_value_that_was_counted(harness: GatewayHarness) -> None:
    body = f'{{"name": {HUGE}, "email": "eve@example.com", "name": " x ", "email": " anna@example.com "}}'
    answer = await harness.http.post("/v1/people", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
    assert harness.services.people.calls[-1].body == {"name": "x", "email": "anna@example.com"}


@pytest.mark.parametrize("email", ["anna@example.com.", "anna", "anna@example.com, eve@example.com", '"a"@example.com'])
async def test_what_is_no_address_goes_no_further(harness: GatewayHarness, email: str) -> None:
    for path, body in (("/v1/sign-in", {"email": email}), ("/v1/people", {"name": "x", "email": email})):
        answer = await harness.http.post(path, json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "email")
    assert (await harness.http.post("/sign-in", data={"email": email})).status_code == 422
    assert not harness.services.people.count("POST", "/sign-in")


async def test_strangers_do_not_use_up_the_requests_of_the_owner(new_harness: NewHarness) -> None:
    harness = await new_harness(rate_limits="on", trusted_proxies="192.0.2.0/24")

    async def ask(network: str) -> int:
        body, headers = {"email": "anna@example.com"}, {"X-Forwarded-For": network}
        return int((await harness.http.post("/v1/sign-in", json=body, headers=headers)).status_code)

    for number in range(rate_limits.SIGN_IN_PER_ADDRESS.quota + 1):
        asked = await ask(f"2001:db8::{number:x}")
    assert asked == 429
    assert await ask("198.51.100.1") == 202


async def test_people_is_told_who_asks_for_a_mail_by_a_pseudonym(new_harness: NewHarness) -> None:
    harness = await new_harness(trusted_proxies="192.0.2.0/24")
    for path in ("/v1/sign-in", "/sign-in"):
        seen = []
        for client in ("2001:db8::1", "[2001:db8::2]:80", "2001:db8:0:1::1"):
            body, headers = {"email": "anna@example.com"}, {"X-Forwarded-For": client, REQUESTER: "forged"}
            json, form = (body, None) if path == "/v1/sign-in" else (None, body)
            assert (await harness.http.post(path, headers=headers, json=json, data=form)).status_code == 202
            seen.append(harness.services.people.calls[-1].headers[REQUESTER])
        assert seen[0] == seen[1] != seen[2]
        assert not any("2001" in one or one == "forged" for one in seen)


async def test_x_forwarded_for_counts_only_from_trusted_proxies(
    new_harness: NewHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.guards.READING", Policy("reading", 1, 86_400, strict=False))
    apart = await new_harness(rate_limits="on", trusted_proxies="192.0.2.0/24, 203.0.113.9")
    for client in ("198.51.100.1", "198.51.100.2"):
        forged = {"X-Forwarded-For": f"198.51.100.77, {client}, 203.0.113.9"}
        assert (await apart.get("/v1/site", **forged)).status_code == 200
        assert (await apart.get("/v1/site", **forged)).status_code == 429
    alike = await new_harness(rate_limits="on")
    assert (await alike.get("/v1/site", **{"X-Forwarded-For": "198.51.100.3"})).status_code == 200
    assert (await alike.get("/v1/site", **{"X-Forwarded-For": "198.51.100.4"})).status_code == 429


async def test_an_incomplete_answer_says_so_and_is_not_stored(harness: GatewayHarness) -> None:
    harness.services.comments.away = True
    for path in ("/v1/posts", f"/v1/posts/{SLUG}"):
        answer = await harness.get(path)
        assert answer.status_code == 200
        assert answer.json()["unavailable"] == ["comment_count"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["ETag"]
    harness.services.comments.away = False
    whole = await harness.get("/v1/posts")
    assert "unavailable" not in whole.json()
    assert whole.json()["items"][0]["comment_count"] == 1


async def test_a_missing_required_part_is_503(harness: GatewayHarness) -> None:
    harness.services.posts.away = True
    harness.services.comments.away = True
    for path in ("/v1/posts", f"/v1/posts/{SLUG}", f"/v1/posts/{SLUG}/page", f"/v1/posts/{ID}/comments"):
        answer = await harness.get(path)
        assert (answer.status_code, kind(answer)) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_an_unchecked_viewer_sees_what_anonymous_readers_see(harness: GatewayHarness) -> None:
    cookie = {"Cookie": "rapport=x"}  # people does not answer the check
    answer = await harness.get(f"/v1/posts/{SLUG}/page", **cookie)
    assert answer.json()["viewer"] is None
    assert answer.json()["unavailable"] == ["viewer"]
    assert answer.headers["Cache-Control"] == "no-store"
    harness.services.posts.on("GET", "/posts/draft", not_found())
    assert (await harness.get("/v1/posts/draft")).status_code == 404
    answer = await harness.get("/v1/posts/draft", **cookie)
    assert (answer.status_code, kind(answer)) == (503, "unavailable")
    assert (await harness.get("/v1/me", **cookie)).status_code == 503


async def test_anonymous_reads_are_cached_until_a_write_through_this_gateway(harness: GatewayHarness) -> None:
    path = f"/v1/posts/{SLUG}/page"

    async def asked() -> int:
        before = len(harness.services.comments.calls)
        assert (await harness.get(path)).status_code == 200
        return len(harness.services.comments.calls) - before

    assert await asked() > 0
    assert await asked() == 0
    assert (await harness.comment()).status_code == 201
    assert await asked() > 0
    assert await asked() == 0
    assert (await harness.http.delete(f"/v1/comments/{COMMENT_ID}", headers=harness.anna)).status_code == 204
    assert await asked() > 0
    harness.services.comments.on("POST", "/comments/lookup", None)
    assert (await harness.http.delete(f"/v1/comments/{COMMENT_ID}", headers=harness.anna)).status_code == 204
    assert await asked() > 0


async def test_reads_that_show_who_is_signed_in_are_never_served_from_the_cache(harness: GatewayHarness) -> None:
    path = f"/v1/posts/{SLUG}/page"
    await harness.get(path)
    for count in (2, 3):
        assert (await harness.get(path, **harness.anna)).headers["Cache-Control"] == "private, no-cache"
        assert harness.services.posts.count("GET", f"/posts/{SLUG}") == count


async def test_an_incomplete_answer_is_not_cached(harness: GatewayHarness) -> None:
    harness.services.people.away = True
    assert (await harness.get(f"/v1/posts/{SLUG}")).json()["unavailable"] == ["people"]
    harness.services.people.away = False
    assert (await harness.get(f"/v1/posts/{SLUG}")).json()["author"]["name"] == "Name a"


async def test_a_write_is_forwarded_with_its_body_and_headers(harness: GatewayHarness) -> None:
    body = '{"body": "wörd", "parent_id": null}'.encode()
    answer = await harness.http.post(
        f"/v1/posts/{ID}/comments",
        content=body,
        headers=harness.anna | {"Content-Type": "application/json", "Idempotency-Key": "a key", "If-Match": '"1-x"'},
    )
    assert answer.status_code == 201
    assert answer.headers["Location"] == "/v1/comments/x"
    call = harness.services.comments.calls[-1]
    assert call.body == {"body": "wörd", "parent_id": None}
    assert call.headers == {"Idempotency-Key": "a key", "If-Match": '"1-x"'}
    assert call.caller is not None
    assert (str(call.caller.person_id), call.caller.roles) == (ANNA, frozenset({"author"}))


async def test_a_refusal_of_a_service_is_passed_on_with_the_public_request_id(harness: GatewayHarness) -> None:
    harness.services.comments.on("POST", f"/posts/{ID}/comments", Problem("discussion-closed", "It is closed."))
    answer = await harness.comment(**{"X-Request-ID": "mine"})
    assert (answer.status_code, kind(answer)) == (409, "discussion-closed")
    assert answer.json()["detail"] == "It is closed."
    assert answer.json()["instance"] == answer.headers["X-Request-ID"] == "mine"


async def test_a_deadline_header_of_a_client_is_ignored(harness: GatewayHarness) -> None:
    assert (await harness.get("/v1/posts", **{"X-Deadline-Seconds": "0"})).status_code == 200


async def test_a_comment_without_notification_is_explained_only_to_viewers_who_may_see_it(
    harness: GatewayHarness,
) -> None:
    told = {
        "comment_id": COMMENT_ID, "post_id": ID, "state": "none", "reasons": [], "why": "not_concerned",
        "text": "No.", "created_at": None, "sent_at": None, "heard": False,
    }  # fmt: skip
    harness.services.notify.on("GET", "/me/notifications/explain", told)
    harness.services.comments.on("GET", f"/comments/{COMMENT_ID}", not_found())
    path = f"/v1/me/notifications/explain?comment={COMMENT_ID}"
    assert (await harness.get(path, **harness.anna)).status_code == 404
    harness.services.comments.on("GET", f"/comments/{COMMENT_ID}", COMMENT)
    answer = await harness.get(path, **harness.anna)
    assert answer.status_code == 200
    assert "heard" not in answer.json()
    harness.services.comments.away = True
    harness.services.notify.on("GET", "/me/notifications/explain", told | {"heard": True})
    assert (await harness.get(path, **harness.anna)).status_code == 200


async def test_under_https_the_cookie_is_bound_to_the_host(new_harness: NewHarness) -> None:
    harness = await new_harness(public_url="https://rapport.test")
    harness.services.people.on("POST", "/sessions", lambda _: answered({"session_id": "opaque", "person": {}}, 201))
    answer = await harness.http.post("/sign-in/token", headers={"Origin": "https://rapport.test"})
    assert answer.status_code == 303
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-rapport=opaque; Path=/; ")
    assert cookie.endswith("; HttpOnly; SameSite=Lax; Secure")
    assert harness.services.people.calls[-1].body == {"token": "token", "cookie": True}


async def test_unexpected_errors_reveal_nothing(harness: GatewayHarness) -> None:
    harness.services.posts.on("GET", "/posts", {"nonsense": True})
    for path in ("/v1/posts", "/"):
        with capture_logs() as logged:
            answer = await harness.get(path)
        assert answer.status_code == 500
        assert [one["event"] for one in logged if one["log_level"] == "error"] == ["request failed"]
        assert "nonsense" not in answer.text
        assert "Traceback" not in answer.text
    with capture_logs():
        assert kind(await harness.get("/v1/posts")) == "internal"
