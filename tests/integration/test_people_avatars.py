"""Pictures of people: set, replaced, taken away, and gone with their person."""

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from PIL import Image

from services.chassis.identity import Signer
from tests.hostile_pictures import JPEG, PLACE, PNG, plain, with_place
from tests.integration.people_harness import Harness, opened


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]], keys: dict[str, str]) -> AsyncIterator[Harness]:
    async with opened(new_database, keys) as harness:
        yield harness


async def put(harness: Harness, person: str, data: bytes, kind: str = PNG, **headers: str) -> httpx2.Response:
    signer = Signer(harness.keys["GATEWAY_SIGNING_KEY"], "gateway")
    sent = {"Authorization": f"Bearer {signer.token('people', UUID(person), [])}", "Content-Type": kind}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return await harness.client.request("PUT", "/me/avatar", headers=sent, content=data)


async def test_a_picture_is_shown_wherever_its_person_is(harness: Harness) -> None:
    person = (await harness.enter("ana@example.com"))["person"]["id"]
    first = await put(harness, person, with_place(JPEG, size=(900, 300)), JPEG)
    path = first.json()["avatar_url"]
    assert (first.status_code, path.startswith(f"/avatars/{person}-")) == (200, True)
    file = await harness.call("GET", f"/avatars/{person}")
    shown = Image.open(io.BytesIO(file.content))
    assert (file.headers["Content-Type"], shown.format, shown.size) == ("image/webp", "WEBP", (256, 256))
    assert PLACE.encode() not in file.content
    digest = (await harness.call("GET", f"/avatars/{person}/digest")).json()["digest"]
    assert path == f"/avatars/{person}-{digest}.webp"
    for found in (
        (await harness.call("GET", "/me", person=person)).json(),
        (await harness.call("GET", f"/people/{person}")).json(),
        (await harness.call("POST", "/people/lookup", {"ids": [person]})).json()["items"][0],
        (await harness.enter("ana@example.com", None))["person"],
    ):
        assert found["avatar_url"] == path


async def test_each_change_is_told_once(harness: Harness) -> None:
    person = (await harness.enter("ana@example.com"))["person"]["id"]
    told = len(await harness.events())
    key = {"Idempotency_Key": "k"}
    one = await put(harness, person, plain(), **key)
    again = await put(harness, person, plain(), **key)
    same = await put(harness, person, plain())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert one.json() == again.json() == same.json()
    other = await put(harness, person, plain(mode="L"))
    assert other.json()["avatar_url"] != one.json()["avatar_url"]
    for _ in range(2):
        assert (await harness.call("DELETE", "/me/avatar", person=person)).status_code == 204
    assert (await harness.events())[told:] == ["renamed"] * 3
    payload = "convert_from(payload, 'UTF8')::jsonb"
    said = f"select string_agg({payload} ->> 'has_picture', ' ' order by id) from outbox where type like '%renamed%'"
    assert await harness.value(said) == "true true false"
    assert (await harness.call("GET", "/me", person=person)).json()["avatar_url"] is None
    assert (await harness.call("GET", f"/avatars/{person}")).status_code == 404


async def test_a_picture_goes_with_its_person(harness: Harness) -> None:
    person = (await harness.enter("ana@example.com"))["person"]["id"]
    await put(harness, person, plain())
    assert (await harness.call("DELETE", "/me", person=person)).status_code == 202
    for path in (f"/avatars/{person}", f"/avatars/{person}/digest"):
        assert (await harness.call("GET", path)).status_code == 404
    assert (await harness.call("GET", f"/people/{person}")).json()["avatar_url"] is None
    assert await harness.value("select count(*) from avatars") == 0
    assert (await put(harness, person, plain())).json()["type"] == "/problems/invalid-token"


async def test_what_is_no_picture_changes_nothing(harness: Harness) -> None:
    person = (await harness.enter("ana@example.com"))["person"]["id"]
    assert (await put(harness, person, plain(), JPEG)).status_code == 415
    assert (await put(harness, person, plain()[:50])).status_code == 422
    assert (await put(harness, person, plain() + b"x" * 2**20)).status_code == 413
    assert (await put(harness, str(uuid4()), plain())).json()["type"] == "/problems/invalid-token"
    assert (await harness.call("GET", f"/avatars/{person}")).status_code == 404
