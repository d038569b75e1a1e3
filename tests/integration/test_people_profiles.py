"""Profiles, names, contacts, roles, imports, erasure, and the allowed callers."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from services.chassis.ids import new_id
from services.contracts.event import rfc3339
from services.people.store import people
from tests.integration.people_harness import ADMIN, Harness, opened

ANA = "ana@example.com"


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]], keys: dict[str, str]) -> AsyncIterator[Harness]:
    async with opened(new_database, keys) as harness:
        yield harness


async def ana(harness: Harness) -> str:
    person_id: str = (await harness.enter(ANA))["person"]["id"]
    return person_id


async def test_a_profile_never_shows_an_address(harness: Harness) -> None:
    person = await ana(harness)
    answer = await harness.call("GET", f"/people/{person}")
    assert answer.status_code == 200
    assert list(answer.json()) == ["id", "name", "avatar_url", "about", "created_at", "erased"]
    looked_up = await harness.call("POST", "/people/lookup", {"ids": [person, person, str(uuid4())]}, issuer="notify")
    assert looked_up.json() == {"items": [{"id": person, "name": "Ana", "avatar_url": None}]}
    assert "example.com" not in answer.text + looked_up.text


async def test_an_unknown_person_is_not_found(harness: Harness) -> None:
    for person in (str(uuid4()), "ana", "7"):
        answer = await harness.call("GET", f"/people/{person}")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found"), person


async def test_me_is_the_caller(harness: Harness) -> None:
    session = await harness.enter(ANA)
    person = session["person"]["id"]
    assert (await harness.call("GET", "/me", person=person)).json() == session["person"]
    anonymous = await harness.call("GET", "/me")
    assert (anonymous.status_code, anonymous.json()["type"]) == (401, "/problems/sign-in-required")
    gone = await harness.call("GET", "/me", person=str(new_id()))
    assert (gone.status_code, gone.json()["type"]) == (401, "/problems/invalid-token")


async def test_a_rename_is_published_once(harness: Harness) -> None:
    person = await ana(harness)
    for _ in range(2):
        answer = await harness.call("PATCH", "/me", {"name": " Ana\u202e Maria "}, person=person)
        assert (answer.status_code, answer.json()["name"]) == (200, "Ana Maria")
    assert await harness.events() == ["confirmed", "renamed"]
    assert await harness.value("select version from people") == 2
    payloads = await harness.value("select string_agg(convert_from(payload, 'UTF8'), '') from outbox")
    assert "Ana" not in payloads
    assert "example" not in payloads


async def test_a_rename_is_replayed_under_its_key(harness: Harness) -> None:
    person = await ana(harness)
    key = {"Idempotency-Key": "k"}
    first = await harness.call("PATCH", "/me", {"name": "Bea"}, person=person, headers=key)
    assert "idempotency-replayed" not in first.headers
    await harness.call("PATCH", "/me", {"name": "Cea"}, person=person)
    again = await harness.call("PATCH", "/me", {"name": "Bea"}, person=person, headers=key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert again.json()["name"] == "Cea"  # names are the present ones
    other = await harness.call("PATCH", "/me", {"name": "Dea"}, person=person, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert await harness.value("select name from people") == "Cea"


async def test_contacts_are_for_notify_only(harness: Harness) -> None:
    person = await ana(harness)
    imported = (await harness.call("POST", "/import/people", {"site": "s", "name": "Old"}, issuer="operator")).json()[
        "id"
    ]
    body = {"ids": [person, imported, str(uuid4())]}
    answer = await harness.call("POST", "/contacts/lookup", body, issuer="notify")
    items = {item["id"]: item for item in answer.json()["items"]}
    assert items == {
        person: {
            "id": person,
            "name": "Ana",
            "email": ANA,
            "confirmed": True,
            "address_version": 1,
            "moderates": False,
        },
        imported: {
            "id": imported,
            "name": "Old",
            "email": None,
            "confirmed": False,
            "address_version": 0,
            "moderates": False,
        },
    }
    for issuer, status in (("gateway", 403), ("operator", 403), ("people", 403), (None, 401)):
        refused = await harness.call("POST", "/contacts/lookup", body, issuer=issuer)
        assert (refused.status_code, refused.headers["content-type"]) == (status, "application/problem+json")
        assert ANA not in refused.text


ALLOWED = {
    ("POST", "/people"): {"gateway", "operator"},
    ("POST", "/sign-in"): {"gateway"},
    ("POST", "/sign-in/lookup"): {"gateway"},
    ("POST", "/sessions"): {"gateway"},
    ("POST", "/sessions/by-code"): {"gateway"},
    ("POST", "/sessions/fetch"): {"gateway"},
    ("POST", "/sessions/refresh"): {"gateway"},
    ("DELETE", "/sessions/current"): {"gateway"},
    ("POST", "/sessions/check"): {"gateway"},
    ("GET", "/me/sessions"): {"gateway"},
    ("DELETE", "/me/sessions"): {"gateway"},
    ("DELETE", "/me/sessions/{session_id}"): {"gateway"},
    ("GET", "/me"): {"gateway"},
    ("PATCH", "/me"): {"gateway"},
    ("DELETE", "/me"): {"gateway"},
    ("PUT", "/me/avatar"): {"gateway"},
    ("DELETE", "/me/avatar"): {"gateway"},
    ("GET", "/avatars/{person_id}"): {"gateway"},
    ("GET", "/avatars/{person_id}/digest"): {"gateway"},
    ("GET", "/people/{person_id}"): {"gateway"},
    ("POST", "/people/lookup"): {"gateway", "notify"},
    ("POST", "/contacts/lookup"): {"notify"},
    ("GET", "/moderators"): {"notify"},
    ("GET", "/changes"): {"gateway"},
    ("POST", "/people/list"): {"operator"},
    ("POST", "/people/show"): {"operator"},
    ("POST", "/grants"): {"operator"},
    ("POST", "/grants/revoke"): {"operator"},
    ("POST", "/sessions/end"): {"operator"},
    ("POST", "/import/people"): {"operator"},
    ("POST", "/republish"): {"operator"},
    ("POST", "/stated/rows"): {"operator"},
    ("POST", "/stated"): {"operator"},
    ("POST", "/stated/gone"): {"operator"},
    ("POST", "/epoch"): {"operator"},
}


async def test_every_route_is_in_the_list_of_allowed_callers(harness: Harness) -> None:
    routes = {
        (method, str(context.path))
        for context in iter_route_contexts(harness.app.routes)
        if isinstance(context.original_route, APIRoute)
        for method in context.original_route.methods or ()
    }
    assert routes == set(ALLOWED)


async def test_each_route_refuses_other_callers(harness: Harness) -> None:
    for (method, path), allowed in ALLOWED.items():
        for issuer in ("gateway", "notify", "operator", "people", None):
            answer = await harness.call(method, path.format(person_id=uuid4(), session_id=uuid4()), issuer=issuer)
            refusal = 401 if issuer is None else 403
            if issuer in allowed:
                assert answer.status_code not in (403, 405), (method, path, issuer)
            else:
                assert answer.status_code == refusal, (method, path, issuer)


async def test_a_session_token_is_not_an_internal_token(harness: Harness) -> None:
    token = (await harness.enter(ANA))["access_token"]
    answer = await harness.client.get("/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_notify_learns_who_moderates_now(harness: Harness) -> None:
    async def moderators() -> list[str]:
        found: list[str] = (await harness.call("GET", "/moderators", issuer="notify")).json()["ids"]
        return found

    person = await ana(harness)
    for role, moderates in (("author", False), ("moderator", True), ("reader", False), ("admin", True)):
        await harness.call("POST", "/grants", {"email": ANA, "role": role}, issuer="operator")
        assert await moderators() == [person] * moderates, role
        (contact,) = (await harness.call("POST", "/contacts/lookup", {"ids": [person]}, issuer="notify")).json()[
            "items"
        ]
        assert contact["moderates"] is moderates
    await harness.call("DELETE", "/me", person=person)
    assert await moderators() == []
    async with harness.db.transaction() as tx:
        await tx.execute("set local enable_seqscan = off")
        plan = str(await tx.fetch("explain " + people.SELECT_MODERATORS.replace("$1", "10")))
    assert "people_moderators" in plan


async def test_a_role_is_granted_once(harness: Harness) -> None:
    person = await ana(harness)
    for _ in range(2):
        answer = await harness.call(
            "POST", "/grants", {"email": "ANA@Example.com", "role": "moderator"}, issuer="operator"
        )
        assert (answer.status_code, answer.json()["id"]) == (200, person)
        assert answer.json()["roles"] == ["reader", "moderator"]
    assert await harness.events() == ["confirmed", "roles-changed"]
    unknown = await harness.call("POST", "/grants", {"email": "bob@example.com", "role": "author"}, issuer="operator")
    assert unknown.status_code == 404
    wrong = await harness.call("POST", "/grants", {"email": ANA, "role": "king"}, issuer="operator")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "role")


async def change_roles(harness: Harness, path: str, role: str, email: str = ANA) -> tuple[int, Any]:
    answer = await harness.call("POST", path, {"email": email, "role": role}, issuer="operator")
    return answer.status_code, answer.json().get("roles") or answer.json()["type"]


async def test_roles_are_revoked(harness: Harness) -> None:
    await ana(harness)
    for role in ("author", "moderator"):
        await change_roles(harness, "/grants", role)
    for _ in range(2):
        assert await change_roles(harness, "/grants/revoke", "author") == (200, ["reader", "moderator"])
    for _ in range(2):
        assert await change_roles(harness, "/grants", "reader") == (200, ["reader"])
    assert await harness.events() == ["confirmed"] + ["roles-changed"] * 4
    assert (await harness.call("GET", "/changes")).json()["people"][0]["roles"] == ["reader"]
    assert await change_roles(harness, "/grants/revoke", "reader") == (422, "/problems/invalid")
    assert await change_roles(harness, "/grants/revoke", "author", "bob@example.com") == (404, "/problems/not-found")


async def test_an_admin_by_settings_stays_one(harness: Harness) -> None:
    await harness.enter(ADMIN)
    assert await change_roles(harness, "/grants/revoke", "admin", ADMIN) == (409, "/problems/wrong-state")
    assert await change_roles(harness, "/grants", "reader", ADMIN) == (409, "/problems/wrong-state")
    await change_roles(harness, "/grants", "author", ADMIN)
    assert await change_roles(harness, "/grants/revoke", "author", ADMIN) == (200, ["reader", "admin"])


async def test_concurrent_grants_all_count(harness: Harness) -> None:
    await ana(harness)
    roles = ("author", "moderator", "admin")
    await asyncio.gather(
        *(harness.call("POST", "/grants", {"email": ANA, "role": role}, issuer="operator") for role in roles * 2)
    )
    assert await harness.value("select roles from people") == ["reader", *roles]
    assert await harness.value("select version from people") == 4
    assert await harness.events() == ["confirmed"] + ["roles-changed"] * 3


async def imported(harness: Harness, **fields: Any) -> tuple[int, dict[str, Any]]:
    answer = await harness.call("POST", "/import/people", {"site": "blog", "name": "Ana"} | fields, issuer="operator")
    return answer.status_code, answer.json()


async def test_a_repeated_import_finds_its_people_and_never_by_address_alone(harness: Harness) -> None:
    status, first = await imported(harness, source_user_id="7", email=ANA)
    assert (status, first["created"]) == (201, True)
    assert await imported(harness, source_user_id="7", email="new@example.com", name="Renamed") == (
        200,
        {"id": first["id"], "created": False},
    )
    named = [(await imported(harness, email=ANA, name=name))[1]["id"] for name in ("Ana", "Bob", "Cy", "Ana")]
    assert len({first["id"], *named}) == 4
    assert named[0] == named[3]
    assert (await imported(harness, site="elsewhere", source_user_id="7"))[0] == 201
    assert await harness.events() == ["imported"] * 5
    assert await harness.value("select bool_and(imported) and bool_and(roles = '{}') from people")
    facts = await harness.value("select convert_from(payload, 'UTF8')::jsonb from outbox limit 1")
    assert facts["imported"] is True


async def test_concurrent_imports_create_one_person(harness: Harness) -> None:
    answers = await asyncio.gather(*(imported(harness, email=ANA) for _ in range(20)))
    assert sorted(status for status, _ in answers) == [200] * 19 + [201]
    assert len({body["id"] for _, body in answers}) == 1
    assert await harness.value("select count(*) from people") == 1
    assert await harness.events() == ["imported"]


async def test_an_imported_address_cannot_sign_in(harness: Harness) -> None:
    _, old = await imported(harness, email=ANA, created_at="2011-01-02T03:04:05.000Z")
    await harness.call("POST", "/sign-in", {"email": ANA})
    assert await harness.links() == []
    grant = await harness.call("POST", "/grants", {"email": ANA, "role": "admin"}, issuer="operator")
    assert grant.status_code == 404
    new = await harness.enter(ANA, "New Ana")
    assert new["person"]["id"] != old["id"]
    profile = (await harness.call("GET", f"/people/{old['id']}")).json()
    assert (profile["name"], profile["created_at"]) == ("Ana", "2011-01-02T03:04:05.000Z")


async def test_an_import_accepts_any_text(harness: Harness) -> None:
    for fields, name in (
        ({"name": ""}, "Anonymous"),
        ({"name": "x" * 5_000}, "x" * 100),
        ({"email": "not an address" * 400}, "Ana"),
        ({"site": "s" * 512, "source_user_id": "\U0001f600" * 512}, "Ana"),
    ):
        status, body = await imported(harness, **fields)
        assert status == 201
        assert (await harness.call("GET", f"/people/{body['id']}")).json()["name"] == name
        assert (await imported(harness, **fields))[1] == {"id": body["id"], "created": False}


async def test_an_import_refuses_an_impossible_time(harness: Harness) -> None:
    status, body = await imported(harness, created_at="0001-01-01T00:00:00+14:00")
    assert (status, body["errors"][0]["field"]) == (422, "created_at")


async def test_erasure_deletes_all_personal_data(harness: Harness) -> None:
    session = await harness.enter(ANA)
    cookie = await harness.enter(ANA, None, cookie=True)
    person = session["person"]["id"]
    await harness.call("PATCH", "/me", {"name": "Ana Maria"}, person=person, headers={"Idempotency-Key": "k"})
    link = await harness.link(ANA)
    await harness.call("POST", "/sign-in", {"email": ANA})
    assert (await harness.call("DELETE", "/me", person=person)).status_code == 202
    assert (await harness.events())[-1] == "erased"
    assert (await harness.call("DELETE", "/me", person=person)).status_code == 401
    assert (await harness.call("GET", "/me", person=person)).status_code == 401
    assert (await harness.call("PATCH", "/me", {"name": "Back"}, person=person)).status_code == 401
    assert (await harness.call("GET", f"/people/{person}")).json()["name"] == "deleted"
    for path, body, status in [
        ("/sessions/refresh", {"refresh_token": session["refresh_token"]}, 401),
        ("/sessions/check", {"session_id": cookie["session_id"]}, 404),
        ("/sessions", {"token": link}, 410),
    ]:
        assert (await harness.call("POST", path, body)).status_code == status
    assert await harness.links() == []
    (contact,) = (await harness.call("POST", "/contacts/lookup", {"ids": [person]}, issuer="notify")).json()["items"]
    assert (contact["email"], contact["confirmed"]) == (None, False)
    changes = (await harness.call("GET", "/changes")).json()
    assert len(changes["sessions"]) == 2
    assert changes["people"] == [{"id": person, "roles": []}]
    async with harness.db.reader() as reader:
        tables = await reader.fetch("select tablename from pg_tables where schemaname = 'public'")
        lines = [row["line"] for t in tables for row in await reader.fetch(f'select t::text as line from "{t[0]}" t')]
    assert not [line for line in lines if "ana@" in line.lower() or "Maria" in line]
    again = await harness.enter(ANA, "Somebody else")
    assert again["person"]["id"] != person


async def test_concurrent_erasure_and_sign_in_have_one_of_two_results(harness: Harness) -> None:
    for number in range(5):
        email = f"ana{number}@example.com"
        person = (await harness.enter(email))["person"]["id"]
        link = await harness.link(email)
        erased, entered = await asyncio.gather(
            harness.call("DELETE", "/me", person=person), harness.call("POST", "/sessions", {"token": link})
        )
        assert (erased.status_code, entered.status_code) in {(202, 201), (202, 410)}
    assert await harness.value("select count(*) from sessions where ended_at is null") == 0
    assert await harness.value("select count(*) from addresses") == 0


async def test_events_of_one_person_have_increasing_versions(harness: Harness) -> None:
    person = await ana(harness)
    names = itertools.cycle(["Bea", "Cea", "Dea"])
    await asyncio.gather(*(harness.call("PATCH", "/me", {"name": next(names)}, person=person) for _ in range(12)))
    async with harness.db.reader() as reader:
        rows = await reader.fetch(
            "select (convert_from(payload, 'UTF8')::jsonb->>'version')::int as version from outbox order by id"
        )
    versions = [row["version"] for row in rows]
    assert versions == list(range(1, len(versions) + 1))


async def test_republish_marks_the_events_sent_since(harness: Harness) -> None:
    await ana(harness)
    await harness.change("update outbox set published_at = now() - interval '1 minute'")
    answer = await harness.call("POST", "/republish", {"since": rfc3339(datetime.now(UTC))}, issuer="operator")
    assert (answer.status_code, answer.json()["count"]) == (200, 0)
    answer = await harness.call("POST", "/republish", {"since": "2020-01-01T00:00:00Z"}, issuer="operator")
    assert (answer.status_code, answer.json()["count"]) == (200, 1)
    for since in (
        "2999-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-11-23T00:00:00",
        "soon",
    ):
        answer = await harness.call("POST", "/republish", {"since": since}, issuer="operator")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "since"


async def test_a_look_up_is_bounded(harness: Harness) -> None:
    for path, issuer in (("/people/lookup", "gateway"), ("/contacts/lookup", "notify")):
        ids = [str(uuid4()) for _ in range(201)]
        answer = await harness.call("POST", path, {"ids": ids}, issuer=issuer)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "ids")
        assert (await harness.call("POST", path, {"ids": ids[:200]}, issuer=issuer)).json() == {"items": []}
        assert (await harness.call("POST", path, {"ids": []}, issuer=issuer)).json() == {"items": []}
