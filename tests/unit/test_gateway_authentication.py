"""Authentication by token and by cookie."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from starlette.requests import Request

from services.chassis.errors import Problem, unavailable
from services.chassis.identity import Signer, Verifier
from services.gateway.access.authentication import REMEMBERED, Authentication, Viewer
from services.gateway.access.revocations import Revocations

ORIGIN = "https://rapport.test"
PERSON, SESSION = uuid4(), uuid4()


class Harness:
    """Authentication over a fake people service and a clock."""

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
        self.revocations = Revocations(self.fetch)
        verifier = Verifier(keys["VERIFICATION_KEYS"], "rapport", longest=900, accepted=["people"])
        self.authentication = Authentication(
            verifier, self.revocations, self.check, cookie_name="rapport", origin=ORIGIN, clock=lambda: self.now
        )

    async def fetch(self) -> dict[str, Any]:
        return {"sessions": self.ended, "people": [], "as_of": "2026-11-23T04:35:00.000Z"}

    async def check(self, cookie: str, deadline: float) -> dict[str, Any] | None:
        self.checks += 1
        if self.away:
            raise unavailable("away")
        return self.session if cookie == "good" else None

    async def viewer(self, asked: Request) -> Viewer:
        """Return who sends the request, as the guards do."""
        return self.authentication.recall(asked) or await self.authentication.check(asked, 0)

    async def person(self, asked: Request) -> Viewer:
        """Return the same for a route that needs a signed-in person."""
        viewer = await self.viewer(asked)
        self.authentication.require_person(asked, viewer)
        return viewer

    def token(self, issuer: str = "people", audience: str = "rapport", person: UUID | None = PERSON) -> str:
        signer = Signer(self.keys[f"{issuer.upper()}_SIGNING_KEY"], issuer)
        return signer.token(audience, person, ["author"], 900 if issuer == "people" else 60, session_id=SESSION)


@pytest.fixture
def harness(keys: dict[str, str]) -> Harness:
    return Harness(keys)


def request(method: str = "GET", **headers: str) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "path": "/", "headers": raw, "query_string": b""})


async def kind_of(awaitable: Any) -> str:
    with pytest.raises(Problem) as caught:
        await awaitable
    return caught.value.kind


async def test_a_token_identifies_the_person_and_the_session(harness: Harness) -> None:
    await harness.revocations.refresh()
    viewer = await harness.person(request("POST", Authorization=f"bearer {harness.token()}"))
    assert viewer.caller.issuer == "gateway"
    assert viewer.person_id == PERSON
    assert viewer.caller.roles == frozenset({"author"})
    assert viewer.session_id == str(SESSION)
    assert viewer.private
    assert not viewer.by_cookie


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer ü"])
async def test_a_malformed_token_is_refused_on_public_reads_too(harness: Harness, header: str) -> None:
    raw = [(b"authorization", header.encode("latin-1"))]
    asked = Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "query_string": b""})
    assert await kind_of(harness.viewer(asked)) == "invalid-token"


async def test_tokens_of_other_issuers_audiences_or_nobody_are_refused(harness: Harness) -> None:
    for token in (harness.token("gateway"), harness.token(audience="posts"), harness.token(person=None)):
        assert await kind_of(harness.viewer(request(Authorization=f"Bearer {token}"))) == "invalid-token"


async def test_a_token_of_an_ended_session_is_refused(harness: Harness) -> None:
    harness.ended.append(str(SESSION))
    await harness.revocations.refresh()
    assert await kind_of(harness.viewer(request(Authorization=f"Bearer {harness.token()}"))) == "invalid-token"


async def test_a_request_without_credentials_is_anonymous(harness: Harness) -> None:
    viewer = await harness.viewer(request())
    assert viewer.person_id is None
    assert not viewer.private
    assert await kind_of(harness.person(request())) == "sign-in-required"


async def test_a_cookie_is_checked_with_people_and_remembered_for_fifteen_seconds(harness: Harness) -> None:
    asked = request(Cookie="rapport=good")
    viewer = await harness.viewer(asked)
    assert viewer.person_id == PERSON
    assert viewer.by_cookie
    assert viewer.private
    harness.now = 14.9
    await harness.viewer(asked)
    assert harness.checks == 1
    harness.now = 15.0
    harness.session = None
    assert (await harness.viewer(asked)).person_id is None
    assert harness.checks == 2


async def test_an_unknown_cookie_is_not_signed_in_but_its_answer_is_private(harness: Harness) -> None:
    viewer = await harness.viewer(request(Cookie="rapport=dead"))
    assert viewer.person_id is None
    assert viewer.private
    assert await kind_of(harness.person(request("POST", Cookie="rapport=dead"))) == "sign-in-required"


async def test_a_refused_cookie_is_remembered_for_a_minute(harness: Harness) -> None:
    asked = request(Cookie="rapport=dead")
    for harness.now, checks in ((0.0, 1), (59.9, 1), (60.0, 2)):
        assert (await harness.viewer(asked)).private
        assert harness.checks == checks


async def test_refused_cookies_do_not_evict_confirmed_ones(harness: Harness) -> None:
    good = request(Cookie="rapport=good")
    await harness.viewer(good)
    for number in range(REMEMBERED + 1):
        await harness.viewer(request(Cookie=f"rapport=dead{number}"))
    assert harness.authentication.was_confirmed(good)
    checks = harness.checks
    await harness.viewer(request(Cookie=f"rapport=dead{REMEMBERED}"))
    assert harness.checks == checks
    await harness.viewer(request(Cookie="rapport=dead0"))
    assert harness.checks == checks + 1, "the oldest refused one was forgotten"


async def test_a_confirmed_cookie_that_is_refused_later_counts_as_unknown(harness: Harness) -> None:
    asked = request(Cookie="rapport=good")
    await harness.viewer(asked)
    harness.now, harness.session = 15.0, None
    assert (await harness.viewer(asked)).person_id is None
    assert not harness.authentication.was_confirmed(asked)


async def test_a_forgotten_cookie_is_checked_again(harness: Harness) -> None:
    asked = request(Cookie="rapport=good")
    await harness.viewer(asked)
    harness.authentication.forget("good")
    await harness.viewer(asked)
    assert harness.checks == 2


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.test", "http://rapport.test", "https://rapport.test.evil"]
)
async def test_a_write_with_the_cookie_must_come_from_our_own_pages(harness: Harness, origin: str | None) -> None:
    headers = {"Cookie": "rapport=good"} | ({"Origin": origin} if origin else {})
    assert await kind_of(harness.person(request("POST", **headers))) == "cross-site"
    assert (await harness.person(request("GET", **headers))).person_id == PERSON
    own = request("POST", Cookie="rapport=good", Origin=ORIGIN)
    assert (await harness.person(own)).person_id == PERSON


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({"Sec-Fetch-Site": "none", "Origin": ORIGIN}, True),
        ({"Origin": "https://rapport.test:443", "Host": "rapport.test:443"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Host": "RAPPORT.test"}, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": ORIGIN}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN}, False),
        ({"Sec-Fetch-Site": "Same-Origin"}, False),
        ({"Sec-Fetch-Site": ""}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Host": "evil.test"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Host": "rapport.test:8000"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Host": "["}, False),
        ({"Origin": ORIGIN, "Host": "sub.rapport.test"}, False),
    ],
)
async def test_only_our_own_origin_at_our_own_host_is_believed(
    harness: Harness, headers: dict[str, str], ours: bool
) -> None:
    asked = request("POST", Cookie="rapport=good", **headers)
    if ours:
        assert (await harness.person(asked)).person_id == PERSON
    else:
        assert await kind_of(harness.person(asked)) == "cross-site"


async def test_a_token_takes_precedence_over_a_cookie_and_needs_no_origin(harness: Harness) -> None:
    await harness.revocations.refresh()
    asked = request(
        "POST", Authorization=f"Bearer {harness.token()}", Cookie="rapport=good", Origin="https://evil.test"
    )
    assert not (await harness.person(asked)).by_cookie
    assert harness.checks == 0


async def test_an_unchecked_viewer_is_anonymous_for_reads_and_503_for_writes(harness: Harness) -> None:
    harness.away = True
    asked = request("POST", Cookie="rapport=good", Origin=ORIGIN)
    viewer = await harness.viewer(asked)
    assert not viewer.sure
    assert viewer.person_id is None
    assert await kind_of(harness.person(asked)) == "unavailable"


async def test_an_old_token_is_not_trusted_before_people_answered(harness: Harness, monkeypatch: Any) -> None:
    import services.gateway.access.authentication as module

    token = harness.token()
    assert (await harness.viewer(request(Authorization=f"Bearer {token}"))).sure
    real = module.issued_at
    monkeypatch.setattr(module, "issued_at", lambda text: real(text) - 61)
    assert not (await harness.viewer(request(Authorization=f"Bearer {token}"))).sure
    await harness.revocations.refresh()
    assert (await harness.viewer(request(Authorization=f"Bearer {token}"))).sure
