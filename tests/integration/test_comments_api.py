"""The internal HTTP API of comments: which issuers each route accepts, its parameters and its answers."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from services.chassis.identity import Caller, Signer, Verifier
from services.comments.api import create_api
from tests.integration.comments_harness import ANN, BOB, MODERATOR, NOBODY, WINDOW, Harness, person

Call = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    made = Harness(await new_database("services.chassis", "services.comments"))
    await made.publish_post()
    return made


@pytest.fixture
async def call(harness: Harness, keys: Mapping[str, str], signer: Callable[[str], Signer]) -> AsyncIterator[Call]:
    async def ready() -> Mapping[str, bool]:
        return {"database": True}

    verifier = Verifier(keys["VERIFICATION_KEYS"], "comments")
    app = create_api(harness.db, WINDOW, verifier=verifier, ready=ready)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://comments") as client:

        async def send(
            method: str, path: str, who: Caller = NOBODY, issuer: str = "gateway", **options: Any
        ) -> httpx2.Response:
            token = signer(issuer).token("comments", who.person_id, who.roles)
            headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
            return await client.request(method, path, headers=headers, **options)

        yield send


async def test_a_comment_is_posted_read_edited_and_removed_over_http(harness: Harness, call: Call) -> None:
    path = f"/posts/{harness.post_id}/comments"
    made = await call("POST", path, ANN, json={"body": "  Hi *there* \n"}, headers={"Idempotency-Key": "one"})
    comment = made.json()
    assert made.status_code == 201
    assert made.headers["location"] == f"/v1/comments/{comment['id']}"
    assert comment["body"] == "  Hi *there* ", "as typed, but for blank lines around"
    again = await call("POST", path, ANN, json={"body": "  Hi *there* \n"}, headers={"Idempotency-Key": "one"})
    assert (again.status_code, again.headers["idempotency-replayed"], again.json()) == (201, "true", comment)
    assert again.headers["location"] == made.headers["location"]

    await call("POST", path, BOB, json={"body": "An answer", "parent_id": comment["id"]})
    listed = (await call("GET", path)).json()
    assert set(listed) == {"items", "next"}
    assert listed["items"][0]["reply_count"] == 1
    assert (await call("GET", f"/comments/{comment['id']}")).json() == listed["items"][0] | {"epoch": 0}
    replies = (await call("GET", f"/comments/{comment['id']}/replies")).json()
    about = {"post_author_id": listed["items"][0]["post_author_id"]}
    assert replies["items"] == [reply | about for reply in listed["items"][0]["replies"]["items"]]

    edited = await call(
        "PATCH", f"/comments/{comment['id']}", ANN, json={"body": "Better"}, headers={"If-Match": '"1-x"'}
    )
    assert (edited.status_code, edited.json()["version"]) == (200, 2)
    stale = await call("DELETE", f"/comments/{comment['id']}", ANN, headers={"If-Match": '"1-x"'})
    assert (stale.status_code, stale.json()["type"]) == (412, "/problems/stale")
    for _ in range(2):
        gone = await call("DELETE", f"/comments/{comment['id']}", ANN)
        assert (gone.status_code, gone.content) == (204, b"")
    assert (await call("GET", path)).json()["items"][0]["author_id"] is None


async def test_moderation_over_http(harness: Harness, call: Call) -> None:
    comment_id = (await harness.post_comment())["id"]
    for step, state in (("hold", "held"), ("approve", "visible"), ("reject", "removed"), ("restore", "visible")):
        done = await call("POST", f"/comments/{comment_id}/{step}", MODERATOR)
        assert (done.status_code, done.json()["state"]) == (200, state)
    wrong = await call("POST", f"/comments/{comment_id}/approve", BOB)
    assert (wrong.status_code, wrong.json()["type"]) == (403, "/problems/forbidden")
    await call("POST", f"/comments/{comment_id}/hold", MODERATOR)
    queue = await call("GET", "/comments?state=held", MODERATOR)
    assert [comment["id"] for comment in queue.json()["items"]] == [comment_id]
    for path in ("/comments", "/comments?state=visible"):
        refused = await call("GET", path, MODERATOR)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "state")


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("limit=0", 422, "limit"),
        ("limit=201", 422, "limit"),
        ("limit=x", 422, "limit"),
        ("sort=best", 422, "sort"),
        ("limit=200&sort=newest", 200, None),
        ("unknown=1", 200, None),
        ("cursor=x", 400, None),
        ("cursor=", 200, None),
    ],
)
async def test_query_parameters_of_a_list(
    harness: Harness, call: Call, query: str, status: int, field: str | None
) -> None:
    answer = await call("GET", f"/posts/{harness.post_id}/comments?{query}")
    assert answer.status_code == status
    if field:
        assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"body": ""}, "body"),
        ({"body": " \n "}, "body"),
        ({"body": "x" * 10_001}, "body"),
        ({"body": 1}, "body"),
        ({"body": "a\0b"}, "body"),
        ({"body": "x", "parent_id": "y"}, "parent_id"),
        ({"body": "x", "parent_id": str(uuid4())}, "parent_id"),
        ({"body": "x", "more": 1}, "more"),
        ({"body": "[" * 9_900 + ">" * 100}, None),
        ({"body": ">" * 100 + "x"}, "body"),
        ([], ""),
    ],
)
async def test_request_bodies_of_a_comment(harness: Harness, call: Call, body: Any, field: str | None) -> None:
    answer = await call("POST", f"/posts/{harness.post_id}/comments", ANN, json=body)
    if field is None:
        assert answer.status_code == 201
    else:
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert await harness.count() == int(field is None)


async def test_malformed_and_unknown_ids_are_not_found(harness: Harness, call: Call) -> None:
    for method, path in (
        ("GET", "/posts/x/comments"),
        ("GET", "/comments/x"),
        ("GET", f"/comments/{uuid4()}/replies"),
        ("DELETE", "/comments/x"),
        ("POST", "/comments/x/hold"),
    ):
        answer = await call(method, path, MODERATOR)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    unknown = await call("GET", f"/posts/{uuid4()}/comments")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "/problems/post-unknown")


@pytest.mark.parametrize(
    ("method", "path", "issuers"),
    [
        ("GET", "/posts/{post}/comments", {"gateway"}),
        ("POST", "/posts/{post}/comments", {"gateway"}),
        ("GET", "/comments?state=held", {"gateway"}),
        ("GET", "/comments/{comment}", {"gateway"}),
        ("GET", "/comments/{comment}/replies", {"gateway"}),
        ("PATCH", "/comments/{comment}", {"gateway"}),
        ("DELETE", "/comments/{comment}", {"gateway"}),
        ("POST", "/comments/{comment}/hold", {"gateway"}),
        ("POST", "/comments/{comment}/approve", {"gateway"}),
        ("POST", "/comments/{comment}/reject", {"gateway"}),
        ("POST", "/comments/{comment}/restore", {"gateway"}),
        ("POST", "/counts", {"gateway"}),
        ("POST", "/counts/people", {"gateway"}),
        ("POST", "/comments/lookup", {"gateway", "notify"}),
        ("GET", "/people/{comment}/counts", {"operator"}),
        ("POST", "/import/comments", {"operator"}),
        ("POST", "/republish", {"operator"}),
        ("POST", "/stated/rows", {"operator"}),
        ("POST", "/stated", {"operator"}),
        ("POST", "/stated/gone", {"operator"}),
        ("POST", "/epoch", {"operator"}),
        ("POST", "/known", {"operator"}),
        ("POST", "/rerender", {"operator"}),
    ],
)
async def test_each_route_accepts_only_its_issuers(
    harness: Harness, call: Call, method: str, path: str, issuers: set[str]
) -> None:
    comment_id = (await harness.post_comment())["id"]
    for issuer in ("gateway", "notify", "operator", "people"):
        answer = await call(method, path.format(post=harness.post_id, comment=comment_id), MODERATOR, issuer)
        assert (answer.status_code == 403) == (issuer not in issuers)
        assert answer.status_code < 500
    without = await call(method, path.format(post=harness.post_id, comment=comment_id), headers={"Authorization": ""})
    assert (without.status_code, without.json()["type"]) == (401, "/problems/invalid-token")


async def test_counts_and_look_up(harness: Harness, call: Call) -> None:
    top = await harness.post_comment(ANN, body="*secret*")
    reply = await harness.post_comment(BOB, top["id"])
    await harness.moderate(reply["id"], "hold")
    unknown = str(uuid4())
    counts = await call("POST", "/counts", json={"post_ids": [str(harness.post_id), unknown]})
    assert counts.json() == {"counts": {str(harness.post_id): 1, unknown: 0}}
    people = await call("POST", "/counts/people", json={"person_ids": [str(person(ANN)), str(person(BOB)), unknown]})
    assert people.json() == {"counts": {str(person(ANN)): 1, str(person(BOB)): 0, unknown: 0}}
    for who, states in ((str(person(ANN)), (1, 0, 0)), (str(person(BOB)), (0, 1, 0)), (unknown, (0, 0, 0))):
        of_person = await call("GET", f"/people/{who}/counts", issuer="operator")
        assert of_person.json() == {"counts": dict(zip(("visible", "held", "removed"), states, strict=True))}
    found = await call("POST", "/comments/lookup", issuer="notify", json={"ids": [reply["id"], unknown]})
    (known,) = found.json()["items"]
    assert known["ancestors"] == [top["id"]]
    assert (known["state"], known["post_status"], known["body"]) == ("held", "published", "Some *words* 1.")
    assert known["parent_author_id"] == str(person(ANN))
    await harness.remove(reply["id"], BOB)
    found = await call("POST", "/comments/lookup", issuer="notify", json={"ids": [reply["id"]]})
    assert (found.json()["items"][0]["state"], found.json()["items"][0]["body"]) == ("removed", None)
    for path, name in (("/counts", "post_ids"), ("/counts/people", "person_ids"), ("/comments/lookup", "ids")):
        assert (await call("POST", path, json={name: []})).status_code == 200
        assert (await call("POST", path, json={name: [unknown] * 200})).status_code == 200
        assert (await call("POST", path, json={name: [unknown] * 201})).status_code == 422


async def test_import_over_http(harness: Harness, call: Call) -> None:
    body = {
        "site": "blog.example",
        "source_id": "7",
        "post_id": str(harness.post_id),
        "author_id": str(uuid4()),
        "body": "x " * 40_000,
        "created_at": "2009-01-01T00:00:00Z",
    }
    first = await call("POST", "/import/comments", issuer="operator", json=body)
    again = await call("POST", "/import/comments", issuer="operator", json=body)
    assert (first.status_code, first.json()["created"]) == (201, True)
    assert (again.status_code, again.json()) == (200, first.json() | {"created": False})
    later = await call(
        "POST", "/import/comments", issuer="operator", json=body | {"post_id": str(uuid4()), "source_id": "8"}
    )
    assert (later.status_code, later.json()["type"]) == (404, "/problems/post-unknown")  # the operator tries again
    assert UUID(first.json()["id"]).version == 7
