"""Who is looking: token, cookie or nobody."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from starlette.requests import Request

from services.chassis.errors import Problem, unavailable
from services.chassis.identity import Signer, Verifier
from services.gateway.access.authentication import Authentication
from services.gateway.access.revocations import Revocations

ORIGIN = "https://rapport.test"
PERSON, SESSION = uuid4(), uuid4()


class House:
    """People and the clocks."""

    def __init__(self, keys: dict[str, str]) -> None:
        self.keys = keys
        self.now = 0.0
        self.checks = 0
        self.away = False
        self.session: dict[str, Any] | None = {
            "sid": str(SESSION),
            "person": {"id": str(PERSON), "name": "Anna", "avatar_url": None, "roles": ["author"]},
        }
        self.ended: list[str] = []
        self.changes = Revocations(self.fetch)
        verifier = Verifier(keys["VERIFICATION_KEYS"], "rapport", longest=900, accepted=["people"])
        self.viewers = Authentication(
            verifier, self.changes, self.check, cookie_name="rapport", origin=ORIGIN, clock=lambda: self.now
        )

    async def fetch(self) -> dict[str, Any]:
        return {"sessions": self.ended, "people": [], "as_of": "2026-11-23T04:35:00.000Z"}

    async def check(self, cookie: str, deadline: float) -> dict[str, Any] | None:
        self.checks += 1
        if self.away:
            raise unavailable("away")
        return self.session if cookie == "good" else None

    def token(self, issuer: str = "people", audience: str = "rapport", person: UUID | None = PERSON) -> str:
        signer = Signer(self.keys[f"{issuer.upper()}_SIGNING_KEY"], issuer)
        return signer.token(audience, person, ["author"], 900 if issuer == "people" else 60, session_id=SESSION)


@pytest.fixture
def house(keys: dict[str, str]) -> House:
    return House(keys)


def request(method: str = "GET", **headers: str) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "path": "/", "headers": raw, "query_string": b""})


async def kind_of(awaitable: Any) -> str:
    with pytest.raises(Problem) as caught:
        await awaitable
    return caught.value.kind


async def test_a_token_names_the_person_and_the_session(house: House) -> None:
    await house.changes.refresh()
    viewer = await house.viewers.person(request("POST", Authorization=f"bearer {house.token()}"), 0)
    assert viewer.caller.issuer == "gateway"
    assert viewer.person_id == PERSON
    assert viewer.caller.roles == frozenset({"author"})
    assert viewer.session_id == str(SESSION)
    assert viewer.private
    assert not viewer.by_cookie


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer ü"])
async def test_a_malformed_token_is_refused_on_public_reads_too(house: House, header: str) -> None:
    raw = [(b"authorization", header.encode("latin-1"))]
    asked = Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "query_string": b""})
    assert await kind_of(house.viewers.of(asked, 0)) == "invalid-token"


async def test_tokens_of_others_are_refused(house: House) -> None:
    for token in (house.token("gateway"), house.token(audience="posts"), house.token(person=None)):
        assert await kind_of(house.viewers.of(request(Authorization=f"Bearer {token}"), 0)) == "invalid-token"


async def test_a_token_of_an_ended_session_is_refused(house: House) -> None:
    house.ended.append(str(SESSION))
    await house.changes.refresh()
    assert await kind_of(house.viewers.of(request(Authorization=f"Bearer {house.token()}"), 0)) == "invalid-token"


async def test_nobody_must_sign_in(house: House) -> None:
    viewer = await house.viewers.of(request(), 0)
    assert viewer.person_id is None
    assert not viewer.private
    assert await kind_of(house.viewers.person(request(), 0)) == "sign-in-required"


async def test_a_cookie_is_checked_with_people_and_remembered_for_fifteen_seconds(house: House) -> None:
    asked = request(Cookie="rapport=good")
    viewer = await house.viewers.of(asked, 0)
    assert viewer.person_id == PERSON
    assert viewer.by_cookie
    assert viewer.private
    house.now = 14.9
    await house.viewers.of(asked, 0)
    assert house.checks == 1
    house.now = 15.0
    house.session = None
    assert (await house.viewers.of(asked, 0)).person_id is None
    assert house.checks == 2


async def test_a_dead_cookie_is_not_signed_in_but_private(house: House) -> None:
    viewer = await house.viewers.of(request(Cookie="rapport=dead"), 0)
    assert viewer.person_id is None
    assert viewer.private
    assert await kind_of(house.viewers.person(request("POST", Cookie="rapport=dead"), 0)) == "sign-in-required"


async def test_a_forgotten_cookie_is_asked_again(house: House) -> None:
    asked = request(Cookie="rapport=good")
    await house.viewers.of(asked, 0)
    house.viewers.forget("good")
    await house.viewers.of(asked, 0)
    assert house.checks == 2


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.test", "http://rapport.test", "https://rapport.test.evil"]
)
async def test_a_write_with_the_cookie_comes_from_our_own_pages(house: House, origin: str | None) -> None:
    headers = {"Cookie": "rapport=good"} | ({"Origin": origin} if origin else {})
    assert await kind_of(house.viewers.person(request("POST", **headers), 0)) == "cross-site"
    assert (await house.viewers.person(request("GET", **headers), 0)).person_id == PERSON
    own = request("POST", Cookie="rapport=good", Origin=ORIGIN)
    assert (await house.viewers.person(own, 0)).person_id == PERSON


async def test_a_token_goes_before_a_cookie_and_needs_no_origin(house: House) -> None:
    await house.changes.refresh()
    asked = request("POST", Authorization=f"Bearer {house.token()}", Cookie="rapport=good", Origin="https://evil.test")
    assert not (await house.viewers.person(asked, 0)).by_cookie
    assert house.checks == 0


async def test_whoever_cannot_be_checked_is_nobody_for_reads_and_503_for_writes(house: House) -> None:
    house.away = True
    asked = request("POST", Cookie="rapport=good", Origin=ORIGIN)
    viewer = await house.viewers.of(asked, 0)
    assert not viewer.sure
    assert viewer.person_id is None
    assert await kind_of(house.viewers.person(asked, 0)) == "unavailable"


async def test_an_old_token_is_not_believed_before_people_were_heard(house: House, monkeypatch: Any) -> None:
    import services.gateway.access.authentication as module

    token = house.token()
    assert (await house.viewers.of(request(Authorization=f"Bearer {token}"), 0)).sure
    real = module.issued_at
    monkeypatch.setattr(module, "issued_at", lambda text: real(text) - 61)
    assert not (await house.viewers.of(request(Authorization=f"Bearer {token}"), 0)).sure
    await house.changes.refresh()
    assert (await house.viewers.of(request(Authorization=f"Bearer {token}"), 0)).sure
