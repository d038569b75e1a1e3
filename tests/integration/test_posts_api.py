"""The internal HTTP API of posts: allowed callers, answers and refusals."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from services.chassis.identity import Signer, Verifier
from services.contracts.body_sizes import POST_BYTES
from services.posts.api import create_api

AUTHOR = uuid4()
Call = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
async def call(
    new_database: Callable[..., Awaitable[Any]], keys: dict[str, str], signer: Callable[[str], Signer]
) -> AsyncIterator[Call]:
    async def ready() -> dict[str, bool]:
        return {"database": True}

    db = await new_database("services.chassis", "services.posts")
    verifier = Verifier(keys["VERIFICATION_KEYS"], "posts")
    app = create_api(db, verifier=verifier, ready=ready)
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://posts") as client:

        async def send(
            method: str,
            path: str,
            body: object = None,
            *,
            by: str = "gateway",
            roles: tuple[str, ...] = (),
            **options: Any,
        ) -> httpx2.Response:
            person = options.pop("person", AUTHOR if roles else None)
            headers = {"Authorization": f"Bearer {signer(by).token('posts', person, roles)}"}
            headers |= options.pop("headers", {})
            if body is not None:
                options["json"] = body
            return await client.request(method, path, headers=headers, **options)

        yield send


async def create(call: Call, **fields: Any) -> dict[str, Any]:
    made = await call("POST", "/posts", {"title": "On letters", "body": "Text."} | fields, roles=("author",))
    assert made.status_code == 201, made.text
    post: dict[str, Any] = made.json()
    return post


async def test_the_lifecycle_of_a_post(call: Call) -> None:
    made = await call("POST", "/posts", {"title": "On letters", "body": "Text."}, roles=("author",))
    post = made.json()
    path = f"/posts/{post['id']}"
    assert (made.status_code, made.headers["Location"]) == (201, f"/v1{path}")
    assert (await call("GET", path)).status_code == 404
    assert (await call("POST", path + "/publish", roles=("author",))).json()["status"] == "published"
    assert (await call("GET", "/posts/on-letters")).json()["id"] == post["id"]
    assert [item["id"] for item in (await call("GET", "/posts?limit=1")).json()["items"]] == [post["id"]]
    changed = await call("PATCH", path, {"title": "Letters", "edit_note": "Shorter"}, roles=("author",))
    assert (changed.status_code, changed.json()["edit_note"]) == (200, "Shorter")
    assert len((await call("GET", path + "/revisions")).json()["items"]) == 2
    assert (await call("POST", path + "/withdraw", roles=("author",))).json()["status"] == "withdrawn"


async def test_each_route_has_its_allowed_callers(call: Call) -> None:
    post = await create(call, publish=True)
    imported = {"site": "s", "source_id": "1", "author_id": str(AUTHOR), "created_at": "2020-01-01T00:00:00Z"}
    asked = {"ids": [post["id"]]}
    assert (await call("POST", "/posts/lookup", asked, by="notify")).json()["items"][0]["slug"] == "on-letters"
    assert (await call("POST", "/posts/lookup", asked)).status_code == 200
    titles = {"revisions": [{"id": post["id"], "revision": 1}]}
    found = (await call("POST", "/posts/titles/lookup", titles, by="notify")).json()["items"]
    assert found == [{"id": post["id"], "revision": 1, "title": post["title"]}]
    for by, method, path, body in (
        ("operator", "POST", "/posts/lookup", asked),
        ("gateway", "POST", "/posts/titles/lookup", titles),
        ("notify", "GET", "/posts/on-letters", None),
        ("gateway", "POST", "/import/posts", imported),
        ("gateway", "POST", "/republish", {"since": "2020-01-01T00:00:00Z"}),
        ("gateway", "POST", "/rerender", {}),
        ("people", "GET", "/posts", None),
    ):
        answer = await call(method, path, body, by=by)
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden"), path
    stranger = await call("GET", "/posts", headers={"Authorization": "Bearer x"})
    assert (stranger.status_code, stranger.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_an_import_reports_whether_the_post_is_new(call: Call) -> None:
    body = {"site": "s", "source_id": "1", "author_id": str(AUTHOR), "created_at": "2020-01-01T00:00:00Z"}
    first = await call("POST", "/import/posts", body, by="operator")
    again = await call("POST", "/import/posts", body, by="operator")
    assert (first.status_code, first.json()["created"]) == (201, True)
    assert (again.status_code, again.json()) == (200, first.json() | {"created": False})
    assert (first.json()["slug"], first.json()["status"]) == (UUID(first.json()["id"]).hex, "draft")


async def test_old_addresses_are_for_the_gateway_and_texts_of_imports_for_the_operator(call: Call) -> None:
    body = {"site": "s", "source_id": "1", "author_id": str(AUTHOR), "created_at": "2020-01-01T00:00:00Z"}
    given = body | {"status": "published", "slug": "old", "addresses": ["/2009/old/"]}
    post_id = (await call("POST", "/import/posts", given, by="operator")).json()["id"]
    answer = await call("POST", "/addresses/lookup", {"address": "/2009/OLD?x=1"})
    assert (answer.status_code, answer.json()) == (200, {"id": post_id, "slug": "old"})
    assert (await call("POST", "/addresses/lookup", {"address": "/2010/old"})).status_code == 404
    assert (await call("POST", "/addresses/lookup", {"address": "/2009/old"}, by="operator")).status_code == 403
    text = {"post_id": post_id, "body": "new"}
    assert (await call("POST", "/import/texts", text, by="operator")).json() == {"changed": True}
    assert (await call("POST", "/import/texts", text)).status_code == 403
    assert (await call("POST", "/import/posts", given | {"addresses": ["/"] * 21}, by="operator")).status_code == 422
    long = await call("POST", "/import/posts", body | {"source_id": "2", "body": "x" * POST_BYTES}, by="operator")
    assert long.status_code == 201
    since = {"since": "2020-01-01T00:00:00Z"}
    assert (await call("POST", "/republish", since, by="operator")).json()["count"] == 0
    for wrong in ({"after": -1}, {"after": 2**63}, {"after": "1"}, {"dry_run": 1}):
        assert (await call("POST", "/republish", since | wrong, by="operator")).status_code == 422


async def test_a_replayed_request_is_marked(call: Call) -> None:
    body, key = {"title": "Once", "body": "Text."}, {"Idempotency-Key": "k1"}
    first = await call("POST", "/posts", body, roles=("author",), headers=key)
    again = await call("POST", "/posts", body, roles=("author",), headers=key)
    assert (again.status_code, again.json(), again.headers["Location"]) == (
        201,
        first.json(),
        first.headers["Location"],
    )
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    other = await call("POST", "/posts", body | {"title": "Else"}, roles=("author",), headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")
    bad = await call("POST", "/posts", body, roles=("author",), headers={"Idempotency-Key": "x" * 256})
    assert bad.status_code == 400


async def test_if_match_is_checked(call: Call) -> None:
    post = await create(call)
    path = f"/posts/{post['id']}"
    ok = await call("PATCH", path, {"title": "B"}, roles=("author",), headers={"If-Match": '"1-abc"'})
    stale = await call("PATCH", path, {"title": "C"}, roles=("author",), headers={"If-Match": '"1-abc"'})
    weak = await call("PATCH", path, {"title": "C"}, roles=("author",), headers={"If-Match": 'W/"2-abc"'})
    assert [answer.status_code for answer in (ok, stale, weak)] == [200, 412, 412]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": " \n "}, "title"),
        ({"title": "x" * 301}, "title"),
        ({"title": 7}, "title"),
        ({"title": "a\0"}, "title"),
        ({"title": None}, "title"),
        ({"body": "x" * 60_001}, "body"),
        ({"body": "> " * 70 + "x"}, "body"),
        ({"slug": "Not One"}, "slug"),
        ({"slug": 5}, "slug"),
        ({"discussion": "ajar"}, "discussion"),
        ({"publish": "yes"}, "publish"),
        ({"author": "me"}, "author"),
    ],
)
async def test_an_invalid_field_is_named(call: Call, fields: dict[str, object], field: str) -> None:
    answer = await call("POST", "/posts", {"title": "T", "body": "B"} | fields, roles=("author",))
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert (await call("GET", "/posts")).json()["items"] == []


async def test_a_lone_surrogate_names_its_field(call: Call) -> None:
    content, kind = b'{"title": "\\ud800", "body": "x"}', {"Content-Type": "application/json"}
    answer = await call("POST", "/posts", roles=("author",), content=content, headers=kind)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "title")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/posts?limit=0", 422),
        ("/posts?limit=201", 422),
        ("/posts?limit=x", 422),
        ("/posts?cursor=x", 400),
        ("/posts?unknown=1", 200),
        ("/posts/absent", 404),
        ("/posts/%00", 404),
        ("/posts/%ff", 404),
        ("/posts/not-an-id/revisions", 404),
        (f"/posts/{AUTHOR}/revisions/1", 404),
        (f"/posts/{AUTHOR}/revisions/{2**31}", 404),
        (f"/posts/{AUTHOR}/revisions/0", 404),
        ("/posts/lookup", 404),
    ],
)
async def test_invalid_reads_are_refused(call: Call, path: str, status: int) -> None:
    answer = await call("GET", path)
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["errors"][0]["field"] == "limit"


async def test_bodies_are_bounded(call: Call) -> None:
    answer = await call("POST", "/posts", {"title": "T", "body": "x" * POST_BYTES}, roles=("author",))
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too-large")
    wide = await call("POST", "/posts", {"title": "T", "body": "🦊" * 60_000}, roles=("author",))
    assert wide.status_code == 201
    many = {"ids": [str(uuid4())] * 201}
    assert (await call("POST", "/posts/lookup", many)).json()["errors"][0]["field"] == "ids"
    titles = {"revisions": [{"id": str(uuid4()), "revision": 1}] * 201}
    answer = await call("POST", "/posts/titles/lookup", titles, by="notify")
    assert answer.json()["errors"][0]["field"] == "revisions"
    huge = {"revisions": [{"id": str(uuid4()), "revision": 2**40}]}
    assert (await call("POST", "/posts/titles/lookup", huge, by="notify")).status_code == 422


async def test_withdrawing_a_draft_is_a_wrong_state(call: Call) -> None:
    post = await create(call)
    answer = await call("POST", f"/posts/{post['id']}/withdraw", roles=("author",))
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/wrong-state")


async def test_writing_requires_sign_in(call: Call) -> None:
    answer = await call("POST", "/posts", {"title": "T", "body": "B"})
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/sign-in-required")


@pytest.mark.parametrize("field", ["title", "body", "discussion"])
async def test_null_changes_nothing_and_is_refused(call: Call, field: str) -> None:
    path = f"/posts/{(await create(call, publish=True))['id']}"
    for more in ({}, {"title": "Other", "body": "Other.", "edit_note": None}):
        answer = await call("PATCH", path, more | {field: None}, roles=("author",))
        assert answer.status_code == 422
        assert answer.json()["errors"] == [{"field": field, "message": "must not be null"}]
        assert answer.json()["detail"] == f"{field} must not be null."
    without_note = await call("PATCH", path, {"title": "Other", "edit_note": None}, roles=("author",))
    assert (without_note.status_code, without_note.json()["revision"]) == (200, 1 + 1)


async def test_what_a_rule_refuses_is_told_with_its_field(call: Call) -> None:
    path = f"/posts/{(await create(call))['id']}"
    for body, detail in (
        ({"edit_note": "x"}, "edit_note must come with a changed title or body."),
        ({"body": "[x]: http://y.test"}, "body shows nothing."),
    ):
        answer = await call("PATCH", path, body, roles=("author",))
        assert (answer.status_code, answer.json()["detail"]) == (422, detail)
