"""Signing in by the code of a mail: its tries, its end, and that no answer tells whether an address is known."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from services.chassis.database.pool import Transaction
from services.people.commands import sign_in
from services.people.domain import LIVE_LINKS_PER_ADDRESS
from tests.integration.people_harness import Harness, opened

ANA, BEN = "ana@example.com", "ben@example.com"
NONCE = "n" * 43


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]], keys: dict[str, str]) -> AsyncIterator[Harness]:
    async with opened(new_database, keys) as harness:
        yield harness


async def enter(harness: Harness, request: str, code: str | None = None, **more: object) -> httpx2.Response:
    """Send the code of a request, the right one if none is given."""
    body = {"request": request, "code": harness.tokens.code(request) if code is None else code}
    return await harness.call("POST", "/sessions/by-code", body | more)


def wrong(harness: Harness, request: str) -> str:
    return f"{(int(harness.tokens.code(request)) + 1) % 10**8:08}"


async def miss(harness: Harness, request: str, times: int) -> None:
    for _ in range(times):
        assert refused(await enter(harness, request, wrong(harness, request)))


def refused(answer: httpx2.Response) -> bool:
    return (answer.status_code, answer.json()["type"]) == (401, "/problems/invalid-code")


async def test_a_code_registers_and_signs_in(harness: Harness) -> None:
    session = await enter(harness, await harness.ask(ANA, "Ana"))
    assert session.status_code == 201
    assert set(session.json()) == {"access_token", "token_type", "expires_in", "refresh_token", "person"}
    assert (session.json()["person"]["name"], session.json()["person"]["email"]) == ("Ana", ANA)
    again = await enter(harness, await harness.ask(ANA), cookie=True)
    assert again.json()["person"] == session.json()["person"]
    assert set(again.json()) == {"session_id", "person", "ended"}
    assert await harness.events() == ["confirmed"]


async def test_a_code_works_once_and_voids_every_link(harness: Harness) -> None:
    request = await harness.ask(ANA, "Ana")
    other, link = await harness.ask(ANA, "Ana"), await harness.link(ANA, "Ana")
    assert (await enter(harness, request)).status_code == 201
    assert refused(await enter(harness, request))
    assert refused(await enter(harness, other))
    assert (await harness.call("POST", "/sessions", {"token": link})).status_code == 410


async def test_a_used_link_ends_the_code_beside_it(harness: Harness) -> None:
    answer = await harness.call("POST", "/people", {"email": ANA, "name": "Ana"})
    (token,) = await harness.links()
    assert (await harness.call("POST", "/sessions", {"token": token})).status_code == 201
    assert refused(await enter(harness, answer.json()["request"]))


async def test_of_many_at_once_one_signs_in(harness: Harness) -> None:
    request = await harness.ask(ANA, "Ana")
    answers = await asyncio.gather(*(enter(harness, request) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 19
    assert await harness.value("select count(*) from sessions") == 1


async def test_the_fifth_wrong_code_ends_codes_of_the_request_and_not_its_link(harness: Harness) -> None:
    answer = await harness.call("POST", "/people", {"email": ANA, "name": "Ana"})
    request = answer.json()["request"]
    (token,) = await harness.links()
    await miss(harness, request, 5)
    assert refused(await enter(harness, request))
    other = await harness.ask(ANA, "Ana")
    await miss(harness, other, 4)
    assert (await harness.call("POST", "/sessions", {"token": token})).status_code == 201


async def test_the_fifth_try_may_be_right(harness: Harness) -> None:
    request = await harness.ask(ANA, "Ana")
    await miss(harness, request, 4)
    assert (await enter(harness, request)).status_code == 201


async def test_wrong_codes_at_once_are_all_counted(harness: Harness) -> None:
    request = await harness.ask(ANA, "Ana")
    answers = await asyncio.gather(*(enter(harness, request, wrong(harness, request)) for _ in range(20)))
    assert all(refused(answer) for answer in answers)
    assert await harness.value("select count(*) from sign_in_wrong_codes") == 5
    assert refused(await enter(harness, request))


async def test_wrong_codes_of_many_requests_at_once_are_counted_for_their_address(harness: Harness) -> None:
    requests = [await harness.ask(ANA, "Ana") for _ in range(4)]
    tries = [enter(harness, request, wrong(harness, request)) for request in requests for _ in range(5)]
    assert all(refused(answer) for answer in await asyncio.gather(*tries))
    assert await harness.value("select count(*) from sign_in_wrong_codes") == 10
    assert refused(await enter(harness, await harness.ask(ANA, "Ana")))


async def test_ten_wrong_codes_end_codes_of_the_address_for_an_hour(harness: Harness) -> None:
    await harness.enter(ANA)
    for _ in range(2):
        await miss(harness, await harness.ask("aNA@EXAMPLE.com"), 5)
    assert refused(await enter(harness, await harness.ask(ANA)))
    assert (await enter(harness, await harness.ask(BEN, "Ben"))).status_code == 201
    link = await harness.link(ANA)
    assert (await harness.call("POST", "/sessions", {"token": link})).status_code == 201
    await harness.change("update sign_in_wrong_codes set tried_at = tried_at - interval '59 minutes'")
    assert refused(await enter(harness, await harness.ask(ANA)))
    await harness.change("update sign_in_wrong_codes set tried_at = tried_at - interval '2 minutes'")
    assert (await enter(harness, await harness.ask(ANA))).status_code == 201


async def test_ten_wrong_codes_in_more_than_an_hour_end_nothing(harness: Harness) -> None:
    await miss(harness, await harness.ask(ANA, "Ana"), 5)
    await harness.change("update sign_in_wrong_codes set tried_at = tried_at - interval '61 minutes'")
    await miss(harness, await harness.ask(ANA, "Ana"), 5)
    assert (await enter(harness, await harness.ask(ANA, "Ana"))).status_code == 201


async def test_every_refusal_is_the_same(harness: Harness) -> None:
    ended, expired, used = [await harness.ask(f"{number}@example.com", "Ana") for number in range(3)]
    await miss(harness, ended, 5)
    await harness.change(
        "update sign_in_links set expires_at = now() where request_id = "
        "(select id from sign_in_requests where public_id = $1)",
        expired,
    )
    await enter(harness, used)
    unknown = await harness.ask("nobody@example.com")
    fresh = await harness.ask(ANA, "Ana")
    answers = [
        *[await enter(harness, request) for request in (ended, expired, used, unknown, "x", "A" * 22)],
        *[await enter(harness, fresh, code) for code in ("x", "0", wrong(harness, fresh), "⁸" * 8, "12345678 " * 9)],
    ]
    bodies = [answer.json() | {"instance": ""} for answer in answers]
    assert all(refused(answer) for answer in answers)
    assert all(body == bodies[0] for body in bodies)
    assert len({tuple(sorted(set(answer.headers) - {"x-request-id"})) for answer in answers}) == 1


async def test_known_and_unknown_addresses_run_the_same_statements(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.enter(ANA)
    requests = [await harness.ask(ANA), await harness.ask("nobody@example.com")]
    ran: list[str] = []
    for name in ("execute", "fetch", "fetchrow", "fetchval"):
        original = getattr(Transaction, name)

        async def noted(self: Transaction, sql: str, *args: object, original: Any = original) -> object:
            ran.append(sql)
            return await original(self, sql, *args)

        monkeypatch.setattr(Transaction, name, noted)
    seen = []
    for request in requests:
        await miss(harness, request, 7)
        seen.append(tuple(ran))
        ran.clear()
    assert seen[0] == seen[1]


async def test_nobody_is_made_by_the_code_of_a_mail_that_was_not_sent(harness: Harness) -> None:
    unknown = await harness.ask("nobody@example.com")
    assert refused(await enter(harness, unknown))
    for _ in range(LIVE_LINKS_PER_ADDRESS):
        await harness.ask(ANA, "Ana")
    assert refused(await enter(harness, await harness.ask(ANA, "Ana")))  # its address had enough mails
    answer = await harness.call("POST", "/people", {"email": BEN, "name": "Ben"})
    assert refused(await enter(harness, answer.json()["request"]))  # not drawn yet
    assert await harness.value("select count(*) from people") == 0


async def test_the_code_is_the_same_in_every_retry(harness: Harness) -> None:
    answer = await harness.call("POST", "/people", {"email": ANA, "name": "Ana"})
    for _ in range(2):
        (claimed,) = await harness.claim()
        assert claimed.public_id == answer.json()["request"]
        drawn = await sign_in.draw_link(harness.db, claimed)
        await sign_in.postpone_request(harness.db, claimed, timedelta(0), unsent=drawn)
        assert refused(await enter(harness, answer.json()["request"]))  # that mail did not go out
    await harness.links()
    assert (await enter(harness, answer.json()["request"])).status_code == 201


TYPED = [
    "{0} {1}",
    " {0}{1}\n",
    "{0}-{1}",
    "{0}\u00a0{1}",
    "{0}\u2009{1}",
    "{0}\u2011{1}",
    "\u2068{0}{1}\u2069",
    "\u200b{0}\u00ad{1}\ufeff",
    "{0}\t{1}\r\n",
    "\u3000{0}\u2013{1}",
]


@pytest.mark.parametrize("form", TYPED)
async def test_a_code_is_read_as_people_type_it(harness: Harness, form: str) -> None:
    request = await harness.ask(ANA, "Ana")
    code = harness.tokens.code(request)
    assert (await enter(harness, request, form.format(code[:4], code[4:]))).status_code == 201


@pytest.mark.parametrize("zero", ["٠", "０", "०"])
async def test_digits_of_any_script_are_digits(harness: Harness, zero: str) -> None:
    request = await harness.ask(ANA, "Ana")
    code = "".join(chr(ord(zero) + int(digit)) for digit in harness.tokens.code(request))
    assert (await enter(harness, request, code)).status_code == 201


async def test_a_code_form_pressed_twice_opens_one_session(harness: Harness) -> None:
    request = await harness.ask(ANA, "Ana")
    await miss(harness, request, 4)
    answers = await asyncio.gather(*(enter(harness, request, cookie=True, nonce=NONCE) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["session_id"] for answer in answers}) == 1
    assert refused(await enter(harness, request, cookie=True, nonce="o" * 43))
    assert refused(await enter(harness, request, wrong(harness, request), cookie=True, nonce=NONCE))
    await harness.change("update sign_in_links set used_at = now() - interval '10 seconds'")
    assert refused(await enter(harness, request, cookie=True, nonce=NONCE))


async def test_a_code_ends_the_session_that_the_browser_had(harness: Harness) -> None:
    old = (await harness.enter(ANA, cookie=True))["session_id"]
    answer = await enter(harness, await harness.ask(BEN, "Ben"), cookie=True, nonce=NONCE, replaces=old)
    assert answer.json()["ended"] == str(await harness.value("select id from sessions where ended_at is not null"))
    assert (await harness.call("POST", "/sessions/check", {"session_id": old})).status_code == 404


async def test_a_request_of_an_older_version_has_a_link_and_no_code(harness: Harness) -> None:
    await harness.change(
        "insert into sign_in_requests (id, address, lookup, name) values (gen_random_uuid(), $1, $1, 'Ana')", ANA
    )
    (claimed,) = await harness.claim()
    assert claimed.public_id is None
    drawn = await sign_in.draw_link(harness.db, claimed)
    assert drawn is not None
    assert (await harness.call("POST", "/sessions", {"token": drawn.token})).status_code == 201


async def test_erasure_and_time_delete_what_was_counted(harness: Harness) -> None:
    person = (await harness.enter(ANA))["person"]["id"]
    for email in (ANA, BEN):
        await miss(harness, await harness.ask(email), 2)
    await harness.call("DELETE", "/me", person=person)
    assert await harness.value("select array_agg(distinct lookup) from sign_in_wrong_codes") == [BEN]
    await harness.change("update sign_in_wrong_codes set tried_at = tried_at - interval '2 hours'")
    async with harness.db.transaction() as tx:
        await sign_in.prune(tx)
    assert await harness.value("select count(*) from sign_in_wrong_codes") == 0


BAD_INPUT: list[tuple[dict[str, Any], str]] = [
    ({"request": "x"}, "code"),
    ({"code": "12345678"}, "request"),
    ({"request": "x", "code": 12345678}, "code"),
    ({"request": "", "code": "12345678"}, "request"),
    ({"request": "x" * 513, "code": "12345678"}, "request"),
    ({"request": "x", "code": "1", "token": "x"}, "token"),
]


@pytest.mark.parametrize(("body", "field"), BAD_INPUT)
async def test_invalid_input_names_its_field(harness: Harness, body: dict[str, Any], field: str) -> None:
    answer = await harness.call("POST", "/sessions/by-code", body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
