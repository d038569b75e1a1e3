"""A sign-in button pressed twice: one session for the browser that pressed, nothing for anybody else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest

from services.chassis.identity import generate_key
from services.people.commands.sessions import Started
from services.people.commands.starting import SignInRules, start_session, start_session_by_code
from services.people.domain import Browser
from services.people.store.sign_in import lock_address
from services.people.tokens import Tokens
from tests.integration.people_harness import FRONT_END, Harness, opened

ANA = "ana@example.com"
NONCE, OTHER = "n" * 43, "o" * 43


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]], keys: dict[str, str]) -> AsyncIterator[Harness]:
    async with opened(new_database, keys) as harness:
        yield harness


async def press(harness: Harness, token: str, nonce: str | None = NONCE, **more: object) -> httpx2.Response:
    browser = {"cookie": True} | ({} if nonce is None else {"nonce": nonce})
    return await harness.call("POST", "/sessions", {"token": token} | browser | more)


def used(answer: httpx2.Response) -> bool:
    return answer.status_code == 410 and answer.json()["type"] == "/problems/link-used-or-expired"


async def test_the_same_browser_gets_the_same_session_again(harness: Harness) -> None:
    token = await harness.link(ANA, "Ana")
    first, second = await press(harness, token), await press(harness, token)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert await harness.value("select count(*) from sessions") == 1
    assert await harness.events() == ["confirmed"]
    checked = await harness.call("POST", "/sessions/check", {"session_id": second.json()["session_id"]})
    assert checked.json()["person"]["name"] == "Ana"


async def test_the_second_press_may_meet_another_key(
    new_database: Callable[..., Awaitable[Any]], harness: Harness
) -> None:
    """People is started again between the two presses, with the next key and the one before."""
    token, _ = await harness.link(ANA, "Ana"), await harness.link("ben@example.com", "Ben")
    first = await press(harness, token)
    request = await harness.value("select public_id from sign_in_requests where address = 'ben@example.com'")
    code = harness.tokens.code(request)
    rules = SignInRules(
        Tokens(generate_key("people", "next")[0], harness.keys["PEOPLE_SIGNING_KEY"]), frozenset(), frozenset()
    )
    browser = Browser(nonce=NONCE, replaces=None)
    again = await start_session(harness.db, rules, token, browser)
    assert isinstance(again, Started)
    assert again.secret == first.json()["session_id"]
    by_code = await start_session_by_code(harness.db, rules, request, code, browser)
    assert isinstance(by_code, Started)
    assert by_code.person.name == "Ben"


@pytest.mark.parametrize("apart", [0, 0.005, 0.02, 0.08])
async def test_presses_at_about_the_same_time_open_one_session(harness: Harness, apart: float) -> None:
    token = await harness.link(ANA, "Ana")

    async def after(pause: float) -> httpx2.Response:
        await asyncio.sleep(pause)
        return await press(harness, token)

    answers = await asyncio.gather(*(after(number * apart) for number in range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["session_id"] for answer in answers}) == 1
    assert await harness.value("select count(*) from sessions") == 1


async def test_a_second_press_waits_for_a_slow_first_one(harness: Harness) -> None:
    token = await harness.link(ANA, "Ana")
    async with harness.db.transaction() as slow:
        await lock_address(slow, ANA)
        presses = [asyncio.create_task(press(harness, token)) for _ in range(3)]
        await asyncio.wait(presses, timeout=2.8)  # more than any other lock is waited for
    answers = await asyncio.gather(*presses)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1


async def test_without_the_nonce_a_used_link_is_used(harness: Harness) -> None:
    token = await harness.link(ANA, "Ana")
    assert (await press(harness, token)).status_code == 201
    for nonce in (None, OTHER, NONCE[1:], NONCE.upper()):
        assert used(await press(harness, token, nonce)), nonce
    assert used(await harness.call("POST", "/sessions", {"token": token}))
    assert used(await harness.call("POST", "/sessions", {"token": token, "nonce": NONCE}))
    assert await harness.value("select count(*) from sessions") == 1


@pytest.mark.parametrize("first", [{}, {"cookie": True}, {"nonce": NONCE}, {"cookie": True, "nonce": OTHER}])
async def test_what_another_client_used_first_is_used(harness: Harness, first: dict[str, object]) -> None:
    token = await harness.link(ANA, "Ana")
    assert (await harness.call("POST", "/sessions", {"token": token} | first)).status_code == 201
    assert used(await press(harness, token))


async def test_of_two_browsers_at_once_one_gets_the_session(harness: Harness) -> None:
    token = await harness.link(ANA, "Ana")
    answers = await asyncio.gather(*(press(harness, token, nonce) for nonce in (NONCE, OTHER) * 4))
    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [410] * 4
    assert await harness.value("select count(*) from sessions") == 1


async def test_after_ten_seconds_the_link_is_used(harness: Harness) -> None:
    token = await harness.link(ANA, "Ana")
    assert (await press(harness, token)).status_code == 201
    await harness.change("update sign_in_links set used_at = now() - interval '9 seconds'")
    assert (await press(harness, token)).status_code == 201
    await harness.change("update sign_in_links set used_at = now() - interval '10 seconds'")
    assert used(await press(harness, token))


async def test_a_session_that_has_ended_is_not_given_again(harness: Harness) -> None:
    token = await harness.link(ANA, "Ana")
    session = (await press(harness, token)).json()
    body = {"session_id": session["session_id"]}
    await harness.call("DELETE", "/sessions/current", body, person=session["person"]["id"])
    assert used(await press(harness, token))


async def test_an_erased_person_is_not_signed_in_again(harness: Harness) -> None:
    token = await harness.link(ANA, "Ana")
    session = (await press(harness, token)).json()
    await harness.call("DELETE", "/me", person=session["person"]["id"])
    assert used(await press(harness, token))


async def test_a_link_that_another_one_voided_is_used(harness: Harness) -> None:
    first, second = await harness.link(ANA, "Ana"), await harness.link(ANA, "Ana")
    assert (await press(harness, first)).status_code == 201
    assert used(await press(harness, second))


async def test_one_nonce_serves_many_sign_ins(harness: Harness) -> None:
    sessions = [(await press(harness, await harness.link(ANA, "Ana"))).json()["session_id"] for _ in range(3)]
    assert len(set(sessions)) == 3


async def test_an_expired_link_is_expired_for_every_browser(harness: Harness) -> None:
    token = await harness.link(ANA, "Ana")
    await harness.change("update sign_in_links set expires_at = now()")
    assert used(await press(harness, token))


async def test_neither_nonce_nor_session_is_stored(harness: Harness) -> None:
    session = (await press(harness, await harness.link(ANA, "Ana"))).json()
    async with harness.db.reader() as reader:
        rows = await reader.fetch("select t::text from sign_in_links t union all select t::text from sessions t")
    stored = "".join(row["t"] for row in rows)
    for secret in (NONCE, session["session_id"]):
        assert secret not in stored
        assert secret.encode().hex() not in stored


async def test_signing_in_ends_the_session_that_the_browser_had(harness: Harness) -> None:
    old = (await press(harness, await harness.link(ANA, "Ana"))).json()["session_id"]
    sid = str(await harness.value("select id from sessions"))
    other = await harness.enter(ANA, None, cookie=True)
    ben = await press(harness, await harness.link("ben@example.com", "Ben"), OTHER, replaces=old)
    assert ben.json()["ended"] == sid
    assert (await harness.call("POST", "/sessions/check", {"session_id": old})).status_code == 404
    for session in (other, ben.json()):
        body = {"session_id": session["session_id"]}
        assert (await harness.call("POST", "/sessions/check", body)).status_code == 200
    assert (await harness.call("GET", "/changes")).json()["sessions"] == [sid]
    again = await press(harness, await harness.link(ANA), replaces=old)
    assert (again.status_code, again.json()["ended"]) == (201, None)


async def test_a_second_press_does_not_end_the_session_of_the_first(harness: Harness) -> None:
    token = await harness.link(ANA, "Ana")
    first = (await press(harness, token)).json()
    second = await press(harness, token, replaces=first["session_id"])
    assert second.json()["session_id"] == first["session_id"]
    assert (await harness.call("POST", "/sessions/check", {"session_id": first["session_id"]})).status_code == 200


async def asked(harness: Harness, key: str | None, email: str = ANA, name: str | None = "Ana") -> str:
    path, body = ("/sign-in", {"email": email}) if name is None else ("/people", {"email": email, "name": name})
    answer = await harness.call("POST", path, body, headers={"Idempotency-Key": key} if key else {})
    assert answer.status_code == 202
    return str(answer.json()["request"])


@pytest.mark.parametrize("name", ["Ana", None])
async def test_a_form_that_asks_twice_is_one_request(harness: Harness, name: str | None) -> None:
    await harness.enter(ANA)
    await harness.change("delete from sign_in_requests")
    found = await asyncio.gather(*(asked(harness, "form", name=name) for _ in range(6)))
    assert len(set(found)) == 1
    assert len(await harness.links()) == 1
    assert (await asked(harness, "form", "aNA@EXAMPLE.com", name)) == found[0]
    others = [asked(harness, "another", name=name), asked(harness, "form", "ben@example.com", name)]
    others += [asked(harness, None, name=name) for _ in range(2)]
    assert len({*found, *(await asyncio.gather(*others))}) == 5
    await harness.change("update sign_in_requests set created_at = now() - interval '10 seconds'")
    assert (await asked(harness, "form", name=name)) not in found


async def test_what_is_typed_anew_into_a_form_is_another_request(harness: Harness) -> None:
    requests = [await asked(harness, "form", ANA, name) for name in ("Ana", "Anna", None)]
    assert len(set(requests)) == 3


async def test_a_link_that_leads_back_gives_one_code_to_its_browser(harness: Harness) -> None:
    body = {"name": "Ana", "email": ANA, "return_to": FRONT_END, "challenge": "c" * 43}
    await harness.call("POST", "/people", body)
    (token,) = await harness.links()
    answers = await asyncio.gather(*(press(harness, token) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert used(await press(harness, token, OTHER))
    assert await harness.value("select count(*) from hand_overs") == 1
