"""What operators read and change about people: lists, one person, the last admin, and what ends with sessions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.errors import Problem
from services.chassis.mail.addresses import parse_address
from services.people.commands import operator
from services.people.commands.operator import RolesChange
from services.people.commands.profile import erase_within
from tests.integration.people_harness import Harness, opened

ANA = "ana@example.com"
BOB = "bob@example.com"


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]], keys: dict[str, str]) -> AsyncIterator[Harness]:
    async with opened(new_database, keys) as entered:
        yield entered


async def asked(harness: Harness, path: str, **body: Any) -> Any:
    answer = await harness.call("POST", path, body, issuer="operator")
    return answer.json() if answer.status_code == 200 else (answer.status_code, answer.json()["type"])


async def names(harness: Harness, **query: Any) -> list[str]:
    answer = await asked(harness, "/people/list", **query)
    assert answer["next"] is None
    return [each["name"] for each in answer["items"]]


async def test_an_operator_has_somebody_written_to_and_signs_nobody_in(harness: Harness) -> None:
    body = {"name": "Ana", "email": ANA}
    for issuer, status in (("operator", 202), ("notify", 403), (None, 401)):
        assert (await harness.call("POST", "/people", body, issuer=issuer)).status_code == status
    assert await names(harness) == []  # until the link is used
    assert (await asked(harness, "/grants", email=ANA, role="author"))[0] == 404
    (token,) = await harness.links()
    assert (await harness.call("POST", "/sessions", {"token": token}, issuer="operator")).status_code == 403
    assert (await harness.call("POST", "/sessions", {"token": token})).status_code == 201
    assert (await asked(harness, "/grants", email=ANA, role="author"))["roles"] == ["reader", "author"]


async def test_people_are_found_by_role_part_and_origin(harness: Harness) -> None:
    await harness.enter(ANA, "Ana Müller")
    await harness.enter(BOB, "100%_Bob")
    await asked(harness, "/grants", email=ANA, role="author")
    await harness.call("POST", "/import/people", {"site": "s", "name": "Old", "email": ANA}, issuer="operator")
    gone = await harness.enter("gone@example.com", "Gone")
    async with harness.db.transaction() as tx:
        await erase_within(tx, UUID(gone["person"]["id"]))
    assert await names(harness) == ["Ana Müller", "100%_Bob", "Old"]
    assert await names(harness, role="author") == ["Ana Müller"]
    assert await names(harness, part="MÜLLER") == ["Ana Müller"]
    assert await names(harness, part="Ana@") == ["Ana Müller"]  # not what an import says about an address
    assert await names(harness, part="%_") == ["100%_Bob"]
    assert await names(harness, imported=True) == ["Old"]
    assert await names(harness, imported=False, part="example.com") == ["Ana Müller", "100%_Bob"]
    assert await names(harness, erased=True) == ["deleted"]
    assert await names(harness, part="nobody") == []
    assert await asked(harness, "/people/list", role="king") == (422, "/problems/invalid")


async def test_all_people_are_paged_through(harness: Harness) -> None:
    await harness.change("insert into people (id, name) select gen_random_uuid(), 'P' from generate_series(1, 450)")
    cursor, sizes, seen = None, [], set()
    while True:
        answer = await asked(harness, "/people/list", cursor=cursor)
        sizes.append(len(answer["items"]))
        seen |= {each["id"] for each in answer["items"]}
        cursor = answer["next"]
        if cursor is None:
            break
        other = await asked(harness, "/people/list", cursor=cursor, part="P")
        assert other == (400, "/problems/malformed-cursor")  # a cursor belongs to its filters
    assert (sizes, len(seen)) == ([200, 200, 50], 450)


async def test_one_person_with_sessions_and_no_token(harness: Harness) -> None:
    app = await harness.enter(ANA)
    await harness.enter(ANA, None, cookie=True)
    shown = await asked(harness, "/people/show", person="ANA@example.com")
    assert shown == await asked(harness, "/people/show", person=app["person"]["id"])
    assert (shown["email"], shown["roles"], shown["erased_at"]) == (ANA, ["reader"], None)
    assert shown["confirmed_at"] >= shown["created_at"][:19]
    assert [(each["kind"], each["used_at"] is None) for each in shown["sessions"]] == [
        ("app", False),
        ("browser", True),
    ]
    before = shown["sessions"][0]["used_at"]
    await harness.call("POST", "/sessions/refresh", {"refresh_token": app["refresh_token"]})
    again = await asked(harness, "/people/show", person=ANA)
    assert again["sessions"][0]["used_at"] > before
    for secret in ("token", "cookie", "sha256", app["refresh_token"]):
        assert secret not in str(again)
    for unknown in ("nobody@example.com", str(uuid4())):
        assert await asked(harness, "/people/show", person=unknown) == (404, "/problems/not-found")
    assert await asked(harness, "/people/show", person="no address") == (422, "/problems/invalid")


async def test_a_dry_run_of_roles_changes_nothing(harness: Harness) -> None:
    await harness.enter(ANA)
    would = await asked(harness, "/grants", email=ANA, role="author", dry_run=True)
    assert (would["before"], would["roles"]) == (["reader"], ["reader", "author"])
    assert await harness.value("select roles from people") == ["reader"]
    assert await harness.events() == ["confirmed"]


async def test_the_last_admin_stays_one(harness: Harness) -> None:
    await harness.enter(ANA, "Ana")
    await harness.enter(BOB, "Bob")
    await asked(harness, "/grants", email=ANA, role="admin")
    for path, role in (("/grants/revoke", "admin"), ("/grants", "reader")):
        for dry_run in (True, False):
            answer = await asked(harness, path, email=ANA, role=role, dry_run=dry_run)
            assert answer == (409, "/problems/wrong-state")
    refused = await harness.call("POST", "/grants/revoke", {"email": ANA, "role": "admin"}, issuer="operator")
    assert "last admin; grant admin to somebody else first" in refused.json()["detail"]
    assert (await asked(harness, "/grants/revoke", email=ANA, role="author"))["roles"] == ["reader", "admin"]
    await asked(harness, "/grants", email=BOB, role="admin")
    assert (await asked(harness, "/grants/revoke", email=ANA, role="admin"))["roles"] == ["reader"]


async def test_of_two_admins_revoked_at_once_one_stays(harness: Harness) -> None:
    await harness.enter(ANA, "Ana")
    await harness.enter(BOB, "Bob")
    for _ in range(5):
        for email in (ANA, BOB):
            await asked(harness, "/grants", email=email, role="admin")
        revoked = await asyncio.gather(
            *(operator.revoke_role(harness.db, parse_address(email), "admin", ()) for email in (ANA, BOB)),
            return_exceptions=True,
        )
        assert {type(each) for each in revoked} == {RolesChange, Problem}
        assert await harness.value("select count(*) from people where 'admin' = any(roles)") == 1


async def test_what_could_open_a_session_ends_with_all_sessions(harness: Harness) -> None:
    await harness.enter(ANA, "Ana")
    await harness.enter(BOB, "Bob")
    link, other = await harness.link(ANA), await harness.link(BOB)
    person = await harness.value("select person_id from addresses where lookup = $1", ANA)
    await harness.change(
        "insert into hand_overs (code_sha256, person_id, challenge, expires_at) "
        "values ('\\x01', $1, 'c', now() + interval '1 minute')",
        person,
    )
    would = await asked(harness, "/sessions/end", person=ANA, dry_run=True)
    assert (len(would["sessions"]), would["links"], would["hand_overs"]) == (1, 1, 1)
    single = await asked(harness, "/sessions/end", person=ANA, session_id=str(uuid4()))
    assert (single["links"], single["hand_overs"]) == (0, 0)
    assert await asked(harness, "/sessions/end", person=ANA) == would
    assert await harness.value("select count(*) from hand_overs") == 0
    assert (await harness.call("POST", "/sessions", {"token": link})).status_code != 201
    assert (await harness.call("POST", "/sessions", {"token": other})).status_code == 201
    again = await asked(harness, "/sessions/end", person=ANA)
    assert (again["sessions"], again["links"], again["hand_overs"]) == ([], 0, 0)
