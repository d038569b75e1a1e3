"""What people are called, remembered for half a minute."""

import asyncio
from typing import Any

from services.chassis.errors import unavailable
from services.gateway.composition.author_cache import AuthorCache


class People:
    def __init__(self) -> None:
        self.names = {"a": "Anna", "b": "Ben"}
        self.asked: list[list[str]] = []
        self.away = False
        self.now = 0.0

    async def look_up(self, ids: list[str], deadline: float) -> list[dict[str, Any]]:
        self.asked.append(ids)
        found = [{"id": one, "name": self.names[one], "avatar_url": None} for one in ids if one in self.names]
        await asyncio.sleep(0)
        if self.away:
            raise unavailable("away")
        return found

    def names_known(self) -> AuthorCache:
        return AuthorCache(self.look_up, clock=lambda: self.now)


async def test_names_are_asked_once_in_thirty_seconds() -> None:
    people = People()
    names = people.names_known()
    assert (await names.of(["a"], 0))[0]["a"]["name"] == "Anna"
    people.names["a"] = "Anne"
    people.now = 29.9
    assert (await names.of(["a"], 0))[0]["a"]["name"] == "Anna"
    people.now = 30.0
    assert (await names.of(["a"], 0))[0]["a"]["name"] == "Anne"
    assert people.asked == [["a"], ["a"]]


async def test_a_change_is_seen_at_once() -> None:
    people = People()
    names = people.names_known()
    await names.of(["a"], 0)
    people.names["a"] = "Anne"
    names.forget("a")
    assert (await names.of(["a"], 0))[0]["a"]["name"] == "Anne"


async def test_a_change_during_the_look_up_is_not_overwritten_by_it() -> None:
    people = People()
    names = people.names_known()
    asking = asyncio.ensure_future(names.of(["a"], 0))
    await asyncio.sleep(0)
    people.names["a"] = "Anne"
    names.forget("a")
    await asking
    assert (await names.of(["a"], 0))[0]["a"]["name"] == "Anne"


async def test_without_people_what_is_remembered_is_given_and_the_rest_missing() -> None:
    people = People()
    names = people.names_known()
    await names.of(["a"], 0)
    people.away = True
    found, complete, _ = await names.of(["a", "b"], 0)
    assert set(found) == {"a"}
    assert not complete


async def test_the_unknown_are_asked_again_and_many_in_parts() -> None:
    people = People()
    names = people.names_known()
    ids = [f"p{number}" for number in range(401)]
    assert await names.of(ids, 0) == ({}, True, 0.0)
    assert sorted(len(one) for one in people.asked) == [1, 200, 200]
    await names.of(["p1"], 0)
    assert people.asked[-1] == ["p1"]
