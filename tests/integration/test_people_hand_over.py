"""Signing in at a front end elsewhere: where links lead back to, and what is fetched there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest

from services.people.commands import sign_in
from services.people.domain import challenge_of
from tests.integration.people_harness import FRONT_END, Harness, opened

ANA = "ana@example.com"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
ASKED = {"return_to": FRONT_END, "challenge": CHALLENGE}


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]], keys: dict[str, str]) -> AsyncIterator[Harness]:
    async with opened(new_database, keys) as harness:
        yield harness


async def link(harness: Harness, **front_end: str) -> str:
    """Register for a front end and return the token of the link."""
    answer = await harness.call("POST", "/people", {"name": "Ana", "email": ANA, **(front_end or ASKED)})
    assert answer.status_code == 202
    (token,) = await harness.links()
    return token


async def press(harness: Harness, token: str) -> dict[str, Any]:
    answer = await harness.call("POST", "/sessions", {"token": token, "cookie": True, "nonce": "n" * 43})
    assert answer.status_code == 201
    pressed: dict[str, Any] = answer.json()
    return pressed


async def fetch(harness: Harness, code: str, verifier: str = VERIFIER) -> httpx2.Response:
    return await harness.call("POST", "/sessions/fetch", {"code": code, "verifier": verifier})


def refused(answer: httpx2.Response) -> bool:
    return (answer.status_code, answer.json()["type"]) == (401, "/problems/invalid-code")


def test_the_challenge_is_that_of_the_standard() -> None:
    assert challenge_of(VERIFIER) == CHALLENGE


async def test_a_front_end_fetches_its_session_once(harness: Harness) -> None:
    pressed = await press(harness, await link(harness))
    assert pressed.keys() == {"return_to", "code"}
    assert pressed["return_to"] == FRONT_END
    assert await harness.value("select count(*) from sessions") == 0
    for verifier in ("x", VERIFIER[1:], CHALLENGE, VERIFIER.upper()):
        assert refused(await fetch(harness, pressed["code"], verifier))
    answers = await asyncio.gather(*(fetch(harness, pressed["code"]) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 7
    session = next(answer.json() for answer in answers if answer.status_code == 201)
    assert set(session) == {"access_token", "token_type", "expires_in", "refresh_token", "person"}
    assert session["person"]["email"] == ANA
    refreshed = await harness.call("POST", "/sessions/refresh", {"refresh_token": session["refresh_token"]})
    assert refreshed.status_code == 200
    assert await harness.events() == ["confirmed"]


async def test_it_is_fetched_within_a_minute(harness: Harness) -> None:
    pressed = await press(harness, await link(harness))
    life = await harness.value("select extract(epoch from expires_at - now()) from hand_overs")
    assert 50 < life <= 60
    await harness.change("update hand_overs set expires_at = now()")
    assert refused(await fetch(harness, pressed["code"]))
    assert refused(await fetch(harness, "unknown"))


async def test_an_erased_person_is_not_handed_over(harness: Harness) -> None:
    session = await harness.enter(ANA)
    pressed = await press(harness, await link(harness))
    await harness.call("DELETE", "/me", person=session["person"]["id"])
    assert await harness.value("select count(*) from hand_overs") == 0
    assert refused(await fetch(harness, pressed["code"]))


async def test_neither_code_nor_verifier_is_stored(harness: Harness) -> None:
    pressed = await press(harness, await link(harness))
    row = await harness.value("select hand_overs::text from hand_overs")
    for secret in (pressed["code"], VERIFIER):
        assert secret not in row
        assert secret.encode().hex() not in row


async def test_the_api_uses_such_a_link_as_any_other(harness: Harness) -> None:
    answer = await harness.call("POST", "/sessions", {"token": await link(harness)})
    assert "refresh_token" in answer.json()


async def test_a_link_tells_where_it_leads_back_to(harness: Harness) -> None:
    async def leads_to(token: str) -> str | None:
        found: str | None = (await harness.call("POST", "/sign-in/lookup", {"token": token})).json()["return_to"]
        return found

    token = await link(harness)
    assert await leads_to(token) == FRONT_END
    await press(harness, token)
    assert await leads_to(token) == FRONT_END
    assert await leads_to(await harness.link(ANA)) is None
    assert await leads_to("unknown") is None


async def test_an_address_that_is_allowed_no_more_gets_nobody(harness: Harness) -> None:
    token = await link(harness)
    await harness.change("update sign_in_requests set return_to = 'https://left.example/'")
    assert (await harness.call("POST", "/sign-in/lookup", {"token": token})).json() == {"return_to": None}
    assert (await press(harness, token)).keys() == {"session_id", "person", "ended"}


async def test_old_hand_overs_are_pruned(harness: Harness) -> None:
    await press(harness, await link(harness))
    await harness.change("update hand_overs set expires_at = now() - interval '25 hours'")
    async with harness.db.transaction() as tx:
        await sign_in.prune(tx)
    assert await harness.value("select count(*) from hand_overs") == 0


REFUSED: list[tuple[dict[str, Any], str]] = [
    *[
        ({"return_to": address, "challenge": CHALLENGE}, "return_to")
        for address in (
            FRONT_END + "/",
            FRONT_END + "?x",
            FRONT_END + "#x",
            FRONT_END.upper(),
            f" {FRONT_END}",
            FRONT_END.replace("https", "http"),
            FRONT_END.replace("front", "fr\u00f6nt"),
            "https://front.example@evil.example/signed-in",
            "javascript:alert(1)",
            "",
        )
    ],
    ({"return_to": FRONT_END}, "challenge"),
    ({"challenge": CHALLENGE}, "return_to"),
    *[
        ({"return_to": FRONT_END, "challenge": challenge}, "challenge")
        for challenge in ("", "x", CHALLENGE + "=", CHALLENGE[:-1] + "+", CHALLENGE + "\n", 5)
    ],
]


@pytest.mark.parametrize(("fields", "field"), REFUSED)
async def test_where_a_link_may_not_lead_is_refused(harness: Harness, fields: dict[str, Any], field: str) -> None:
    for path, body in (("/people", {"name": "Ana", "email": ANA}), ("/sign-in", {"email": ANA})):
        answer = await harness.call("POST", path, body | fields)
        assert answer.status_code == 422, answer.text
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert await harness.value("select count(*) from sign_in_requests") == 0
