"""The cache of authors' names."""

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

    def author_cache(self) -> AuthorCache:
        return AuthorCache(self.look_up, clock=lambda: self.now)


async def test_an_author_is_looked_up_once_in_thirty_seconds() -> None:
    people = People()
    authors = people.author_cache()
    assert (await authors.of(["a"], 0))[0]["a"]["name"] == "Anna"
    people.names["a"] = "Anne"
    people.now = 29.9
    assert (await authors.of(["a"], 0))[0]["a"]["name"] == "Anna"
    people.now = 30.0
    assert (await authors.of(["a"], 0))[0]["a"]["name"] == "Anne"
    assert people.asked == [["a"], ["a"]]


async def test_a_forgotten_author_is_looked_up_again() -> None:
    people = People()
    authors = people.author_cache()
    await authors.of(["a"], 0)
    people.names["a"] = "Anne"
    authors.forget("a")
    assert (await authors.of(["a"], 0))[0]["a"]["name"] == "Anne"


async def test_a_lookup_begun_before_a_change_is_not_remembered() -> None:
    people = People()
    authors = people.author_cache()
    asking = asyncio.ensure_future(authors.of(["a"], 0))
    await asyncio.sleep(0)
    people.names["a"] = "Anne"
    authors.forget("a")
    await asking
    assert (await authors.of(["a"], 0))[0]["a"]["name"] == "Anne"


async def test_without_people_only_remembered_authors_are_returned() -> None:
    people = People()
    authors = people.author_cache()
    await authors.of(["a"], 0)
    people.away = True
    found, complete, _ = await authors.of(["a", "b"], 0)
    assert set(found) == {"a"}
    assert not complete


async def test_unknown_authors_are_not_remembered_and_many_are_looked_up_in_chunks() -> None:
    people = People()
    authors = people.author_cache()
    ids = [f"p{number}" for number in range(401)]
    assert await authors.of(ids, 0) == ({}, True, 0.0)
    assert sorted(len(one) for one in people.asked) == [1, 200, 200]
    await authors.of(["p1"], 0)
    assert people.asked[-1] == ["p1"]
