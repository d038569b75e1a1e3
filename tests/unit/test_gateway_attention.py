"""What waits for people is remembered for a moment, and asked for no more often."""

import time
from uuid import uuid4

from services.chassis.errors import unavailable
from services.chassis.identity import Caller
from services.gateway.composition.attention import SECONDS, AttentionCache
from tests.unit.gateway_fakes import FakeServices

ANNA, MODERATOR = Caller("gateway", uuid4()), Caller("gateway", uuid4(), frozenset({"moderator"}))


class Scenario:
    def __init__(self) -> None:
        self.now = 0.0
        self.services = FakeServices()
        self.services.notify.on("GET", "/me/attention", {"unread": 3, "follows": False})
        self.services.comments.on("GET", "/comments/waiting", {"waiting": 5})
        self.cache = AttentionCache(clock=lambda: self.now)

    async def of(self, who: Caller) -> dict[str, int | None]:
        return await self.cache.of(self.services.upstreams, who, time.monotonic() + 5)

    @property
    def asked(self) -> tuple[int, int]:
        return len(self.services.notify.calls), len(self.services.comments.calls)


async def test_only_moderators_see_what_waits_and_all_share_the_number() -> None:
    scenario = Scenario()
    assert await scenario.of(ANNA) == {"unread": 3}
    assert await scenario.of(MODERATOR) == {"unread": 3, "waiting": 5}
    other = Caller("gateway", uuid4(), frozenset({"admin"}))
    assert await scenario.of(other) == {"unread": 3, "waiting": 5}
    assert scenario.asked == (3, 1)


async def test_it_is_asked_for_again_after_a_moment_or_a_change() -> None:
    scenario = Scenario()
    for _ in range(9):
        await scenario.of(MODERATOR)
    assert scenario.asked == (1, 1)
    scenario.cache.forget()
    await scenario.of(MODERATOR)
    assert scenario.asked == (1, 2)
    scenario.cache.forget(str(MODERATOR.person_id))
    await scenario.of(MODERATOR)
    assert scenario.asked == (2, 2)
    scenario.now += SECONDS
    await scenario.of(MODERATOR)
    assert scenario.asked == (3, 3)


async def test_what_is_not_had_is_null_and_not_asked_for_each_time() -> None:
    scenario = Scenario()
    scenario.services.notify.on("GET", "/me/attention", unavailable("It is away."))
    for _ in range(3):
        assert await scenario.of(MODERATOR) == {"unread": None, "waiting": 5}
    assert scenario.asked == (1, 1)


async def test_an_answer_that_was_overtaken_is_not_remembered() -> None:
    scenario = Scenario()

    def changes_meanwhile(_: object) -> dict[str, int]:
        scenario.cache.forget()
        return {"waiting": 5}

    scenario.services.comments.on("GET", "/comments/waiting", changes_meanwhile)
    await scenario.of(MODERATOR)
    await scenario.of(MODERATOR)
    assert scenario.asked[1] == 2


async def test_whether_a_discussion_is_followed_comes_with_the_number() -> None:
    scenario = Scenario()
    scenario.services.notify.on("GET", "/me/attention", {"unread": 3, "follows": True})

    async def of_post(post_id: str) -> dict[str, int | None]:
        return await scenario.cache.of(scenario.services.upstreams, ANNA, time.monotonic() + 5, post_id)

    for _ in range(3):
        assert await of_post("one") == {"unread": 3, "follows": True}
    assert scenario.asked == (1, 0), "one question for both"
    scenario.cache.forget(str(ANNA.person_id), "one")
    await of_post("one")
    assert scenario.asked == (2, 0)
    scenario.services.notify.on("GET", "/me/attention", unavailable("It is away."))
    assert await of_post("other") == {"unread": None, "follows": None}
    assert scenario.asked == (3, 0), "not once more for the number alone"
