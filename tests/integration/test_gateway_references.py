"""The edges of `/v1`: spellings of ids, slugs in every path of a post, and query parameters."""

from uuid import UUID

import pytest
from fastapi.routing import APIRoute
from structlog.testing import capture_logs

from services.chassis.errors import not_found
from services.gateway.api import comments, notifications, people, posts, sessions
from tests.integration.gateway_harness import (
    ANNA,
    COMMENT,
    COMMENT_ID,
    ID,
    POST,
    SLUG,
    GatewayHarness,
    NewHarness,
    author,
)
from tests.unit.gateway_fakes import answered

OTHER_SPELLINGS = [UUID(ANNA).hex, f"{{{ANNA}}}", f"urn:uuid:{ANNA}", "x", "%C3%A4", f"{ANNA}0"]
OF_A_POST = [
    ("GET", "", None),
    ("GET", "/page", None),
    ("GET", "/comments", None),
    ("GET", "/revisions", None),
    ("POST", "/comments", {"body": "x"}),
    ("PATCH", "", {"title": "x"}),
    ("POST", "/publish", None),
    ("POST", "/withdraw", None),
]
OF_A_COMMENT = [
    ("GET", "", None),
    ("GET", "/replies", None),
    ("PATCH", "", {"body": "x"}),
    ("DELETE", "", None),
    *(("POST", f"/{step}", None) for step in comments.STEPS),
]
ROUTES = [
    (method, route.path)
    for module in (comments, notifications, people, posts, sessions)
    for route in module.router.routes
    if isinstance(route, APIRoute)
    for method in route.methods or ()
]

# without one, these refuse a request as malformed before its parameters are looked at
BODIES = {
    "/v1/sessions": {"token": "x"},
    "/v1/sign-in": {"email": "a@b.example"},
    "/v1/people": {"name": "A", "email": "a@b.example"},
}


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    made = await new_harness()
    services = made.services
    services.people.on("GET", f"/people/{ANNA}", author(ANNA) | {"created_at": "2026-11-23T04:35:00.000Z"})
    services.comments.on("POST", "/counts/people", lambda call: {"counts": {call.body["person_ids"][0]: 3}})
    services.posts.on("GET", f"/posts/{ID}/revisions", {"items": [], "next": None})
    for path in ("", "/publish", "/withdraw"):
        services.posts.on("POST" if path else "PATCH", f"/posts/{ID}{path}", POST)
    services.comments.on("GET", f"/comments/{COMMENT_ID}", COMMENT)
    services.comments.on("PATCH", f"/comments/{COMMENT_ID}", COMMENT)
    services.comments.on("GET", f"/comments/{COMMENT_ID}/replies", {"items": [], "next": None})
    for step in comments.STEPS:
        services.comments.on("POST", f"/comments/{COMMENT_ID}/{step}", COMMENT)
    return made


@pytest.mark.parametrize(("method", "rest", "body"), OF_A_POST)
@pytest.mark.parametrize("ref", [SLUG, ID, ID.upper()])
async def test_every_path_of_a_post_takes_its_slug_and_its_id_in_any_case(
    harness: GatewayHarness, method: str, rest: str, body: object, ref: str
) -> None:
    answer = await harness.http.request(method, f"/v1/posts/{ref}{rest}", json=body, headers=harness.anna)
    assert answer.status_code in (200, 201), answer.text
    calls = harness.services.posts.calls + harness.services.comments.calls
    assert {call.path for call in calls if ID.upper() in call.path} == set()


async def test_a_slug_of_no_post_is_not_found(harness: GatewayHarness) -> None:
    harness.services.posts.on("GET", "/posts/none", not_found())
    for method, rest, body in OF_A_POST:
        answer = await harness.http.request(method, f"/v1/posts/none{rest}", json=body, headers=harness.anna)
        assert answer.status_code == 404, (method, rest)


@pytest.mark.parametrize(("method", "rest", "body"), OF_A_COMMENT)
async def test_every_path_of_a_comment_takes_its_id_in_any_case(
    harness: GatewayHarness, method: str, rest: str, body: object
) -> None:
    path = f"/v1/comments/{COMMENT_ID.upper()}{rest}"
    answer = await harness.http.request(method, path, json=body, headers=harness.anna)
    assert answer.status_code in (200, 204), answer.text


@pytest.mark.parametrize("spelling", OTHER_SPELLINGS)
async def test_another_spelling_of_an_id_is_not_found_before_anybody_is_asked(
    harness: GatewayHarness, spelling: str
) -> None:
    paths = [("GET", f"/v1/people/{spelling}", None)]
    paths += [(method, f"/v1/comments/{spelling}{rest}", None) for method, rest, _ in OF_A_COMMENT]
    with capture_logs() as logs:
        for method, path, body in paths:
            answer = await harness.http.request(method, path, json=body, headers=harness.anna)
            assert answer.status_code == 404, (method, path)
    assert harness.services.comments.calls == []
    assert harness.services.people.count("GET", f"/people/{spelling}") == 0
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_a_profile_counts_comments_whatever_the_case_of_its_id(harness: GatewayHarness) -> None:
    for spelling in (ANNA, ANNA.upper()):
        assert (await harness.get(f"/v1/people/{spelling}")).json()["comment_count"] == 3


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_unknown_and_repeated_parameters_are_refused_by_every_call(
    harness: GatewayHarness, method: str, path: str
) -> None:
    path = path.format(ref=ID, post_id=ID, comment_id=COMMENT_ID, person_id=ANNA, session_id=ID, number=1)
    answer = await harness.http.request(
        method, f"{path}?utm_source=a&other=b", json=BODIES.get(path), headers=harness.anna
    )
    assert answer.status_code == 422, answer.text
    message = "is not a parameter of this call"
    assert answer.json()["errors"] == [{"field": name, "message": message} for name in ("utm_source", "other")]


@pytest.mark.parametrize("query", ["=1", "=", "=1&=2", "%20=1"])
async def test_a_parameter_without_a_name_is_not_called_the_body(harness: GatewayHarness, query: str) -> None:
    for path in ("/v1/posts", f"/v1/posts/{ID}/comments", f"/v1/posts/{ID}", f"/v1/people/{ANNA}"):
        answer = await harness.get(f"{path}?{query}")
        assert answer.status_code == 422
        assert "body" not in answer.json()["detail"]
    if query.startswith("="):
        assert answer.json()["detail"].startswith("The parameter without a name is not a parameter of this call")


async def test_a_repeated_parameter_is_named(harness: GatewayHarness) -> None:
    for path in ("/v1/posts", f"/v1/posts/{ID}/comments", "/v1/me/notifications"):
        answer = await harness.get(f"{path}?limit=1&limit=1&cursor=", **harness.anna)
        assert answer.status_code == 422
        assert answer.json()["errors"] == [{"field": "limit", "message": "must not be repeated"}]


async def test_who_may_is_judged_before_the_query(harness: GatewayHarness) -> None:
    assert (await harness.get("/v1/me?x=1")).status_code == 401
    assert (await harness.get("/v1/posts?x=1", Authorization="Bearer x")).status_code == 401
    assert (await harness.get("/v1/comments/x?x=1")).status_code == 404


async def test_pages_ignore_parameters_they_do_not_know(harness: GatewayHarness) -> None:
    for path in ("/", f"/posts/{SLUG}", "/docs", "/problems/invalid"):
        assert (await harness.get(f"{path}?utm_source=a&utm_source=b")).status_code == 200, path


@pytest.mark.parametrize("status", ["draft", "scheduled", "withdrawn"])
async def test_posts_that_are_not_public_are_listed_to_who_signed_in(harness: GatewayHarness, status: str) -> None:
    draft = POST | {"status": "draft", "published_at": None}
    harness.services.posts.on("GET", "/posts", lambda call: answered({"items": [draft], "next": "more"}))
    path = f"/v1/posts?status={status}&limit=1"
    assert (await harness.get(path)).status_code == 401
    answer = await harness.get(path, **harness.anna)
    assert (answer.status_code, answer.json()["items"][0]["comment_count"]) == (200, 0)
    assert answer.headers["Link"] == f'</v1/posts?status={status}&limit=1&cursor=more>; rel="next"'
    assert answer.headers["Cache-Control"] == "private, no-cache"
    asked = harness.services.posts.calls[-1]
    assert asked.params == {"status": status, "limit": "1"}
    assert asked.caller is not None
    assert str(asked.caller.person_id) == ANNA


async def test_a_viewer_who_could_not_be_checked_is_asked_to_come_back(harness: GatewayHarness) -> None:
    answer = await harness.get("/v1/posts?status=draft", Cookie="rapport=unknown")
    assert answer.status_code == 503
