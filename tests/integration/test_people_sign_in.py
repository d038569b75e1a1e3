"""Sign-in links: the same answer for every address, one use, and the effects of that use."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from services.chassis.database.pool import Transaction
from services.chassis.identity import Verifier
from services.people.commands import sign_in
from services.people.domain import LIVE_LINKS_PER_ADDRESS, UNCONFIRMED_MAILS
from services.people.store.asking import INSERT_REQUEST, LOCK_REQUESTER
from tests.integration.people_harness import ADMIN, Harness, opened


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]], keys: dict[str, str]) -> AsyncIterator[Harness]:
    async with opened(new_database, keys) as harness:
        yield harness


async def test_the_first_link_creates_a_person_and_signs_them_in(harness: Harness) -> None:
    token = await harness.link("Ana@Example.com", "Ana")
    assert await harness.value("select count(*) from people") == 0
    answer = await harness.call("POST", "/sessions", {"token": token})
    assert answer.status_code == 201
    session = answer.json()
    assert set(session) == {"access_token", "token_type", "expires_in", "refresh_token", "person"}
    assert (session["token_type"], session["expires_in"]) == ("Bearer", 900)
    me = session["person"]
    assert list(me) == ["id", "name", "email", "email_confirmed", "avatar_url", "about", "roles", "created_at"]
    assert (me["name"], me["email"], me["email_confirmed"]) == ("Ana", "Ana@example.com", True)
    assert (me["avatar_url"], me["roles"]) == (None, ["reader"])
    caller = Verifier(harness.keys["VERIFICATION_KEYS"], "rapport", longest=900).verify(session["access_token"])
    assert (str(caller.person_id), caller.issuer) == (me["id"], "people")
    assert caller.roles == {"reader"}
    assert caller.session_id == await harness.value("select id from sessions")
    assert await harness.events() == ["confirmed"]


async def test_known_and_unknown_addresses_get_the_same_answer_and_rows(harness: Harness) -> None:
    await harness.enter("ana@example.com")
    await harness.change("delete from sign_in_requests")
    before = await harness.value("select count(*) from people")
    answers = [
        await harness.call("POST", path, body)
        for path, body in [
            ("/people", {"email": "ANA@example.com", "name": "Eve"}),
            ("/people", {"email": "bob@example.com", "name": "Eve"}),
            ("/sign-in", {"email": "ana@example.com"}),
            ("/sign-in", {"email": "bob@example.com"}),
        ]
    ]
    assert {(answer.status_code, *answer.json()) for answer in answers} == {(202, "status", "request")}
    assert {answer.json()["status"] for answer in answers} == {"check_your_mail"}
    named = {answer.json()["request"] for answer in answers}
    assert len(named) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", one) for one in named)
    headers = [{name for name in answer.headers if name != "x-request-id"} for answer in answers]
    assert headers[1:] == headers[:-1]
    assert await harness.value("select count(*) from sign_in_requests where attempts = 0 and outcome is null") == 4
    assert await harness.value("select count(*) from people") == before
    assert await harness.events() == ["confirmed"]


async def test_known_and_unknown_addresses_run_the_same_statements(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.enter("ana@example.com")
    ran: list[str] = []
    for name in ("execute", "fetch", "fetchrow", "fetchval"):
        original = getattr(Transaction, name)

        async def noted(self: Transaction, sql: str, *args: object, original: Any = original) -> object:
            ran.append(sql)
            return await original(self, sql, *args)

        monkeypatch.setattr(Transaction, name, noted)
    seen = []
    for path, offered in (("/people", {"name": "Ana"}), ("/sign-in", dict[str, str]())):
        for email in ("ana@example.com", "bob@example.com"):
            await harness.call("POST", path, {"email": email} | offered)
            seen.append(tuple(ran))
            ran.clear()
    assert set(seen) == {(LOCK_REQUESTER, INSERT_REQUEST)}


async def test_signing_in_with_an_unknown_address_draws_no_link(harness: Harness) -> None:
    await harness.call("POST", "/sign-in", {"email": "nobody@example.com"})
    assert await harness.links() == []
    assert await harness.value("select outcome from sign_in_requests") == "unknown_address"


async def test_a_confirmed_address_keeps_its_name_and_its_spelling(harness: Harness) -> None:
    first = await harness.enter("Ana@example.com", "Ana")
    again = await harness.enter("aNA@EXAMPLE.com", "Mallory")
    assert again["person"] == first["person"]
    assert await harness.events() == ["confirmed"]
    await harness.call("POST", "/sign-in", {"email": "ANA@example.com"})
    (request,) = await harness.claim()
    drawn = await sign_in.draw_link(harness.db, request)
    assert drawn is not None
    assert drawn.mailbox == "Ana@example.com"


async def test_a_link_works_once(harness: Harness) -> None:
    token = await harness.link("ana@example.com", "Ana")
    assert (await harness.call("POST", "/sessions", {"token": token})).status_code == 201
    again = await harness.call("POST", "/sessions", {"token": token})
    assert (again.status_code, again.json()["type"]) == (410, "/problems/link-used-or-expired")


async def test_a_link_works_for_ten_minutes(harness: Harness) -> None:
    token = await harness.link("ana@example.com", "Ana")
    life = await harness.value("select extract(epoch from expires_at - now()) from sign_in_links")
    assert 590 < life <= 600
    await harness.change("update sign_in_links set expires_at = now()")
    answer = await harness.call("POST", "/sessions", {"token": token})
    assert (answer.status_code, answer.json()["type"]) == (410, "/problems/link-used-or-expired")
    assert await harness.value("select count(*) from people") == 0


async def test_a_token_that_was_never_drawn_is_unknown(harness: Harness) -> None:
    for token in ("x", "A" * 43, "0" * 512, "\u00e9"):
        answer = await harness.call("POST", "/sessions", {"token": token})
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found"), token


async def test_a_used_link_is_reported_as_used_after_its_request_was_pruned(harness: Harness) -> None:
    token = await harness.link("ana@example.com", "Ana")
    await harness.change("update sign_in_requests set created_at = now() - interval '2 hours'")
    async with harness.db.transaction() as tx:
        assert await sign_in.prune(tx) == 1
    assert await harness.value("select count(*) from sign_in_requests") == 0
    assert (await harness.call("POST", "/sessions", {"token": token})).status_code == 410


async def test_a_new_request_voids_no_link_and_using_one_voids_all(harness: Harness) -> None:
    tokens = [await harness.link("ana@example.com", "Ana") for _ in range(3)]
    other = await harness.link("bob@example.com", "Bob")
    await harness.call("POST", "/people", {"email": "ana@example.com", "name": "Ana"})
    assert (await harness.call("POST", "/sessions", {"token": tokens[0]})).status_code == 201
    for token in tokens:
        assert (await harness.call("POST", "/sessions", {"token": token})).status_code == 410
    assert await harness.links() == []  # the waiting request is superseded
    assert (await harness.call("POST", "/sessions", {"token": other})).status_code == 201


async def test_fifty_concurrent_uses_open_one_session(harness: Harness) -> None:
    token = await harness.link("ana@example.com", "Ana")
    answers = await asyncio.gather(*(harness.call("POST", "/sessions", {"token": token}) for _ in range(50)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] + [410] * 49
    assert await harness.value("select count(*) from sessions") == 1
    assert await harness.events() == ["confirmed"]


async def test_concurrent_uses_of_different_links_open_one_session(harness: Harness) -> None:
    tokens = [await harness.link("ana@example.com", f"Name {number}") for number in range(LIVE_LINKS_PER_ADDRESS)]
    answers = await asyncio.gather(*(harness.call("POST", "/sessions", {"token": token}) for token in tokens * 3))
    assert sorted(answer.status_code for answer in answers) == [201] + [410] * (len(tokens) * 3 - 1)
    assert await harness.value("select count(*) from people") == 1


async def test_live_links_per_address_are_limited(harness: Harness) -> None:
    for _ in range(LIVE_LINKS_PER_ADDRESS + 3):
        answer = await harness.call("POST", "/people", {"email": "ana@example.com", "name": "Ana"})
        assert answer.json()["status"] == "check_your_mail"
    tokens = await harness.links()
    assert len(tokens) == LIVE_LINKS_PER_ADDRESS
    assert await harness.value("select count(*) from sign_in_requests where outcome = 'enough_mails'") == 3
    assert (await harness.call("POST", "/sessions", {"token": tokens[0]})).status_code == 201
    assert await harness.link("ana@example.com")  # after a link is used, the next may be drawn


async def test_concurrent_draws_keep_the_limit(harness: Harness) -> None:
    for _ in range(12):
        await harness.call("POST", "/people", {"email": "ana@example.com", "name": "Ana"})
    requests = await harness.claim()
    drawn = await asyncio.gather(*(sign_in.draw_link(harness.db, request) for request in requests))
    assert sum(link is not None for link in drawn) == LIVE_LINKS_PER_ADDRESS


async def strangers_ask(harness: Harness, addresses: list[str]) -> int:
    """Register each address without using its link; return how many got a mail."""
    for email in addresses:
        answer = await harness.call("POST", "/people", {"email": email, "name": "Eve"})
        assert (answer.status_code, answer.json()["status"]) == (202, "check_your_mail")
    return len(await harness.links())


async def pass_minutes(harness: Harness, minutes: int) -> None:
    """Make everything older, and prune as the service does."""
    earlier = f"- interval '{minutes} minutes'"
    await harness.change(f"update sign_in_links set expires_at = expires_at {earlier}")
    await harness.change(f"update sign_in_requests set created_at = created_at {earlier}")
    async with harness.db.transaction() as tx:
        await sign_in.prune(tx)


SUB_ADDRESSES = [
    *("ana@example.com", "Ana+1@example.com", "ana+2@EXAMPLE.com", "ana+a+b@example.com", "ana+@example.com"),
    *("ANA+ana@example.com", "ana+3@example.com", "ana+x.y@example.com"),
]


async def test_an_unconfirmed_mailbox_gets_five_mails_an_hour_whatever_its_sub_address(harness: Harness) -> None:
    assert await strangers_ask(harness, SUB_ADDRESSES) == UNCONFIRMED_MAILS == 5
    for _ in range(5):
        await pass_minutes(harness, 11)
        assert await strangers_ask(harness, ["ana@example.com", "ana+new@example.com"]) == 0
    assert await strangers_ask(harness, ["ben@example.com", "+ana@example.com", "ana@other.example"]) == 3
    await pass_minutes(harness, 6)
    assert await strangers_ask(harness, SUB_ADDRESSES) == UNCONFIRMED_MAILS


async def test_mails_that_were_late_count_as_long_as_others(harness: Harness) -> None:
    for email in SUB_ADDRESSES[:5]:
        await harness.call("POST", "/people", {"email": email, "name": "Eve"})
    await harness.change("update sign_in_requests set created_at = now() - interval '9 minutes'")
    assert len(await harness.links()) == 5
    await pass_minutes(harness, 55)
    assert await strangers_ask(harness, ["ana@example.com"]) == 0
    await pass_minutes(harness, 6)
    assert await strangers_ask(harness, ["ana@example.com"]) == 1


async def test_a_confirmed_person_signs_in_while_strangers_use_up_the_mails_of_the_mailbox(harness: Harness) -> None:
    await harness.enter("ana@example.com")
    assert await strangers_ask(harness, [f"ana+{number}@example.com" for number in range(8)]) == UNCONFIRMED_MAILS
    assert (await harness.enter("ana@example.com", None))["person"]["name"] == "Ana"
    for _ in range(UNCONFIRMED_MAILS):
        await harness.enter("Ana@example.com", None)
    await pass_minutes(harness, 120)
    for _ in range(UNCONFIRMED_MAILS):  # nor do her own mails count as those to strangers
        await harness.enter("ana@example.com", None)
    assert await harness.link("ana+mine@example.com", "Ana")


async def test_concurrent_draws_for_sub_addresses_keep_the_limit(harness: Harness) -> None:
    for number in range(12):
        await harness.call("POST", "/people", {"email": f"ana+{number}@example.com", "name": "Ana"})
    requests = await harness.claim()
    drawn = await asyncio.gather(*(sign_in.draw_link(harness.db, request) for request in requests))
    assert sum(link is not None for link in drawn) == UNCONFIRMED_MAILS


async def test_a_mail_that_was_not_delivered_does_not_count(harness: Harness) -> None:
    for number in range(8):
        await harness.call("POST", "/people", {"email": f"ana+{number}@example.com", "name": "Ana"})
        (request,) = await harness.claim()
        drawn = await sign_in.draw_link(harness.db, request)
        assert drawn is not None
        await sign_in.finish_request(harness.db, request, "refused", unsent=drawn)


async def test_rows_of_the_version_before_are_taken(harness: Harness) -> None:
    await harness.change(
        "insert into sign_in_requests (id, address, lookup, name) values "
        "(gen_random_uuid(), 'ana@example.com', 'ana@example.com', 'Ana')"
    )
    (token,) = await harness.links()
    assert (await harness.call("POST", "/sessions", {"token": token})).status_code == 201


async def test_listed_addresses_become_admins_when_they_confirm(harness: Harness) -> None:
    first = await harness.enter(ADMIN.upper(), "Root")
    assert first["person"]["roles"] == ["reader", "admin"]
    await harness.change("update people set roles = '{reader,author}'")
    assert (await harness.enter(ADMIN, None))["person"]["roles"] == ["reader", "author", "admin"]
    assert await harness.events() == ["confirmed", "roles-changed"]


async def test_no_secret_is_stored(harness: Harness) -> None:
    token = await harness.link("ana@example.com", "Ana")
    session = (await harness.call("POST", "/sessions", {"token": token})).json()
    cookie = (await harness.enter("ana@example.com", None, cookie=True))["session_id"]
    async with harness.db.reader() as reader:
        tables = [
            row["tablename"]
            for row in await reader.fetch("select tablename from pg_tables where schemaname = 'public'")
        ]
        dump = "".join(
            [row["line"] for table in tables for row in await reader.fetch(f'select t::text as line from "{table}" t')]
        )
    assert "ana@example.com" in dump
    for secret in (token, session["refresh_token"], session["access_token"], cookie):
        assert secret not in dump
        assert secret.encode().hex() not in dump


BAD_INPUT: list[tuple[str, dict[str, Any], str]] = [
    ("/people", {"name": "Ana", "email": "no address"}, "email"),
    ("/people", {"name": "", "email": "ana@example.com"}, "name"),
    ("/people", {"name": "x" * 101, "email": "ana@example.com"}, "name"),
    ("/people", {"name": "Ana"}, "email"),
    ("/people", {"name": "Ana", "email": "ana@example.com", "roles": ["admin"]}, "roles"),
    ("/people", {"name": "A\0na", "email": "ana@example.com"}, "name"),
    ("/people", {"name": 7, "email": "ana@example.com"}, "name"),
    ("/people", {"name": "Ana", "email": "x" * 255}, "email"),
    ("/people", {"name": "Ana", "email": "ana@example.com\r\nBcc: eve@example.com"}, "email"),
    ("/sign-in", {"email": "ana@example.com, eve@example.com"}, "email"),
    ("/sign-in", {"email": None}, "email"),
    ("/sessions", {"token": ""}, "token"),
    ("/sessions", {"token": "x", "cookie": "yes"}, "cookie"),
    ("/sessions/refresh", {"refresh_token": "x" * 513}, "refresh_token"),
]


async def test_invalid_input_names_its_field(harness: Harness) -> None:
    for path, body, field in BAD_INPUT:
        answer = await harness.call("POST", path, body)
        assert answer.status_code == 422, (path, body, answer.text)
        assert [error["field"] for error in answer.json()["errors"]] == [field], (path, body)
    assert await harness.value("select count(*) from sign_in_requests") == 0


async def test_a_lone_surrogate_is_refused(harness: Harness) -> None:
    answer = await harness.client.request(
        "POST",
        "/people",
        content=b'{"name": "\\ud800", "email": "ana@example.com"}',
        headers={
            "Content-Type": "application/json",
            "Authorization": (await harness.call("GET", "/changes")).request.headers["authorization"],
        },
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "name")
