"""Pictures in the public contract."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from tests.client import Client, HttpResponse, Person
from tests.contracts import shapes
from tests.contracts.shapes import check_invalid, check_problem, is_id
from tests.hostile_pictures import JPEG, PLACE, PNG, plain, png, with_place
from tests.stack import Stack
from tests.waiting import eventually


async def sent(client: Client, who: Person | None, data: bytes, kind: str = PNG, **headers: str) -> HttpResponse:
    named = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.call("POST", "/v1/images", who=who, data=io.BytesIO(data), headers=named)


def path_of(stack: Stack, url: str) -> str:
    assert url.startswith(f"{stack.url}/")
    return url.removeprefix(stack.url)


async def stored(client: Client, author: Person) -> dict[str, Any]:
    answer = await sent(client, author, plain())
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json
    return made


async def test_a_picture_is_sent_shown_and_stands_for_a_post(client: Client, author: Person, stack: Stack) -> None:
    key = str(uuid4())
    answer = await sent(client, author, with_place(JPEG, size=(3000, 20)), JPEG, Idempotency_Key=key)
    again = await sent(client, author, with_place(JPEG, size=(3000, 20)), JPEG, Idempotency_Key=key)
    assert (answer.status, set(answer.json), again.json) == (201, shapes.IMAGE, answer.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert is_id(answer.json["id"])
    assert (answer.json["width"], answer.json["height"]) == (20, 3000)
    path = path_of(stack, answer.json["url"])
    assert answer.headers["Location"] == path == f"/images/{answer.json['id']}.webp"
    file = await client.call("GET", path)
    assert (file.status, file.headers["Content-Type"]) == (200, "image/webp")
    assert file.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert file.headers["X-Content-Type-Options"] == "nosniff"
    assert file.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert PLACE.encode() not in file.body
    assert Image.open(io.BytesIO(file.body)).size == (20, 3000)
    kept = await client.call("GET", path, headers={"If-None-Match": file.headers["ETag"]})
    assert (kept.status, kept.body) == (304, b"")
    head = await client.call("HEAD", path)
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", file.headers["ETag"])
    body = {"title": "With a picture", "body": f"![The garden]({answer.json['url']})", "cover": answer.json["id"]}
    post = (await client.call("POST", "/v1/posts", body, who=author)).json
    assert post["cover_url"] == answer.json["url"]
    assert f'src="{answer.json["url"]}"' in post["body_html"]


async def test_a_cover_is_ones_own_and_can_be_taken_away(
    client: Client, author: Person, admin: Person, stack: Stack
) -> None:
    mine, foreign = await stored(client, author), await stored(client, admin)
    post = (await client.call("POST", "/v1/posts", {"title": "x", "body": "y"}, who=author)).json
    assert post["cover_url"] is None
    path = f"/v1/posts/{post['id']}"
    changed = await client.call("PATCH", path, {"cover": mine["id"]}, who=author)
    assert (changed.json["cover_url"], changed.json["revision"]) == (mine["url"], 1)
    for wrong in (foreign["id"], str(uuid4())):
        check_invalid(await client.call("PATCH", path, {"cover": wrong}, who=author), "cover")
        check_invalid(
            await client.call("POST", "/v1/posts", {"title": "x", "body": "y", "cover": wrong}, who=author), "cover"
        )
    check_invalid(await client.call("PATCH", path, {"cover": "x"}, who=author), "cover")
    assert (await client.call("PATCH", path, {"cover": None}, who=author)).json["cover_url"] is None


async def test_who_may_send_what(client: Client, author: Person, anna: Person) -> None:
    check_problem(await sent(client, None, plain()), 401, "sign-in-required")
    check_problem(await sent(client, anna, plain()), 403, "forbidden")
    check_problem(await sent(client, author, plain(), "text/plain"), 415, "unsupported-media-type")
    check_problem(await sent(client, author, plain(), JPEG), 415, "unsupported-media-type")
    check_problem(await sent(client, author, b"x" * (5 * 2**20 + 1)), 413, "too-large")
    for wrong in (b"", plain()[:60], png(8193, 1)):
        check_invalid(await sent(client, author, wrong), "")
    key = {"Idempotency_Key": str(uuid4())}
    assert (await sent(client, author, plain(), **key)).status == 201
    check_problem(await sent(client, author, plain(size=(9, 9)), **key), 422, "idempotency-key-reused")


@pytest.mark.parametrize("path", ["/images/x.webp", f"/images/{uuid4()}.webp", "/images/"])
async def test_a_picture_that_is_not_there_is_404(client: Client, path: str) -> None:
    assert (await client.call("GET", path)).status == 404


async def test_a_face_is_shown_changed_and_taken_away(client: Client, new_person: Any, stack: Stack) -> None:
    person = await new_person("Faye")

    async def put(data: bytes) -> HttpResponse:
        headers = {"Content-Type": PNG}
        return await client.call("PUT", "/v1/me/avatar", who=person, data=io.BytesIO(data), headers=headers)

    answer = await put(plain(size=(300, 500)))
    assert (answer.status, set(answer.json)) == (200, shapes.ME)
    url = answer.json["avatar_url"]
    assert url.startswith(f"{stack.url}/avatars/{person.id}-")
    file = await client.call("GET", path_of(stack, url))
    assert (file.status, file.headers["Cache-Control"]) == (200, "public, no-cache")
    assert Image.open(io.BytesIO(file.body)).size == (256, 256)
    kept = await client.call("GET", path_of(stack, url), headers={"If-None-Match": file.headers["ETag"]})
    assert kept.status == 304
    assert (await client.call("GET", f"/v1/people/{person.id}")).json["avatar_url"] == url
    changed = (await put(plain(mode="L"))).json["avatar_url"]
    assert changed != url
    assert (await client.call("GET", "/v1/me", who=person)).json["avatar_url"] == changed
    assert (await client.call("DELETE", "/v1/me/avatar", who=person)).status == 204
    assert (await client.call("GET", f"/v1/people/{person.id}")).json["avatar_url"] is None
    assert (await client.call("GET", path_of(stack, changed))).status == 404


async def test_pictures_and_schedules_go_with_their_person(
    client: Client, new_person: Any, admin: Person, stack: Stack
) -> None:
    person = await new_person("Faye", "author")
    picture, face, named = await stored(client, person), io.BytesIO(plain()), {"Content-Type": PNG}
    publish_at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"title": "Tomorrow", "body": "A text.", "cover": picture["id"], "publish_at": publish_at}
    post = (await client.call("POST", "/v1/posts", body, who=person)).json
    url = (await client.call("PUT", "/v1/me/avatar", who=person, data=face, headers=named)).json["avatar_url"]
    for shown in (url, picture["url"]):
        assert (await client.call("GET", path_of(stack, shown))).status == 200
    assert (await client.call("DELETE", "/v1/me", who=person)).status == 202
    assert (await client.call("GET", path_of(stack, url))).status == 404

    async def picture_is_gone() -> bool:
        return (await client.call("GET", path_of(stack, picture["url"]))).status == 404

    await eventually(picture_is_gone, timeout=60)
    left = (await client.call("GET", f"/v1/posts/{post['id']}", who=admin)).json
    assert (left["status"], left["publish_at"], left["cover_url"]) == ("draft", None, None)
