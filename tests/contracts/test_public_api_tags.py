"""Tags, excerpts, kinds and the lists of posts in the public contract."""

from typing import Any
from uuid import uuid4

import pytest

from tests.client import Client, Person
from tests.contracts.shapes import check_invalid, check_read
from tests.contracts.test_public_api_posts import written


async def test_a_post_has_tags_a_kind_and_an_excerpt(client: Client, author: Person) -> None:
    word = uuid4().hex[:8]
    post = await written(
        client, author, tags=[f"A {word}", "b", "B"], kind="page", excerpt="In short.", body="One *two* three."
    )
    assert (post["tags"], post["kind"], post["excerpt"]) == ([f"A {word}", "b"], "page", "In short.")
    assert post["word_count"] == 3
    path = f"/v1/posts/{post['id']}"
    answer = await client.call("PATCH", path, {"tags": [f"a {word}"], "excerpt": None}, who=author)
    assert answer.status == 200, answer.body
    assert (answer.json["tags"], answer.json["excerpt"]) == ([f"A {word}"], "One two three.")
    assert (answer.json["revision"], answer.json["edited_at"]) == (1, None)
    assert answer.headers["ETag"].startswith('"2-')
    read = await client.call("GET", path, who=author)
    check_read(read, private=True)
    assert read.json == answer.json


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tags": "x"}, "tags"),
        ({"tags": None}, "tags"),
        ({"tags": [str(number) for number in range(11)]}, "tags"),
        ({"tags": ["x" * 51]}, "tags.0"),
        ({"tags": ["ok", "a/b"]}, "tags.1"),
        ({"tags": ["a,b"]}, "tags.0"),
        ({"tags": ["\u200b"]}, "tags.0"),
        ({"tags": ["a\x07"]}, "tags.0"),
        ({"excerpt": ""}, "excerpt"),
        ({"excerpt": "x" * 501}, "excerpt"),
    ],
)
async def test_an_invalid_particular_is_named(
    client: Client, author: Person, fields: dict[str, Any], named: str
) -> None:
    answer = await client.call("POST", "/v1/posts", {"title": "x", "body": "y"} | fields, who=author)
    check_invalid(answer, named)
    post = await written(client, author)
    check_invalid(await client.call("PATCH", f"/v1/posts/{post['id']}", fields, who=author), named)


async def test_a_kind_is_chosen_once(client: Client, author: Person) -> None:
    answer = await client.call("POST", "/v1/posts", {"title": "x", "body": "y", "kind": "note"}, who=author)
    check_invalid(answer, "kind")
    post = await written(client, author)
    check_invalid(await client.call("PATCH", f"/v1/posts/{post['id']}", {"kind": "page"}, who=author), "kind")
