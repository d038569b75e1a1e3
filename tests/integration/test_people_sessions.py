"""Sessions: rotation, theft, lost answers, cookies, the end of a session and how others hear of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from services.people.commands import sessions
from services.people.store import sessions as store
from tests.integration.people_harness import House, opened

ANA = "ana@example.com"


@pytest.fixture
async def house(new_database: Callable[..., Awaitable[Any]], keys: dict[str, str]) -> AsyncIterator[House]:
    async with opened(new_database, keys) as house:
        yield house


async def refresh(house: House, token: str, key: str | None = None) -> httpx2.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await house.call("POST", "/sessions/refresh", {"refresh_token": token}, headers=headers)


def refused(answer: httpx2.Response) -> bool:
    return answer.status_code == 401 and answer.json()["type"] == "/problems/invalid-refresh-token"


async def test_a_refresh_token_gives_the_next_pair(house: House) -> None:
    session = await house.enter(ANA)
    answer = await refresh(house, session["refresh_token"])
    assert answer.status_code == 200
    assert set(answer.json()) == set(session)
    assert answer.json()["person"] == session["person"]
    assert answer.json()["refresh_token"] != session["refresh_token"]
    assert (await refresh(house, answer.json()["refresh_token"])).status_code == 200


async def test_a_refreshed_token_carries_the_roles_of_now(house: House) -> None:
    session = await house.enter(ANA)
    await house.call("POST", "/grants", {"email": ANA, "role": "author"}, issuer="operator")
    answer = (await refresh(house, session["refresh_token"])).json()
    assert answer["person"]["roles"] == ["reader", "author"]


async def test_a_used_refresh_token_ends_its_family(house: House) -> None:
    session = await house.enter(ANA)
    other = await house.enter(ANA, None)
    successor = (await refresh(house, session["refresh_token"], "one")).json()["refresh_token"]
    assert refused(await refresh(house, session["refresh_token"], "another"))
    assert refused(await refresh(house, successor))
    assert (await refresh(house, other["refresh_token"])).status_code == 200
    assert len((await house.call("GET", "/changes")).json()["sessions"]) == 1


async def test_a_used_refresh_token_without_any_key_ends_its_family(house: House) -> None:
    token = (await house.enter(ANA))["refresh_token"]
    successor = (await refresh(house, token)).json()["refresh_token"]
    assert refused(await refresh(house, token))
    assert refused(await refresh(house, successor))


async def test_a_lost_answer_is_replaced_under_the_same_key(house: House) -> None:
    token = (await house.enter(ANA))["refresh_token"]
    lost = (await refresh(house, token, "key 1")).json()["refresh_token"]
    second = await refresh(house, token, "key 1")
    assert second.status_code == 200
    third = await refresh(house, token, "key 1")
    assert third.status_code == 200
    assert refused(await refresh(house, lost))
    assert refused(await refresh(house, second.json()["refresh_token"]))
    assert (await refresh(house, third.json()["refresh_token"])).status_code == 200


async def test_a_lost_answer_is_replaced_for_a_minute_only(house: House) -> None:
    token = (await house.enter(ANA))["refresh_token"]
    successor = (await refresh(house, token, "key")).json()["refresh_token"]
    await house.change("update refresh_tokens set used_at = used_at - interval '61 seconds' where used_at is not null")
    assert refused(await refresh(house, token, "key"))
    assert refused(await refresh(house, successor))


async def test_a_repetition_after_its_answer_was_used_is_theft(house: House) -> None:
    token = (await house.enter(ANA))["refresh_token"]
    successor = (await refresh(house, token, "key")).json()["refresh_token"]
    third = (await refresh(house, successor)).json()["refresh_token"]
    assert refused(await refresh(house, token, "key"))
    assert refused(await refresh(house, third))


async def test_parallel_repetitions_leave_one_good_token(house: House) -> None:
    token = (await house.enter(ANA))["refresh_token"]
    answers = await asyncio.gather(*(refresh(house, token, "key") for _ in range(12)))
    assert {answer.status_code for answer in answers} == {200}
    tokens = [answer.json()["refresh_token"] for answer in answers]
    good = await house.value("select count(*) from refresh_tokens where used_at is null and not voided")
    assert (good, len(set(tokens))) == (1, 12)


async def test_parallel_uses_without_a_key_end_the_family(house: House) -> None:
    token = (await house.enter(ANA))["refresh_token"]
    answers = await asyncio.gather(*(refresh(house, token) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 11
    assert await house.value("select count(*) from sessions where ended_at is null") == 0


async def test_unknown_and_expired_refresh_tokens_are_refused(house: House) -> None:
    token = (await house.enter(ANA))["refresh_token"]
    assert refused(await refresh(house, "unknown"))
    await house.change("update refresh_tokens set expires_at = now()")
    assert refused(await refresh(house, token))
    assert await house.value("select count(*) from sessions where ended_at is not null") == 0


async def test_a_malformed_key_is_named(house: House) -> None:
    token = (await house.enter(ANA))["refresh_token"]
    for key in ("", "x" * 256, "caf\u00e9"):
        headers = {"Idempotency-Key": key.encode("latin-1")}
        answer = await house.call("POST", "/sessions/refresh", {"refresh_token": token}, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed-idempotency-key"), key
    assert (await refresh(house, token)).status_code == 200


async def test_an_ended_session_cannot_be_refreshed_and_others_hear_of_it(house: House) -> None:
    session = await house.enter(ANA)
    person = session["person"]["id"]
    sid = str(await house.value("select id from sessions"))
    for _ in range(2):
        answer = await house.call("DELETE", "/sessions/current", {"session_id": sid}, person=person)
        assert (answer.status_code, answer.content) == (204, b"")
    assert refused(await refresh(house, session["refresh_token"]))
    assert (await house.call("GET", "/changes")).json()["sessions"] == [sid]


async def test_nobody_ends_somebody_elses_session(house: House) -> None:
    session = await house.enter(ANA)
    bob = (await house.enter("bob@example.com", "Bob"))["person"]["id"]
    sid = str(await house.value("select id from sessions where person_id = $1", session["person"]["id"]))
    assert (await house.call("DELETE", "/sessions/current", {"session_id": sid}, person=bob)).status_code == 204
    assert (await house.call("DELETE", "/sessions/current", {"session_id": sid})).status_code == 401
    assert (await refresh(house, session["refresh_token"])).status_code == 200


async def test_a_cookie_is_an_opaque_id_that_people_knows(house: House) -> None:
    session = await house.enter(ANA, cookie=True)
    assert set(session) == {"session_id", "person"}
    checked = await house.call("POST", "/sessions/check", {"session_id": session["session_id"]})
    sid = str(await house.value("select id from sessions"))
    assert checked.json() == {
        "sid": sid,
        "person": {"id": session["person"]["id"], "name": "Ana", "avatar_url": None, "roles": ["reader"]},
    }
    for wrong in ("x", sid):
        assert (await house.call("POST", "/sessions/check", {"session_id": wrong})).status_code == 404
    assert refused(await refresh(house, session["session_id"]))
    body = {"session_id": session["session_id"]}
    assert (await house.call("DELETE", "/sessions/current", body, person=session["person"]["id"])).status_code == 204
    assert (await house.call("POST", "/sessions/check", body)).status_code == 404


async def test_a_cookie_expires(house: House) -> None:
    session = await house.enter(ANA, cookie=True)
    await house.change("update sessions set expires_at = now()")
    answer = await house.call("POST", "/sessions/check", {"session_id": session["session_id"]})
    assert answer.status_code == 404


async def test_changes_tell_who_has_other_roles_now(house: House) -> None:
    session = await house.enter(ANA)
    first = (await house.call("GET", "/changes")).json()
    assert (first["sessions"], first["people"]) == ([], [])
    await house.call("POST", "/grants", {"email": ANA, "role": "moderator"}, issuer="operator")
    changed = [{"id": session["person"]["id"], "roles": ["reader", "moderator"]}]
    since = [f"?since={first['as_of']}", "?since=0001-01-01T00:00:00Z", ""]
    for query in since:
        assert (await house.call("GET", f"/changes{query}")).json()["people"] == changed
    wrong = await house.call("GET", "/changes?since=yesterday")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "since")


async def test_changes_that_commit_late_are_in_the_next_answer(house: House) -> None:
    await house.enter(ANA)
    sid = await house.value("select id from sessions")
    async with house.database.transaction() as tx:
        await store.end(tx, sid)
        first = (await house.call("GET", "/changes")).json()
        assert first["sessions"] == []
    second = (await house.call("GET", f"/changes?since={first['as_of']}")).json()
    assert second["sessions"] == [str(sid)]
    future = (await house.call("GET", "/changes?since=2999-01-01T00:00:00Z")).json()
    assert future["sessions"] == []


async def test_what_is_over_is_pruned_and_what_is_good_stays(house: House) -> None:
    old = await house.enter(ANA)
    new = await house.enter(ANA, None)
    successor = (await refresh(house, new["refresh_token"])).json()["refresh_token"]
    await house.change(
        "update sessions set ended_at = now() - interval '2 days' "
        "where id = (select id from sessions order by id limit 1)"
    )
    await house.change(
        "insert into refresh_tokens (token_sha256, session_id, expires_at) "
        "select 'old', id, now() - interval '1 second' from sessions where ended_at is null"
    )
    async with house.database.transaction() as tx:
        assert await sessions.prune(tx) == 2
    assert refused(await refresh(house, old["refresh_token"]))
    assert (await refresh(house, successor)).status_code == 200


async def test_a_session_of_nobody_is_unknown(house: House) -> None:
    assert (await house.call("POST", "/sessions/check", {"session_id": str(uuid4())})).status_code == 404
