"""Signing in at the gateway: nonce and session cookies, codes, front ends elsewhere, and when credentials end."""

import re
from typing import Any
from uuid import UUID, uuid4

import httpx2
import orjson
import pytest
from structlog.testing import capture_logs

from services.chassis.errors import Problem, invalid, not_found, unavailable
from services.chassis.identity import Signer
from tests.integration.gateway_harness import ANNA, ID, SLUG, GatewayHarness, NewHarness, author, kind
from tests.unit.gateway_fakes import answered

ORIGIN = "http://rapport.test"
OWN = {"Origin": ORIGIN}
TOKEN, REQUEST, OLD, NEW = "t" * 43, "r" * 22, "a" * 43, "b" * 43
OLD_SID = str(uuid4())


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    harness = await new_harness()
    people = harness.services.people
    people.on("POST", "/sign-in/lookup", {"return_to": None})
    entered: dict[str, Any] = {"session_id": NEW, "person": {}, "ended": None}
    for path in ("/sessions", "/sessions/by-code"):
        people.on("POST", path, lambda _: answered(entered, 201))
    session = {"sid": OLD_SID, "person": author(ANNA) | {"roles": []}}
    people.on("POST", "/sessions/check", lambda call: session if call.body == {"session_id": OLD} else not_found())
    return harness


def sent(harness: GatewayHarness) -> Any:
    return harness.services.people.calls[-1].body


def nonce_of(answer: httpx2.Response) -> str:
    (cookie,) = [one for one in answer.headers.get_list("Set-Cookie") if one.startswith("rapport_nonce=")]
    found = re.fullmatch(
        r"rapport_nonce=([A-Za-z0-9_-]{43}); Path=/sign-in; Max-Age=1800; HttpOnly; SameSite=Lax", cookie
    )
    assert found is not None, cookie
    return found[1]


async def test_the_page_of_a_link_gives_the_browser_a_nonce(harness: GatewayHarness) -> None:
    first = nonce_of(await harness.get(f"/sign-in/{TOKEN}"))
    assert nonce_of(await harness.get(f"/sign-in/{'u' * 43}")) == first, "another tab keeps it"
    await harness.http.post(f"/sign-in/{TOKEN}", headers=OWN)
    assert sent(harness) == {"token": TOKEN, "cookie": True, "nonce": first}
    harness.http.cookies.clear()
    assert nonce_of(await harness.get(f"/sign-in/{TOKEN}")) != first


@pytest.mark.parametrize("forged", ["", "x", "x" * 44, "a" * 42 + "!", '"quoted"'])
async def test_a_nonce_of_another_form_is_replaced_and_not_passed_on(harness: GatewayHarness, forged: str) -> None:
    assert nonce_of(await harness.get(f"/sign-in/{TOKEN}", Cookie=f"rapport_nonce={forged}")) != forged
    harness.http.cookies.clear()
    await harness.http.post(f"/sign-in/{TOKEN}", headers=OWN | {"Cookie": f"rapport_nonce={forged}"})
    assert sent(harness) == {"token": TOKEN, "cookie": True}


async def test_under_https_the_nonce_is_secure(new_harness: NewHarness) -> None:
    harness = await new_harness(public_url="https://rapport.test")
    answer = await harness.get("/sign-in/abc")
    assert answer.headers["Set-Cookie"].endswith("; HttpOnly; SameSite=Lax; Secure")


async def test_the_cookie_that_a_browser_had_is_replaced_and_refused_at_once(harness: GatewayHarness) -> None:
    old = {"Cookie": f"rapport={OLD}"}
    assert "Signed in as" in (await harness.get("/", **old)).text
    harness.services.people.on(
        "POST", "/sessions", lambda _: answered({"session_id": NEW, "person": {}, "ended": OLD_SID}, 201)
    )
    answer = await harness.http.post(f"/sign-in/{TOKEN}", headers=OWN | old)
    assert answer.headers["Set-Cookie"].startswith(f"rapport={NEW}; ")
    assert sent(harness) == {"token": TOKEN, "cookie": True, "replaces": OLD}
    assert "Signed in as" not in (await harness.get("/", **old)).text
    assert kind(await harness.get("/v1/me", **old)) == "sign-in-required"


async def test_the_page_after_asking_takes_the_code(harness: GatewayHarness) -> None:
    for path, fields in (("/sign-in", {"email": "a@b.example"}), ("/register", {"email": "a@b.example", "name": "A"})):
        shown = await harness.http.post(path, data=fields, headers=OWN)
        assert shown.status_code == 202
        assert f'<input type="hidden" name="request" value="{REQUEST}">' in shown.text
        assert 'autocomplete="one-time-code"' in shown.text
        nonce = nonce_of(shown)
    answer = await harness.http.post("/sign-in/code", data={"request": REQUEST, "code": "1234 5678"}, headers=OWN)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert answer.headers["Set-Cookie"].startswith(f"rapport={NEW}; Path=/; ")
    assert sent(harness) == {"request": REQUEST, "code": "1234 5678", "cookie": True, "nonce": nonce}


async def test_a_form_for_a_mail_says_which_one_it_is(harness: GatewayHarness) -> None:
    keys = re.findall(r'name="key" value="([0-9a-f-]{36})"', (await harness.get("/sign-in")).text)
    assert len(keys) == 2
    for path, fields in (("/sign-in", {"email": "a@b.example"}), ("/register", {"email": "a@b.example", "name": "A"})):
        await harness.http.post(path, data=fields | {"key": keys[0]}, headers=OWN)
        assert sent(harness) == fields
        assert harness.services.people.calls[-1].headers["Idempotency-Key"] == keys[0]
        for forged in ("", "x", "x" * 300, "\r\nX: y"):
            await harness.http.post(path, data=fields | {"key": forged}, headers=OWN)
            assert "Idempotency-Key" not in harness.services.people.calls[-1].headers
    await harness.http.post("/v1/sign-in", json={"email": "a@b.example"}, headers={"Idempotency-Key": keys[0]})
    assert "Idempotency-Key" not in harness.services.people.calls[-1].headers


async def test_a_code_leads_back_to_the_post_the_reader_came_from(harness: GatewayHarness) -> None:
    await harness.get("/sign-in", Referer=f"{ORIGIN}/posts/{SLUG}")
    answer = await harness.http.post("/sign-in/code", data={"request": REQUEST, "code": "1"}, headers=OWN)
    assert answer.headers["Location"] == f"/posts/{SLUG}"


@pytest.mark.parametrize(
    ("problem", "status"),
    [(Problem("invalid-code"), 401), (invalid("code", "must not be empty"), 422), (unavailable("away"), 503)],
)
async def test_a_refused_code_is_given_back(harness: GatewayHarness, problem: Problem, status: int) -> None:
    harness.services.people.on("POST", "/sessions/by-code", problem)
    answer = await harness.http.post("/sign-in/code", data={"request": "<r>", "code": '"1'}, headers=OWN)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert 'name="request" value="&lt;r&gt;"' in answer.text
    assert 'value="&#34;1"' in answer.text
    assert 'role="alert"' in answer.text
    assert "rapport=" not in answer.headers["Set-Cookie"]


async def test_a_reload_after_a_code_leads_to_the_form(harness: GatewayHarness) -> None:
    answer = await harness.get("/sign-in/code")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")


SIGNING_IN = ["/sign-in", "/register", "/sign-in/code", f"/sign-in/{TOKEN}", "/sign-out"]


@pytest.mark.parametrize("path", SIGNING_IN)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_form_of_another_site_is_refused_without_an_origin_too(
    harness: GatewayHarness, path: str, site: str
) -> None:
    answer = await harness.http.post(path, data={"email": "a@b.example"}, headers={"Sec-Fetch-Site": site})
    assert answer.status_code == 403
    assert harness.services.people.calls == harness.services.people.calls[:1]  # the harness's own


async def test_signing_out_twice_leads_to_the_same_page(harness: GatewayHarness) -> None:
    harness.services.people.on("DELETE", "/sessions/current", lambda _: answered(None, 204))
    for _ in range(2):
        answer = await harness.http.post("/sign-out", headers=OWN | {"Cookie": f"rapport={OLD}"})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        assert "rapport=; Path=/; Max-Age=0" in answer.headers["Set-Cookie"]
    assert harness.services.people.count("DELETE", "/sessions/current") == 1
    harness.services.people.away = True
    answer = await harness.http.post("/sign-out", headers=OWN | {"Cookie": f"rapport={NEW}"})
    assert answer.status_code == 503
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("return_to", "origin", "source"),
    [
        ("https://front.example/in?x=1", "https://front.example", "https://front.example"),
        ("http://localhost:3000/in", "http://localhost:3000", "http://localhost:3000"),
        ("https://Front.example", "https://front.example", "https://front.example"),
        ("http://[::1]:3000/in", "http://[::1]:3000", "http:"),
    ],
)
async def test_a_link_leads_back_to_the_front_end_that_its_page_names(
    harness: GatewayHarness, return_to: str, origin: str, source: str
) -> None:
    people = harness.services.people
    people.on("POST", "/sign-in/lookup", {"return_to": return_to})
    people.on("POST", "/sessions", lambda _: answered({"return_to": return_to, "code": NEW}, 201))
    shown = await harness.get(f"/sign-in/{TOKEN}")
    assert sent(harness) == {"token": TOKEN}
    assert f"<strong>{origin}</strong>" in shown.text
    assert f"; form-action 'self' {source};" in shown.headers["Content-Security-Policy"]
    answer = await harness.http.post(f"/sign-in/{TOKEN}", headers=OWN)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{return_to}#code={NEW}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers


async def test_other_links_name_nobody(harness: GatewayHarness) -> None:
    shown = await harness.get(f"/sign-in/{TOKEN}")
    assert "; form-action 'self';" in shown.headers["Content-Security-Policy"]
    assert "<strong>" not in shown.text
    asked = len(harness.services.people.calls)
    for token in ("abc", "x" * 600, "%F0%9F%92%A9"):
        assert (await harness.get(f"/sign-in/{token}")).status_code == 200
    assert len(harness.services.people.calls) == asked


WAYS: list[tuple[dict[str, Any], str]] = [
    ({"token": "x"}, "/sessions"),
    ({"request": "r", "code": "1"}, "/sessions/by-code"),
    ({"code": "c", "verifier": "v"}, "/sessions/fetch"),
]


@pytest.mark.parametrize(("body", "path"), WAYS)
async def test_the_api_starts_sessions_in_three_ways(harness: GatewayHarness, body: Any, path: str) -> None:
    person = {"id": ANNA, "name": "Anna", "email": "anna@example.org", "email_confirmed": True, "avatar_url": None,
              "about": None, "roles": [], "created_at": "2026-11-23T04:35:00.000Z"}  # fmt: skip
    session = {"access_token": "x", "person": person}
    harness.services.people.on("POST", path, lambda _: answered(session, 201))
    answer = await harness.http.post("/v1/sessions", json=body)
    assert (answer.status_code, answer.json()) == (201, session)
    assert answer.headers["Cache-Control"] == "no-store"
    assert (harness.services.people.calls[-1].path, sent(harness)) == (path, body)
    harness.services.people.on("POST", path, Problem("invalid-code"))
    answer = await harness.http.post("/v1/sessions", json=body)
    assert (answer.status_code, kind(answer)) == (401, "invalid-code")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["token"]),
        ([], [""]),
        ("token", [""]),
        (None, [""]),
        ({"code": "1"}, ["request"]),
        ({"request": "1"}, ["code"]),
        ({"verifier": "1"}, ["code"]),
        ({"token": "x", "code": "1"}, ["code"]),
        ({"token": "x", "request": "r", "verifier": "v"}, ["request", "verifier"]),
        ({"code": "1", "request": "r", "verifier": "v"}, ["request"]),
        ({"request": "r", "code": 12345678}, ["code"]),
        *[({"token": "x", name: "y" * 43}, [name]) for name in ("nonce", "replaces")],
        *[({"request": "r", "code": "1", name: True}, [name]) for name in ("nonce", "replaces", "cookie")],
    ],
)
async def test_what_is_none_of_the_three_ways_names_its_fields(
    harness: GatewayHarness, body: Any, fields: list[str]
) -> None:
    calls = len(harness.services.people.calls)
    headers = {"Content-Type": "application/json"}
    answer = await harness.http.post("/v1/sessions", content=orjson.dumps(body), headers=headers)
    assert (answer.status_code, kind(answer)) == (422, "invalid")
    assert sorted(error["field"] for error in answer.json()["errors"]) == fields
    assert len(harness.services.people.calls) == calls


async def test_browsers_are_told_to_come_by_https_alone(new_harness: NewHarness) -> None:
    plain, https = await new_harness(), await new_harness(public_url="https://rapport.test")
    paths = ("/", "/v1/posts", "/v1/posts", "/v1/nothing", "/nothing", "/sign-in", "/livez", "/openapi.json")
    for path in paths:
        assert "Strict-Transport-Security" not in (await plain.get(path)).headers
        assert (await https.get(path)).headers["Strict-Transport-Security"] == "max-age=31536000", path
    assert (await https.http.options("/v1/posts")).headers["Strict-Transport-Security"] == "max-age=31536000"
    tag = (await https.get("/v1/posts")).headers["ETag"]
    unchanged = await https.get("/v1/posts", **{"If-None-Match": tag})
    assert (unchanged.status_code, unchanged.headers["Strict-Transport-Security"]) == (304, "max-age=31536000")


async def test_credentials_of_an_erased_person_are_refused_at_once(
    harness: GatewayHarness, keys: dict[str, str]
) -> None:
    signer = Signer(keys["PEOPLE_SIGNING_KEY"], "people")
    elsewhere = signer.token("rapport", UUID(ANNA), ["author"], 900, session_id=uuid4())
    ben = signer.token("rapport", uuid4(), [], 900, session_id=uuid4())
    harness.services.people.on("DELETE", "/me", lambda _: answered({"status": "accepted"}, 202))
    credentials = [harness.anna, {"Authorization": f"Bearer {elsewhere}"}, {"Cookie": f"rapport={OLD}"} | OWN]
    for one in credentials:
        assert (await harness.http.post(f"/v1/posts/{ID}/comments", json={"body": "x"}, headers=one)).status_code == 201
    assert (await harness.http.delete("/v1/me", headers=harness.anna)).status_code == 202
    for one in credentials:
        assert (await harness.http.post(f"/v1/posts/{ID}/comments", json={"body": "x"}, headers=one)).status_code == 401
    headers = {"Authorization": f"Bearer {ben}"}
    assert (await harness.http.post(f"/v1/posts/{ID}/comments", json={"body": "x"}, headers=headers)).status_code == 201


async def test_an_erasure_that_was_refused_ends_nothing(harness: GatewayHarness) -> None:
    harness.services.people.on("DELETE", "/me", unavailable("away"))
    assert (await harness.http.delete("/v1/me", headers=harness.anna)).status_code == 503
    assert (await harness.comment()).status_code == 201


@pytest.mark.parametrize(
    "path",
    ["/v1/people/garbage", "/v1/people/%00", f"/v1/people/{uuid4()}", f"/posts/{SLUG}?comments=garbage"],
)
async def test_what_a_client_asks_for_in_vain_is_no_error_of_ours(harness: GatewayHarness, path: str) -> None:
    harness.services.comments.on("GET", f"/posts/{ID}/comments", Problem("malformed-cursor"))
    harness.services.comments.on("POST", "/counts/people", invalid("person_ids.0", "must be an id"))
    harness.services.people.on("GET", path.removeprefix("/v1"), not_found())
    with capture_logs() as logged:
        await harness.get(path)
    assert {one["log_level"] for one in logged} <= {"debug", "info"}
