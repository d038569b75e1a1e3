"""Pictures at the gateway: what is refused before it is read, what is passed on, and how files are served."""

from typing import Any
from uuid import uuid4

from services.chassis.client.client import ServiceResponse
from services.chassis.errors import not_found
from services.chassis.identity import Signer
from services.contracts.body_sizes import AVATAR_BYTES, IMAGE_BYTES
from services.gateway.access import rate_limits
from tests.hostile_pictures import JPEG, PNG, plain
from tests.integration.gateway_harness import ANNA, ID, GatewayHarness, NewHarness, kind
from tests.unit.gateway_fakes import Call, answered, raw_post

IMAGE_ID = "01936f6e-0000-7000-8000-0000000000e1"
PATH = f"/images/{IMAGE_ID}.webp"
FILE = b"RIFF....WEBP"


async def send(harness: GatewayHarness, data: bytes, kind: str = PNG, **options: Any) -> Any:
    headers = harness.anna | {"Content-Type": kind} | options.pop("headers", {})
    return await harness.http.post("/v1/images", content=data, headers=headers)


async def test_a_picture_is_passed_on_as_it_came(harness: GatewayHarness) -> None:
    stored = {"id": IMAGE_ID, "width": 40, "height": 30}
    harness.services.posts.on("POST", "/images", lambda _: answered(stored, 201, Location=PATH))
    answer = await send(harness, plain(), headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.headers["Location"], answer.headers["Cache-Control"]) == (201, PATH, "no-store")
    assert answer.json() == stored | {"url": f"{harness.gateway.settings.public_url}{PATH}"}
    [call] = [call for call in harness.services.posts.calls if call.path == "/images"]
    assert call.body == plain()
    assert dict(call.headers) == {"Idempotency-Key": "k", "Content-Type": PNG}


async def test_what_is_no_picture_is_refused_here(harness: GatewayHarness, keys: dict[str, str]) -> None:
    for data, said, status, problem in (
        (plain(), "application/json", 415, "unsupported-media-type"),
        (plain(), JPEG, 415, "unsupported-media-type"),
        (b"<svg/>", PNG, 415, "unsupported-media-type"),
        (plain() + b"x" * IMAGE_BYTES, PNG, 413, "too-large"),
        (b"", PNG, 422, "invalid"),
    ):
        answer = await send(harness, data, said)
        assert (answer.status_code, kind(answer)) == (status, problem)
    token = Signer(keys["PEOPLE_SIGNING_KEY"], "people").token("rapport", uuid4(), ["reader"], 900, session_id=uuid4())
    not_an_author = await send(harness, plain(), headers={"Authorization": f"Bearer {token}"})
    nobody = await send(harness, plain(), headers={"Authorization": "Bearer x"})
    assert (not_an_author.status_code, nobody.status_code) == (403, 401)
    assert not [call for call in harness.services.posts.calls if call.path == "/images"]


async def test_pictures_have_a_limit_of_their_own(new_harness: NewHarness) -> None:
    harness = await new_harness(rate_limits="on")
    answer = await send(harness, b"")
    assert '"uploading"' in answer.headers["RateLimit"]
    for _ in range(rate_limits.UPLOADING.quota - 1):
        await send(harness, b"")
    answer = await send(harness, b"")
    assert (answer.status_code, kind(answer)) == (429, "too-many-requests")
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_file_is_served_for_ever_as_nothing_but_a_picture(harness: GatewayHarness) -> None:
    posts = harness.services.posts
    posts.on("GET", f"/images/{IMAGE_ID}", ServiceResponse(200, {"Content-Type": "image/webp"}, FILE))
    posts.on("GET", f"/images/{IMAGE_ID}/size", {"width": 4, "height": 3})
    for path in (PATH, PATH.replace("e1", "E1")):
        answer = await harness.get(path)
        assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, FILE, "image/webp")
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Vary" not in answer.headers
    again = await harness.http.get(PATH, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", answer.headers["ETag"])
    assert again.headers["Cache-Control"] == answer.headers["Cache-Control"]
    head = await harness.http.head(PATH)
    assert (head.status_code, head.headers["ETag"]) == (200, answer.headers["ETag"])


async def test_a_file_that_is_gone_is_404_for_those_too_who_have_it(harness: GatewayHarness) -> None:
    for path in (f"/images/{IMAGE_ID}", f"/images/{IMAGE_ID}/size"):
        harness.services.posts.on("GET", path, not_found())
    for path in (PATH, "/images/x.webp", f"/images/{IMAGE_ID}.png"):
        answer = await harness.http.get(path, headers={"If-None-Match": f'"{IMAGE_ID}"'})
        assert answer.status_code == 404, path
        assert "immutable" not in answer.headers.get("Cache-Control", "")


PERSON = "01936f6e-0000-7000-8000-0000000000f1"
FACE = f"/avatars/{PERSON}-0123456789abcdef.webp"


async def test_the_picture_of_a_person_is_asked_for_each_time_and_cheaply(harness: GatewayHarness) -> None:
    people = harness.services.people
    people.on("GET", f"/avatars/{PERSON}", ServiceResponse(200, {"Content-Type": "image/webp"}, FILE))
    people.on("GET", f"/avatars/{PERSON}/digest", {"digest": "0123456789abcdef"})
    answer = await harness.get(FACE)
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, FILE, "image/webp")
    assert (answer.headers["Cache-Control"], answer.headers["ETag"]) == ("public, no-cache", '"0123456789abcdef"')
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    people.calls.clear()
    again = await harness.http.get(FACE, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert [call.path for call in people.calls] == [f"/avatars/{PERSON}/digest"]
    people.on("GET", f"/avatars/{PERSON}/digest", not_found())
    for path in (FACE, "/avatars/x.webp", f"/avatars/{PERSON}.webp"):
        assert (await harness.http.get(path, headers={"If-None-Match": "*"})).status_code == 404


async def test_authors_carry_the_address_of_their_picture_and_a_change_shows_at_once(harness: GatewayHarness) -> None:
    people, site = harness.services.people, harness.gateway.settings.public_url
    person = {"id": ANNA, "name": "Anna", "avatar_url": FACE}
    mine = person | {"email": "a@example.com", "email_confirmed": True, "roles": [], "created_at": "x"}
    assert (await harness.get(f"/v1/posts/{ID}")).json()["author"]["avatar_url"] is None
    people.on("POST", "/people/lookup", {"items": [person]})
    people.on("PUT", "/me/avatar", mine)
    people.on("DELETE", "/me/avatar", lambda _: answered(None, 204))
    headers = harness.anna | {"Content-Type": PNG}
    answer = await harness.http.put("/v1/me/avatar", content=plain(), headers=headers)
    assert (answer.status_code, answer.json()["avatar_url"]) == (200, site + FACE)
    assert people.calls[-1].body == plain()
    assert (await harness.get(f"/v1/posts/{ID}")).json()["author"]["avatar_url"] == site + FACE
    people.on("POST", "/people/lookup", {"items": [person | {"avatar_url": None}]})
    assert (await harness.http.delete("/v1/me/avatar", headers=harness.anna)).status_code == 204
    assert (await harness.get(f"/v1/posts/{ID}")).json()["author"]["avatar_url"] is None
    large = await harness.http.put("/v1/me/avatar", content=plain() + b"x" * AVATAR_BYTES, headers=headers)
    assert (large.status_code, kind(large)) == (413, "too-large")


async def test_a_post_shows_the_address_of_its_cover(harness: GatewayHarness) -> None:
    def with_cover(_: Call) -> Any:
        return raw_post(cover=IMAGE_ID)

    assert (await harness.get(f"/v1/posts/{ID}")).json()["cover_url"] is None
    harness.services.posts.on("GET", f"/posts/{ID}", with_cover)
    harness.gateway.invalidation.post(ID)
    shown = (await harness.get(f"/v1/posts/{ID}")).json()
    assert shown["cover_url"] == f"{harness.gateway.settings.public_url}{PATH}"
