"""The cache of authors' names."""

import asyncio
import time
from typing import Any

from services.chassis.client.client import within
from services.chassis.errors import unavailable
from services.gateway.composition.author_cache import AuthorCache
from tests.waiting import eventually


class People:
    def __init__(self) -> None:
        self.names = {"a": "Anna", "b": "Ben"}
        self.asked: list[list[str]] = []
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.now = 0.0

    async def look_up(self, ids: list[str], deadline: float) -> list[dict[str, Any]]:
        self.asked.append(ids)
        found = [{"id": one, "name": self.names[one], "avatar_url": None} for one in ids if one in self.names]
        await self.answers.wait()
        if self.away:
            raise unavailable("away")
        return found

    def author_cache(self) -> AuthorCache:
        return AuthorCache(self.look_up, clock=lambda: self.now)


async def test_an_author_is_looked_up_once_in_thirty_seconds() -> None:
    people = People()
    authors = people.author_cache()
    assert (await authors.of(["a"], within(60)))[0]["a"]["name"] == "Anna"
    people.names["a"] = "Anne"
    people.now = 29.9
    assert (await authors.of(["a"], within(60)))[0]["a"]["name"] == "Anna"
    people.now = 30.0
    assert (await authors.of(["a"], within(60)))[0]["a"]["name"] == "Anne"
    assert people.asked == [["a"], ["a"]]


async def test_a_forgotten_author_is_looked_up_again() -> None:
    people = People()
    authors = people.author_cache()
    await authors.of(["a"], within(60))
    people.names["a"] = "Anne"
    authors.forget("a")
    assert (await authors.of(["a"], within(60)))[0]["a"]["name"] == "Anne"


async def test_a_lookup_begun_before_a_change_is_not_remembered() -> None:
    people = People()
    authors = people.author_cache()
    people.answers.clear()
    asking = asyncio.ensure_future(authors.of(["a"], within(60)))
    await eventually(lambda: people.asked)
    people.names["a"] = "Anne"
    authors.forget("a")
    people.answers.set()
    await asking
    assert (await authors.of(["a"], within(60)))[0]["a"]["name"] == "Anne"


async def test_without_people_only_remembered_authors_are_returned() -> None:
    people = People()
    authors = people.author_cache()
    await authors.of(["a"], within(60))
    people.away = True
    found, complete, _ = await authors.of(["a", "b"], within(60))
    assert set(found) == {"a"}
    assert not complete


async def test_unknown_authors_are_not_remembered_and_many_are_looked_up_in_chunks() -> None:
    people = People()
    authors = people.author_cache()
    ids = [f"p{number}" for number in range(401)]
    assert await authors.of(ids, within(60)) == ({}, True, 0.0)
    assert sorted(len(one) for one in people.asked) == [1, 200, 200]
    await authors.of(["p1"], within(60))
    assert people.asked[-1] == ["p1"]


async def test_those_who_ask_in_the_same_moment_share_a_lookup() -> None:
    people = People()
    authors = people.author_cache()
    found = await asyncio.gather(*(authors.of([one], within(60)) for one in "abca"))
    assert [[*one] for one, _, _ in found] == [["a"], ["b"], [], ["a"]]
    assert people.asked == [["a", "b", "c"]]


async def test_who_has_less_time_does_not_wait_for_the_lookup_that_is_shared() -> None:
    people = People()
    authors = people.author_cache()
    people.answers.clear()
    asking = asyncio.ensure_future(authors.of(["a"], within(60)))
    assert (await authors.of(["a", "b"], time.monotonic()))[:2] == ({}, False)
    people.answers.set()
    assert set((await asking)[0]) == {"a"}
