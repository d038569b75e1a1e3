"""Lists of posts and tags, deletion and previews in the public contract."""

from typing import Any
from uuid import uuid4

import pytest

from tests.client import Client, Person
from tests.contracts import shapes
from tests.contracts.shapes import check_invalid, check_problem, check_read
from tests.contracts.test_public_api_posts import written


async def ids(client: Client, query: str, who: Person | None = None) -> set[str]:
    answer = await client.call("GET", f"/v1/posts?limit=200&{query}", who=who)
    check_read(answer, private=who is not None)
    assert all(set(item) == shapes.POST_IN_LIST for item in answer.json["items"])
    return {item["id"] for item in answer.json["items"]}


async def test_posts_are_listed_by_tag_author_and_kind(client: Client, author: Person, admin: Person) -> None:
    tag = f"T{uuid4().hex[:8]}"
    one = await written(client, author, tags=[tag], publish=True)
    two = await written(client, admin, tags=[tag.lower()], publish=True)
    page = await written(client, author, tags=[tag], kind="page", publish=True)
    draft = await written(client, author, tags=[tag])
    assert await ids(client, f"tag={tag.upper()}") == {one["id"], two["id"]}
    assert await ids(client, f"tag={tag}&author={author.id.upper()}") == {one["id"]}
    assert await ids(client, f"tag={tag}&author=me", author) == {one["id"]}
    assert await ids(client, f"tag={tag}&kind=page") == {page["id"]}
    assert await ids(client, f"tag={tag}&status=draft", author) == {draft["id"]}
    assert await ids(client, f"tag={tag}&status=draft&author={author.id}", admin) == {draft["id"]}
    first = await client.call("GET", f"/v1/posts?tag={tag}&limit=1")
    assert f"tag={tag}" in first.headers["Link"]
    rest = await client.call("GET", f"/v1/posts?tag={tag}&limit=1&cursor={first.json['next']}")
    assert {first.json["items"][0]["id"], rest.json["items"][0]["id"]} == {one["id"], two["id"]}
    for other in ("", "tag=other&", f"tag={tag}&kind=page&"):
        answer = await client.call("GET", f"/v1/posts?{other}cursor={first.json['next']}")
        check_problem(answer, 400, "malformed-cursor")


async def test_who_may_ask_for_what(client: Client, author: Person, anna: Person) -> None:
    draft = await written(client, author)
    for query in ("author=me", "status=draft", f"status=withdrawn&author={author.id}"):
        check_problem(await client.call("GET", f"/v1/posts?{query}"), 401, "sign-in-required")
    assert await ids(client, f"status=draft&author={author.id}", anna) == set()
    assert draft["id"] in await ids(client, "status=draft", author)
    for query, field in (("author=x", "author"), ("kind=note", "kind"), ("tag=a%2Fb", "tag"), ("tag=", "tag")):
        check_invalid(await client.call("GET", f"/v1/posts?{query}"), field)


async def test_the_cache_follows_tags_and_withdrawals(client: Client, author: Person) -> None:
    tag, other = f"c{uuid4().hex[:8]}", f"d{uuid4().hex[:8]}"
    assert await ids(client, f"tag={tag}") == set()
    post = await written(client, author, tags=[tag], publish=True)
    path = f"/v1/posts/{post['id']}"
    assert await ids(client, f"tag={tag}") == {post["id"]}
    counted = {"tag": tag, "post_count": 1}
    assert counted in (await client.call("GET", "/v1/tags?limit=200")).json["items"]
    assert (await client.call("PATCH", path, {"tags": [other]}, who=author)).status == 200
    assert await ids(client, f"tag={tag}") == set()
    assert await ids(client, f"tag={other}") == {post["id"]}
    assert counted not in (await client.call("GET", "/v1/tags?limit=200")).json["items"]
    assert (await client.call("POST", f"{path}/withdraw", who=author)).status == 200
    assert await ids(client, f"tag={other}") == set()
    assert (await client.call("POST", f"{path}/publish", who=author)).status == 200
    assert await ids(client, f"tag={other}") == {post["id"]}


async def test_tags_are_a_list_by_count(client: Client, author: Person) -> None:
    tag = f"e{uuid4().hex[:8]}"
    for _ in range(2):
        await written(client, author, tags=[tag], publish=True)
    answer = await client.call("GET", "/v1/tags?limit=200")
    check_read(answer)
    items = answer.json["items"]
    assert {"tag": tag, "post_count": 2} in items
    assert [item["post_count"] for item in items] == sorted((item["post_count"] for item in items), reverse=True)
    page = await client.call("GET", "/v1/tags?limit=1")
    assert page.json["next"] in page.headers["Link"]
    rest = await client.call("GET", f"/v1/tags?cursor={page.json['next']}")
    assert page.json["items"] + rest.json["items"] == (await client.call("GET", "/v1/tags?limit=51")).json["items"]


async def test_a_draft_is_deleted_once(client: Client, author: Person, anna: Person, admin: Person) -> None:
    draft = await written(client, author)
    path = f"/v1/posts/{draft['slug']}"
    check_problem(await client.call("DELETE", path), 401, "sign-in-required")
    check_problem(await client.call("DELETE", path, who=anna), 404, "not-found")
    gone = await client.call("DELETE", path, who=author, headers={"Idempotency-Key": "gone"})
    assert (gone.status, gone.body) == (204, b"")
    check_problem(await client.call("DELETE", path, who=author), 404, "not-found")
    check_problem(await client.call("GET", f"/v1/posts/{draft['id']}", who=author), 404, "not-found")
    again = await client.call("DELETE", f"/v1/posts/{draft['id']}", who=author, headers={"Idempotency-Key": "gone"})
    assert (again.status, again.headers["Idempotency-Replayed"]) == (204, "true")
    post = await written(client, author, publish=True)
    check_problem(await client.call("DELETE", f"/v1/posts/{post['id']}", who=anna), 403, "forbidden")
    check_problem(await client.call("DELETE", f"/v1/posts/{post['id']}", who=admin), 409, "wrong-state")


async def test_a_preview_is_what_would_be_shown(client: Client, author: Person, anna: Person) -> None:
    text = "# A *head*\nline\n\n![a picture](https://elsewhere.example/x.png)"
    post = await written(client, author, body=text, publish=True)
    shown = await client.call("POST", "/v1/preview", {"body": text, "kind": "post"}, who=anna)
    assert (shown.status, set(shown.json)) == (200, {"body_html"})
    assert shown.json["body_html"] == post["body_html"]
    assert shown.headers["Cache-Control"] == "no-store"
    comment = await client.comment(anna, post["id"], text)
    shown = await client.call("POST", "/v1/preview", {"body": text, "kind": "comment"}, who=anna)
    assert shown.json["body_html"] == comment["body_html"] != post["body_html"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"body", "kind"}),
        ({"body": "x", "kind": "page"}, {"kind"}),
        ({"body": "x" * 10_001, "kind": "comment"}, {"body"}),
        ({"body": "x" * 60_001, "kind": "post"}, {"body"}),
        ({"body": "<!-- -->\u200b", "kind": "comment", "more": 1}, {"more"}),
        ({"body": "\u200b", "kind": "comment"}, {"body"}),
        ({"body": ">" * 9_999, "kind": "post"}, {"body"}),
    ],
)
async def test_a_preview_is_refused_as_the_text_would_be(
    client: Client, anna: Person, body: dict[str, Any], fields: set[str]
) -> None:
    check_invalid(await client.call("POST", "/v1/preview", body, who=anna), *fields)


async def test_a_preview_takes_a_sign_in(client: Client) -> None:
    answer = await client.call("POST", "/v1/preview", {"body": "x", "kind": "post"})
    check_problem(answer, 401, "sign-in-required")
