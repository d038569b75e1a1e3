"""Conventions of every call: ids, CORS, problems, caching, tokens, bodies."""

import json
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest

from tests.client import Client, HttpResponse, Person
from tests.contracts.shapes import check_cors, check_invalid, check_problem, check_read
from tests.waiting import eventually

MISSING = "0193f000-0000-7000-8000-000000000000"
READS = ("/v1/posts", f"/v1/people/{MISSING}", f"/v1/posts/{MISSING}/comments", "/v1/posts/none/page")


@pytest.mark.parametrize("request_id", ["abc-1", "A.b_C-9", "x" * 64])
async def test_a_valid_request_id_is_kept(client: Client, request_id: str) -> None:
    answer = await client.call("GET", "/v1/posts", headers={"X-Request-ID": request_id})
    assert answer.headers.getall("X-Request-ID") == [request_id]


@pytest.mark.parametrize("request_id", ["", "x" * 65, "a b", "ä", "a/b"])
async def test_an_invalid_request_id_is_replaced(client: Client, request_id: str) -> None:
    answer = await client.call("GET", "/v1/none", headers={"X-Request-ID": request_id})
    assert answer.headers["X-Request-ID"] not in ("", request_id)
    check_problem(answer, 404, "not-found")


async def test_a_preflight_is_answered_for_every_origin(client: Client) -> None:
    asked = {
        "Origin": "https://elsewhere.test",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization,if-match,idempotency-key,content-type",
    }
    answer = await client.call("OPTIONS", f"/v1/posts/{MISSING}", headers=asked)
    assert answer.status == 204
    check_cors(answer)
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().replace(" ", "").split(",")
    assert set(asked["Access-Control-Request-Headers"].split(",")) <= set(allowed)
    assert {"GET", "POST", "PATCH", "DELETE"} <= set(
        answer.headers["Access-Control-Allow-Methods"].replace(" ", "").split(",")
    )
    assert answer.headers["X-Request-ID"]


async def test_pages_have_no_cors_headers(client: Client) -> None:
    answer = await client.call("GET", "/", headers={"Origin": "https://elsewhere.test"})
    assert answer.status == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("token", ["", "x", "a.b.c", "Bearer"])
async def test_an_invalid_token_is_refused_on_public_reads_too(client: Client, path: str, token: str) -> None:
    answer = await client.call("GET", path, headers={"Authorization": f"Bearer {token}"})
    check_problem(answer, 401, "invalid-token")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/posts", {"title": "x", "body": "y"}),
        ("PATCH", f"/v1/posts/{MISSING}", {"title": "x"}),
        ("POST", f"/v1/posts/{MISSING}/publish", None),
        ("POST", f"/v1/posts/{MISSING}/withdraw", None),
        ("POST", f"/v1/posts/{MISSING}/comments", {"body": "x"}),
        ("PATCH", f"/v1/comments/{MISSING}", {"body": "x"}),
        ("DELETE", f"/v1/comments/{MISSING}", None),
        ("POST", f"/v1/comments/{MISSING}/hold", None),
        ("POST", f"/v1/comments/{MISSING}/approve", None),
        ("POST", f"/v1/comments/{MISSING}/reject", None),
        ("POST", f"/v1/comments/{MISSING}/restore", None),
        ("GET", "/v1/comments?state=held", None),
        ("GET", "/v1/me", None),
        ("PATCH", "/v1/me", {"name": "x"}),
        ("DELETE", "/v1/me", None),
        ("GET", "/v1/me/mail", None),
        ("PATCH", "/v1/me/mail", {"notifications": True}),
        ("GET", "/v1/me/notifications", None),
        ("GET", f"/v1/me/notifications/explain?comment={MISSING}", None),
        ("DELETE", "/v1/sessions/current", None),
    ],
)
async def test_sign_in_is_required_before_the_request_is_validated(
    client: Client, method: str, path: str, body: Any
) -> None:
    check_problem(await client.call(method, path, body), 401, "sign-in-required")
    check_problem(await client.call(method, path, data=b"{"), 401, "sign-in-required")
    dead = {"Cookie": "rapport=dead"}
    check_problem(await client.call(method, path, body, headers=dead), 401, "sign-in-required")


@pytest.mark.parametrize("path", ["/v1/people", "/v1/sign-in", "/v1/sessions", "/v1/sessions/refresh"])
async def test_sign_in_calls_ignore_a_token(client: Client, path: str) -> None:
    answer = await client.call("POST", path, {}, headers={"Authorization": "Bearer x"})
    assert answer.status == 422
    assert "unknown" not in answer.json["detail"]


@pytest.mark.parametrize("path", ["/v1/none", "/v1/posts/none", "/v1/posts/none/none", f"/v1/comments/{MISSING}"])
async def test_missing_things_have_one_answer(client: Client, path: str) -> None:
    answer = await client.call("GET", path)
    check_problem(answer, 404, "not-found")
    other = await client.call("GET", f"/v1/people/{MISSING}")
    assert {**answer.json, "instance": ""} == {**other.json, "instance": ""}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/comments/x"),
        ("GET", "/v1/comments/x/replies"),
        ("GET", "/v1/posts/x/comments"),
        ("GET", "/v1/posts/x/revisions"),
        ("GET", "/v1/people/x"),
        ("DELETE", "/v1/comments/x"),
        ("POST", "/v1/comments/x/hold"),
        ("POST", "/v1/posts/x/publish"),
    ],
)
async def test_a_path_id_that_is_not_a_uuid_is_not_found(client: Client, admin: Person, method: str, path: str) -> None:
    check_problem(await client.call(method, path, who=admin), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/posts", {"GET", "HEAD", "POST"}),
        ("PUT", f"/v1/posts/{MISSING}", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("POST", f"/v1/comments/{MISSING}", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("GET", f"/v1/comments/{MISSING}/hold", {"POST"}),
        ("POST", f"/v1/comments/{MISSING}/replies", {"GET", "HEAD"}),
        ("PUT", "/v1/me", {"GET", "HEAD", "PATCH", "DELETE"}),
    ],
)
async def test_an_unsupported_method_lists_the_allowed_ones(
    client: Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = await client.call(method, path)
    check_problem(answer, 405, "method-not-allowed")
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == allowed


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"body": NaN}', b'{"body": 1e999}', b'{"body": "\xff"}', b"[" * 33 + b"]" * 33, b"{}{}"],
)
async def test_malformed_json_is_refused(client: Client, anna: Person, data: bytes) -> None:
    for path in (f"/v1/posts/{MISSING}/comments", "/v1/posts"):
        answer = await client.call("POST", path, who=anna, data=data, headers={"Content-Type": "application/json"})
        check_problem(answer, 400, "malformed-json")


async def test_only_json_is_accepted(client: Client, anna: Person) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"):
        answer = await client.call(
            "POST", f"/v1/posts/{MISSING}/comments", who=anna, data=b'{"body": "x"}', headers={"Content-Type": kind}
        )
        check_problem(answer, 415, "unsupported-media-type")


async def test_bodies_are_bounded(client: Client, author: Person, anna: Person) -> None:
    post = await client.publish(author)
    long = '{"body": "x"' + " " * (256 * 1024) + "}"
    json = {"Content-Type": "application/json"}
    path = f"/v1/posts/{post['id']}/comments"
    check_problem(await client.call("POST", path, who=anna, data=long.encode(), headers=json), 413, "too-large")

    async def chunked() -> Any:
        for start in range(0, len(long), 8192):
            yield long[start : start + 8192].encode()

    check_problem(await client.call("POST", path, who=anna, data=chunked(), headers=json), 413, "too-large")
    accepted = '{"title": "x", "body": "x"' + " " * (1400 * 1024) + "}"
    answer = await client.call("POST", "/v1/posts", who=author, data=BytesIO(accepted.encode()), headers=json)
    assert answer.status == 201
    refused = '{"title": "x", "body": "x"' + " " * (1536 * 1024) + "}"
    answer = await client.call("POST", "/v1/posts", who=author, data=BytesIO(refused.encode()), headers=json)
    check_problem(answer, 413, "too-large")


async def test_the_lengths_decide_in_any_spelling(client: Client, author: Person) -> None:
    escaped = {"Content-Type": "application/json"}
    data = json.dumps({"title": "Ю" * 300, "body": "я" * 60_000}).encode()
    assert (await client.call("POST", "/v1/posts", who=author, data=data, headers=escaped)).status == 201
    path = f"/v1/posts/{(await client.publish(author))['id']}/comments"
    data = json.dumps({"body": "😀" * 10_000}).encode()
    assert (await client.call("POST", path, who=author, data=data, headers=escaped)).status == 201
    data = json.dumps({"body": "я" * 10_001}).encode()
    check_invalid(await client.call("POST", path, who=author, data=data, headers=escaped), "body")


@pytest.mark.parametrize("blank", ["\u200b", "\u2800", "\u00ad", "\ufffe"])
async def test_what_people_see_has_a_visible_character(client: Client, author: Person, blank: str) -> None:
    post = await client.publish(author)
    path = f"/v1/posts/{post['id']}"
    check_invalid(await client.call("POST", "/v1/people", {"name": blank, "email": "x@example.org"}), "name")
    check_invalid(await client.call("PATCH", "/v1/me", {"name": blank}, who=author), "name")
    check_invalid(await client.call("POST", "/v1/posts", {"title": blank, "body": "x"}, who=author), "title")
    check_invalid(await client.call("PATCH", path, {"title": blank}, who=author), "title")
    check_invalid(await client.call("PATCH", path, {"body": "y", "edit_note": blank}, who=author), "edit_note")
    check_invalid(await client.call("POST", f"{path}/comments", {"body": blank}, who=author), "body")


async def test_unknown_fields_and_parameters_are_refused(client: Client, author: Person) -> None:
    post = await client.publish(author)
    answer = await client.call("POST", f"/v1/posts/{post['id']}/comments", {"body": "x", "state": "held"}, who=author)
    check_invalid(answer, "state")
    answer = await client.call("POST", "/v1/sessions", {"token": "x", "cookie": True})
    check_invalid(answer, "cookie")
    check_invalid(await client.call("GET", "/v1/posts?colour=red&limit=1"), "colour")
    check_invalid(await client.call("GET", "/v1/posts?limit=1&limit=2"), "limit")
    check_invalid(await client.call("GET", f"/v1/posts/{post['id']}?utm_source=x"), "utm_source")
    assert (await client.call("GET", f"/posts/{post['slug']}?utm_source=x&utm_source=y")).status == 200


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "1.5"])
async def test_an_invalid_limit_is_refused_not_clamped(client: Client, author: Person, limit: str) -> None:
    post = await client.publish(author)
    for path in ("/v1/posts", f"/v1/posts/{post['id']}/comments", f"/v1/posts/{post['id']}/revisions"):
        check_invalid(await client.call("GET", f"{path}?limit={limit}"), "limit")


@pytest.mark.parametrize("cursor", ["x", "AAAA", "e30", "%00", "ü"])
async def test_an_unknown_cursor_is_malformed(client: Client, author: Person, cursor: str) -> None:
    post = await client.publish(author)
    for path in ("/v1/posts", f"/v1/posts/{post['id']}/comments", f"/v1/posts/{post['id']}/revisions"):
        check_problem(await client.call("GET", f"{path}?cursor={cursor}"), 400, "malformed-cursor")


async def test_an_empty_cursor_is_the_beginning(client: Client, author: Person, anna: Person) -> None:
    post = await client.publish(author)
    comment = await client.comment(anna, post["id"])
    for path in (
        "/v1/posts",
        f"/v1/posts/{post['slug']}/comments",
        f"/v1/posts/{post['id']}/revisions",
        f"/v1/comments/{comment['id']}/replies",
        "/v1/me/notifications",
    ):
        first = await client.call("GET", f"{path}?limit=1", who=anna)
        again = await client.call("GET", f"{path}?limit=1&cursor=", who=anna)
        assert (again.status, again.json) == (200, first.json), path


async def test_an_id_means_the_same_in_any_case_and_in_no_other_spelling(
    client: Client, author: Person, anna: Person
) -> None:
    post = await client.publish(author)
    comment = await client.comment(anna, post["id"])
    reply = {"body": "In capitals", "parent_id": comment["id"].upper()}
    key = {"Idempotency-Key": "capitals"}
    path = f"/v1/posts/{post['id'].upper()}/comments"
    first = await client.call("POST", path, reply, who=anna, headers=key)
    assert (first.status, first.json["parent_id"]) == (201, comment["id"])
    again = await client.call("POST", path.lower(), reply | {"parent_id": comment["id"]}, who=anna, headers=key)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    by_slug = await client.call("POST", f"/v1/posts/{post['slug']}/comments", reply, who=anna, headers=key)
    assert (by_slug.status, by_slug.headers["Idempotency-Replayed"]) == (201, "true")
    other = reply | {"parent_id": UUID(comment["id"]).hex}
    check_invalid(await client.call("POST", path, other, who=anna), "parent_id")
    for of in (f"/v1/posts/{post['id']}", f"/v1/comments/{comment['id']}", f"/v1/people/{anna.id}"):
        start, _, thing = of.rpartition("/")
        lower = await client.call("GET", of)
        upper = await client.call("GET", f"{start}/{thing.upper()}")
        assert (upper.status, upper.json) == (200, lower.json), of
        for spelling in (UUID(thing).hex, f"{{{thing}}}", f"urn:uuid:{thing}"):
            check_problem(await client.call("GET", f"{start}/{spelling}"), 404, "not-found")


async def test_a_known_etag_is_answered_with_304(client: Client, author: Person, anna: Person) -> None:
    post = await client.publish(author)
    comment = await client.comment(anna, post["id"])
    paths = (
        *("/v1/posts", f"/v1/posts/{post['id']}", f"/v1/posts/{post['slug']}/page"),
        *(f"/v1/posts/{post['id']}/comments", f"/v1/posts/{post['id']}/revisions"),
        *(f"/v1/comments/{comment['id']}", f"/v1/comments/{comment['id']}/replies", f"/v1/people/{anna.id}"),
    )
    for path in paths:
        for who in (None, anna):
            first = await _settled(client, path, who)
            check_read(first, private=who is not None)
            again = await client.call("GET", path, who=who, headers={"If-None-Match": first.headers["ETag"]})
            assert (again.status, again.body) == (304, b""), (path, who, first.body, again.body)
            for name in ("ETag", "Vary", "Cache-Control", "X-Request-ID"):
                assert name == "X-Request-ID" or again.headers[name] == first.headers[name]
            check_cors(again)
            weak = {"If-None-Match": f'"x", W/{first.headers["ETag"]}'}
            assert (await client.call("GET", path, who=who, headers=weak)).status == 304
            other = await client.call("GET", path, who=who, headers={"If-None-Match": '"0-x"'})
            assert other.status == 200


async def _settled(client: Client, path: str, who: Person | None) -> HttpResponse:
    """Return an answer as it is twice in a row: what a comment causes arrives a little later."""
    answers: list[HttpResponse] = []

    async def is_the_same() -> bool:
        answers.append(await client.call("GET", path, who=who))
        return len({answer.headers["ETag"] for answer in answers[-2:]}) == 1 and len(answers) > 1

    await eventually(is_the_same, pause=0.1)
    return answers[-1]


async def test_head_equals_get_without_the_body(client: Client) -> None:
    answer = await client.call("HEAD", "/v1/posts")
    assert answer.status == 200
    assert answer.body == b""
    assert answer.headers["ETag"]


async def test_a_304_needs_the_right_to_read(client: Client, author: Person, anna: Person) -> None:
    made = await client.call("POST", "/v1/posts", {"title": "Secret", "body": "x"}, who=author)
    path = f"/v1/posts/{made.json['id']}"
    read = await client.call("GET", path, who=author)
    for who in (None, anna):
        answer = await client.call("GET", path, who=who, headers={"If-None-Match": read.headers["ETag"]})
        check_problem(answer, 404, "not-found")


async def test_every_problem_has_a_page(client: Client) -> None:
    kinds = """
        malformed-json malformed-cursor malformed-idempotency-key sign-in-required invalid-token invalid-refresh-token
        invalid-code
        forbidden cross-site not-found method-not-allowed edit-window-over discussion-closed wrong-state still-running
        link-used-or-expired stale too-large unsupported-media-type invalid idempotency-key-reused too-many-requests
        unavailable
    """
    for kind in kinds.split():
        answer = await client.call("GET", f"/problems/{kind}")
        assert answer.status == 200, kind
        assert answer.headers["Content-Type"].startswith("text/html")
        assert kind.encode() in answer.body


async def test_the_description_lists_every_call(client: Client) -> None:
    document = (await client.call("GET", "/openapi.json")).json
    calls = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert len(calls) >= 30
    assert {"POST /v1/posts", "GET /v1/posts/{ref}/page", "DELETE /v1/comments/{comment_id}"} <= calls
    docs = await client.call("GET", "/docs")
    assert docs.status == 200
    assert b"/v1/posts" in docs.body


async def test_health_is_public_and_metrics_are_not(client: Client) -> None:
    assert (await client.call("GET", "/livez")).status == 200
    assert (await client.call("GET", "/readyz")).status == 200
    assert (await client.call("GET", "/metrics")).status == 404
