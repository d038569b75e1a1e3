"""Sessions: rotation, theft, lost answers, cookies, the end of a session and the `changes` that report it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from services.people.commands import sessions
from services.people.store import hand_overs
from services.people.store import sessions as store
from tests.integration.people_harness import Harness, opened

ANA = "ana@example.com"


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]], keys: dict[str, str]) -> AsyncIterator[Harness]:
    async with opened(new_database, keys) as harness:
        yield harness


async def refresh(harness: Harness, token: str, key: str | None = None) -> httpx2.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await harness.call("POST", "/sessions/refresh", {"refresh_token": token}, headers=headers)


def refused(answer: httpx2.Response) -> bool:
    return answer.status_code == 401 and answer.json()["type"] == "/problems/invalid-refresh-token"


async def test_a_refresh_token_gives_the_next_pair(harness: Harness) -> None:
    session = await harness.enter(ANA)
    answer = await refresh(harness, session["refresh_token"])
    assert answer.status_code == 200
    assert set(answer.json()) == set(session)
    assert answer.json()["person"] == session["person"]
    assert answer.json()["refresh_token"] != session["refresh_token"]
    assert (await refresh(harness, answer.json()["refresh_token"])).status_code == 200


async def test_a_refreshed_token_carries_the_present_roles(harness: Harness) -> None:
    session = await harness.enter(ANA)
    await harness.call("POST", "/grants", {"email": ANA, "role": "author"}, issuer="operator")
    answer = (await refresh(harness, session["refresh_token"])).json()
    assert answer["person"]["roles"] == ["reader", "author"]


async def test_a_used_refresh_token_ends_its_session(harness: Harness) -> None:
    session = await harness.enter(ANA)
    other = await harness.enter(ANA, None)
    successor = (await refresh(harness, session["refresh_token"], "one")).json()["refresh_token"]
    assert refused(await refresh(harness, session["refresh_token"], "another"))
    assert refused(await refresh(harness, successor))
    assert (await refresh(harness, other["refresh_token"])).status_code == 200
    assert len((await harness.call("GET", "/changes")).json()["sessions"]) == 1


async def test_a_used_refresh_token_without_any_key_ends_its_session(harness: Harness) -> None:
    token = (await harness.enter(ANA))["refresh_token"]
    successor = (await refresh(harness, token)).json()["refresh_token"]
    assert refused(await refresh(harness, token))
    assert refused(await refresh(harness, successor))


async def test_a_lost_answer_is_replaced_under_the_same_key(harness: Harness) -> None:
    token = (await harness.enter(ANA))["refresh_token"]
    lost = (await refresh(harness, token, "key 1")).json()["refresh_token"]
    second = await refresh(harness, token, "key 1")
    assert second.status_code == 200
    third = await refresh(harness, token, "key 1")
    assert third.status_code == 200
    assert refused(await refresh(harness, lost))
    assert refused(await refresh(harness, second.json()["refresh_token"]))
    assert (await refresh(harness, third.json()["refresh_token"])).status_code == 200


async def test_a_lost_answer_is_replaced_within_a_minute_only(harness: Harness) -> None:
    token = (await harness.enter(ANA))["refresh_token"]
    successor = (await refresh(harness, token, "key")).json()["refresh_token"]
    await harness.change(
        "update refresh_tokens set used_at = used_at - interval '61 seconds' where used_at is not null"
    )
    assert refused(await refresh(harness, token, "key"))
    assert refused(await refresh(harness, successor))


async def test_a_repetition_after_its_answer_was_used_is_theft(harness: Harness) -> None:
    token = (await harness.enter(ANA))["refresh_token"]
    successor = (await refresh(harness, token, "key")).json()["refresh_token"]
    third = (await refresh(harness, successor)).json()["refresh_token"]
    assert refused(await refresh(harness, token, "key"))
    assert refused(await refresh(harness, third))


async def test_concurrent_repetitions_leave_one_valid_token(harness: Harness) -> None:
    token = (await harness.enter(ANA))["refresh_token"]
    answers = await asyncio.gather(*(refresh(harness, token, "key") for _ in range(12)))
    assert {answer.status_code for answer in answers} == {200}
    tokens = [answer.json()["refresh_token"] for answer in answers]
    good = await harness.value("select count(*) from refresh_tokens where used_at is null and not voided")
    assert (good, len(set(tokens))) == (1, 12)


async def test_concurrent_uses_without_a_key_end_the_session(harness: Harness) -> None:
    token = (await harness.enter(ANA))["refresh_token"]
    answers = await asyncio.gather(*(refresh(harness, token) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 11
    assert await harness.value("select count(*) from sessions where ended_at is null") == 0


async def test_unknown_and_expired_refresh_tokens_are_refused(harness: Harness) -> None:
    token = (await harness.enter(ANA))["refresh_token"]
    assert refused(await refresh(harness, "unknown"))
    await harness.change("update refresh_tokens set expires_at = now()")
    assert refused(await refresh(harness, token))
    assert await harness.value("select count(*) from sessions where ended_at is not null") == 0


async def test_a_family_ends_after_ninety_days_however_often_it_is_refreshed(harness: Harness) -> None:
    token = (await harness.enter(ANA))["refresh_token"]
    for days, left in ((0, 30), (25, 30), (50, 30), (75, 15), (89, 1)):
        await harness.change("update sessions set created_at = now() - $1 * interval '1 day'", days)
        answer = await refresh(harness, token)
        assert answer.status_code == 200, days
        token = answer.json()["refresh_token"]
        for table in ("sessions", "refresh_tokens where used_at is null"):
            life = await harness.value(f"select extract(epoch from expires_at - now()) / 86400 from {table}")
            assert abs(float(life) - left) < 0.01, (days, table)
    await harness.change("update sessions set created_at = now() - interval '90 days'")
    assert refused(await refresh(harness, token))


async def test_a_family_that_an_older_version_prolonged_ends_too(harness: Harness) -> None:
    token = (await harness.enter(ANA))["refresh_token"]
    await harness.change("update sessions set created_at = now() - interval '91 days'")
    assert refused(await refresh(harness, token))
    assert refused(await refresh(harness, token, "key"))


async def test_a_malformed_key_is_named(harness: Harness) -> None:
    token = (await harness.enter(ANA))["refresh_token"]
    for key in ("", "x" * 256, "caf\u00e9"):
        headers = {"Idempotency-Key": key.encode("latin-1")}
        answer = await harness.call("POST", "/sessions/refresh", {"refresh_token": token}, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed-idempotency-key"), key
    assert (await refresh(harness, token)).status_code == 200


async def test_an_ended_session_cannot_be_refreshed_and_is_reported(harness: Harness) -> None:
    session = await harness.enter(ANA)
    person = session["person"]["id"]
    sid = str(await harness.value("select id from sessions"))
    for _ in range(2):
        answer = await harness.call("DELETE", "/sessions/current", {"session_id": sid}, person=person)
        assert (answer.status_code, answer.content) == (204, b"")
    assert refused(await refresh(harness, session["refresh_token"]))
    assert (await harness.call("GET", "/changes")).json()["sessions"] == [sid]


async def test_a_person_cannot_end_another_persons_session(harness: Harness) -> None:
    session = await harness.enter(ANA)
    bob = (await harness.enter("bob@example.com", "Bob"))["person"]["id"]
    sid = str(await harness.value("select id from sessions where person_id = $1", session["person"]["id"]))
    assert (await harness.call("DELETE", "/sessions/current", {"session_id": sid}, person=bob)).status_code == 204
    assert (await harness.call("DELETE", "/sessions/current", {"session_id": sid})).status_code == 401
    assert (await refresh(harness, session["refresh_token"])).status_code == 200


async def test_a_cookie_is_an_opaque_session_id(harness: Harness) -> None:
    session = await harness.enter(ANA, cookie=True)
    assert set(session) == {"session_id", "person", "ended"}
    assert session["ended"] is None
    checked = await harness.call("POST", "/sessions/check", {"session_id": session["session_id"]})
    sid = str(await harness.value("select id from sessions"))
    assert checked.json() == {
        "sid": sid,
        "person": {"id": session["person"]["id"], "name": "Ana", "avatar_url": None, "roles": ["reader"]},
    }
    for wrong in ("x", sid):
        assert (await harness.call("POST", "/sessions/check", {"session_id": wrong})).status_code == 404
    assert refused(await refresh(harness, session["session_id"]))
    body = {"session_id": session["session_id"]}
    assert (await harness.call("DELETE", "/sessions/current", body, person=session["person"]["id"])).status_code == 204
    assert (await harness.call("POST", "/sessions/check", body)).status_code == 404


async def test_a_cookie_expires(harness: Harness) -> None:
    session = await harness.enter(ANA, cookie=True)
    await harness.change("update sessions set expires_at = now()")
    answer = await harness.call("POST", "/sessions/check", {"session_id": session["session_id"]})
    assert answer.status_code == 404


async def test_changes_report_changed_roles(harness: Harness) -> None:
    session = await harness.enter(ANA)
    first = (await harness.call("GET", "/changes")).json()
    assert (first["sessions"], first["people"]) == ([], [])
    await harness.call("POST", "/grants", {"email": ANA, "role": "moderator"}, issuer="operator")
    changed = [{"id": session["person"]["id"], "roles": ["reader", "moderator"]}]
    since = [f"?since={first['as_of']}", "?since=0001-01-01T00:00:00Z", ""]
    for query in since:
        assert (await harness.call("GET", f"/changes{query}")).json()["people"] == changed
    wrong = await harness.call("GET", "/changes?since=yesterday")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "since")


async def test_late_commits_are_in_the_next_changes(harness: Harness) -> None:
    await harness.enter(ANA)
    sid = await harness.value("select id from sessions")
    async with harness.db.transaction() as tx:
        await store.end(tx, sid)
        first = (await harness.call("GET", "/changes")).json()
        assert first["sessions"] == []
    second = (await harness.call("GET", f"/changes?since={first['as_of']}")).json()
    assert second["sessions"] == [str(sid)]
    future = (await harness.call("GET", "/changes?since=2999-01-01T00:00:00Z")).json()
    assert future["sessions"] == []


async def test_expired_rows_are_pruned_and_valid_ones_stay(harness: Harness) -> None:
    old = await harness.enter(ANA)
    new = await harness.enter(ANA, None)
    successor = (await refresh(harness, new["refresh_token"])).json()["refresh_token"]
    await harness.change(
        "update sessions set ended_at = now() - interval '2 days' "
        "where id = (select id from sessions order by id limit 1)"
    )
    await harness.change(
        "insert into refresh_tokens (token_sha256, session_id, expires_at) "
        "select 'old', id, now() - interval '1 second' from sessions where ended_at is null"
    )
    async with harness.db.transaction() as tx:
        assert await sessions.prune(tx) == 2
    assert refused(await refresh(harness, old["refresh_token"]))
    assert (await refresh(harness, successor)).status_code == 200


async def test_an_unknown_session_is_not_found(harness: Harness) -> None:
    assert (await harness.call("POST", "/sessions/check", {"session_id": str(uuid4())})).status_code == 404


async def test_an_operator_ends_sessions(harness: Harness) -> None:
    first, second = await harness.enter(ANA), await harness.enter(ANA, None)
    other = await harness.enter("bob@example.com")
    person = first["person"]["id"]

    async def end(**body: Any) -> tuple[int, Any]:
        answer = await harness.call("POST", "/sessions/end", body, issuer="operator")
        return answer.status_code, answer.json().get("sessions", answer.json().get("type"))

    both = await end(person=ANA, dry_run=True)
    assert (both[0], len(both[1])) == (200, 2)
    assert await end(person=ANA, session_id=str(uuid4())) == (200, [])
    assert await end(person=person, session_id=both[1][0]) == (200, both[1][:1])
    assert await end(person="ANA@example.com") == (200, both[1][1:])
    assert await end(person=ANA) == (200, [])
    assert refused(await refresh(harness, first["refresh_token"]))
    assert refused(await refresh(harness, second["refresh_token"]))
    assert (await refresh(harness, other["refresh_token"])).status_code == 200
    assert set((await harness.call("GET", "/changes")).json()["sessions"]) == set(both[1])
    for unknown in ("nobody@example.com", str(uuid4())):
        assert await end(person=unknown) == (404, "/problems/not-found")


async def sessions_of(harness: Harness, person: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await harness.call("GET", "/me/sessions", person=person)).json()["items"]
    return items


async def test_the_hour_of_the_last_use_is_written_once(harness: Harness) -> None:
    by_cookie = await harness.enter(ANA, cookie=True)
    by_token = await harness.enter(ANA, None)
    person = by_cookie["person"]["id"]
    written = "select id, xmin::text, last_used_at from sessions order by id"
    async with harness.db.transaction() as tx:
        await tx.execute("update sessions set last_used_at = date_trunc('hour', now()) - interval '3 hours'")
        before = await tx.fetch(written)
    checked = {"session_id": by_cookie["session_id"]}
    seen = [before]
    for _ in range(2):
        assert (await harness.call("POST", "/sessions/check", checked)).status_code == 200
        async with harness.db.reader() as reader:
            seen.append(await reader.fetch(written))
    assert seen[1][0]["last_used_at"] > before[0]["last_used_at"]
    assert seen[2] == seen[1], "written at most once an hour"
    assert seen[1][1] == before[1], "another session stays as it is"
    await refresh(harness, by_token["refresh_token"])
    newest, oldest = await sessions_of(harness, person)
    assert newest["last_used_at"] == oldest["last_used_at"]


async def test_a_session_that_is_locked_is_read_without_waiting(harness: Harness) -> None:
    session = await harness.enter(ANA, cookie=True)
    async with harness.db.transaction() as tx:
        await tx.execute("update sessions set last_used_at = null")
    async with harness.db.transaction() as tx:
        await tx.execute("select from sessions for update")
        answer = await harness.call("POST", "/sessions/check", {"session_id": session["session_id"]})
        assert answer.status_code == 200


async def test_what_clients_called_themselves_is_kept_until_erasure(harness: Harness) -> None:
    token = await harness.link(ANA, "Ana")
    named = {"Rapport-User-Agent": "Browser/1 " + "x" * 400}
    begun = await harness.call("POST", "/sessions", {"token": token}, headers=named)
    person = begun.json()["person"]["id"]
    (session,) = await sessions_of(harness, person)
    assert session["user_agent"] == named["Rapport-User-Agent"][:300]
    await harness.call("DELETE", f"/me/sessions/{session['id']}", person=person)
    assert await sessions_of(harness, person) == []
    await harness.call("DELETE", "/me", person=person)
    async with harness.db.reader() as reader:
        assert await reader.fetchval("select count(*) from sessions where user_agent is not null") == 0
        assert await reader.fetchval("select about from people") is None


async def test_ending_all_others_ends_what_is_handed_over_too(harness: Harness) -> None:
    here = await harness.enter(ANA)
    there = await harness.enter(ANA, None, cookie=True)
    person = here["person"]["id"]
    stays = (await sessions_of(harness, person))[1]["id"]
    async with harness.db.transaction() as tx:
        await hand_overs.insert(tx, b"code", UUID(person), "challenge")
    answer = await harness.call("DELETE", "/me/sessions", {"but": stays}, person=person)
    assert len(answer.json()["ended"]) == 1
    assert [one["id"] for one in await sessions_of(harness, person)] == [stays]
    assert (await harness.call("POST", "/sessions/check", {"session_id": there["session_id"]})).status_code == 404
    assert (await refresh(harness, here["refresh_token"])).status_code == 200
    async with harness.db.transaction() as tx:
        assert await hand_overs.person_of(tx, b"code") is None
