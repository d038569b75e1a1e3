"""Revocations of access tokens."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from services.chassis.errors import Problem, unavailable
from services.chassis.runtime.waiting import Periodic
from services.gateway.access.revocations import Revocations
from tests.waiting import eventually

NOON = 1_795_000_000.0
SESSION, PERSON = uuid4(), uuid4()


class People:
    def __init__(self) -> None:
        self.now = NOON
        self.set_back = 0.0
        self.sessions: list[UUID] = []
        self.roles: dict[UUID, list[str]] = {}
        self.away = False

    async def fetch(self) -> dict[str, Any]:
        if self.away:
            raise unavailable("away")
        return {
            "sessions": [str(one) for one in self.sessions],
            "people": [{"id": str(one), "roles": roles} for one, roles in self.roles.items()],
            "as_of": datetime.fromtimestamp(self.now, UTC).isoformat(),
        }

    def revocations(self) -> Revocations:
        return Revocations(self.fetch, clock=lambda: self.now - self.set_back, elapsed=lambda: self.now)


async def test_a_session_has_ended_once_people_says_so() -> None:
    people = People()
    revocations = people.revocations()
    await revocations.refresh()
    assert not revocations.has_ended(SESSION)
    people.sessions.append(SESSION)
    assert not revocations.has_ended(SESSION)
    await revocations.refresh()
    assert revocations.has_ended(SESSION)
    assert not revocations.has_ended(None)


async def test_a_session_ended_here_is_refused_at_once_and_longer_than_any_token_lives() -> None:
    people = People()
    revocations = people.revocations()
    revocations.end(SESSION)
    assert revocations.has_ended(SESSION)
    people.now += 899
    await revocations.refresh()
    assert revocations.has_ended(SESSION)
    people.now += 2
    await revocations.refresh()
    assert not revocations.has_ended(SESSION)


async def test_an_erased_person_is_refused_whatever_the_session() -> None:
    people = People()
    revocations = people.revocations()
    revocations.end(PERSON)
    assert revocations.has_ended(SESSION, PERSON)
    assert not revocations.has_ended(SESSION, uuid4())
    people.now += 899
    await revocations.refresh()
    assert revocations.has_ended(None, PERSON)


async def test_new_roles_apply_only_to_tokens_issued_before_them() -> None:
    people = People()
    revocations = people.revocations()
    people.roles[PERSON] = ["reader"]
    await revocations.refresh()
    author = frozenset({"author"})
    assert revocations.has_new_roles(PERSON)
    assert revocations.roles(PERSON, author, NOON - 60) == frozenset({"reader"})
    assert revocations.roles(PERSON, author, NOON + 1) == author
    assert revocations.roles(uuid4(), author, NOON - 60) == author


async def test_without_people_for_a_minute_only_young_tokens_are_trusted() -> None:
    people = People()
    revocations = people.revocations()
    assert not await revocations.heard_once()
    await revocations.refresh()
    assert await revocations.heard_once()
    people.away = True
    people.now += 60
    assert revocations.trusts(NOON)
    people.now += 1
    with pytest.raises(Problem):
        await revocations.refresh()
    assert not revocations.current
    assert not revocations.trusts(NOON)
    assert revocations.trusts(people.now - 5)
    people.away = False
    await revocations.refresh()
    assert revocations.trusts(NOON)


async def test_a_clock_that_is_set_back_makes_nothing_trusted_for_longer() -> None:
    people = People()
    revocations = people.revocations()
    await revocations.refresh()
    people.now, people.set_back = NOON + 61, 3600
    assert not revocations.current


async def test_people_is_asked_periodically_whatever_it_answers() -> None:
    people = People()
    asked = 0

    async def fetch() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise unavailable("away")
        if asked == 3:
            return {"nonsense": True}
        return await people.fetch()

    revocations = Revocations(fetch)
    stop = asyncio.Event()
    with capture_logs() as logged:
        running = asyncio.ensure_future(Periodic("revocations", 0.001, revocations.refresh).run(stop))
        await eventually(lambda: asked >= 5)
        stop.set()
        await running
    assert await revocations.heard_once()
    assert [one["log_level"] for one in logged] == ["warning", "error"]
