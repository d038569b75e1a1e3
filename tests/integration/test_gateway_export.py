"""Everything that is kept of a person leaves whole or not at all."""

import asyncio
from typing import Any

import pytest

from services.chassis.errors import unavailable
from services.gateway.composition import export
from tests.integration.gateway_harness import ANNA, GatewayHarness, NewHarness, kind
from tests.unit.gateway_fakes import Call
from tests.waiting import eventually

EMPTY: dict[str, Any] = {"items": [], "next": None}
ME = {
    "id": ANNA,
    "name": "Anna",
    "email": "anna@example.org",
    "email_confirmed": True,
    "avatar_url": None,
    "about": None,
    "roles": [],
    "created_at": "2026-11-23T04:35:00.000Z",
}
FOLLOW = {"post_id": ANNA, "since": "2026-11-23T04:35:00.000Z"}
OWNERS = ("people", "posts", "comments", "notify")


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    made = await new_harness()
    answer_all(made)
    return made


def answer_all(harness: GatewayHarness) -> None:
    services = harness.services
    for section in export.SECTIONS:
        getattr(services, section.owner).on("GET", section.path, EMPTY)
    services.people.on("GET", "/me", ME)
    services.notify.on("GET", "/me/mail", {"notifications": True, "scope": "all", "moderation": "hourly"})
    services.notify.on("GET", "/me/export/follows", follows)


def follows(call: Call) -> dict[str, Any]:
    """Three pages, of which the last is empty."""
    number = int(str(call.params.get("cursor") or 0))
    return {"items": [FOLLOW] * 2, "next": str(number + 1)} if number < 2 else EMPTY


async def test_the_pages_of_every_owner_are_put_together(harness: GatewayHarness) -> None:
    answer = await harness.get("/v1/me/export", **harness.anna)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    told = answer.json()
    assert [*told] == ["exported_at", *(section.name for section in export.SECTIONS)]
    assert told["me"] == ME
    assert told["follows"] == [FOLLOW] * 4
    assert told["posts"] == told["comments"] == []


@pytest.mark.parametrize("away", OWNERS)
async def test_an_owner_that_is_away_refuses_the_whole(harness: GatewayHarness, away: str) -> None:
    getattr(harness.services, away).away = True
    for _ in range(2 * export.AT_ONCE):
        answer = await harness.get("/v1/me/export", **harness.anna)
        assert (answer.status_code, kind(answer)) == (503, "unavailable")
        assert answer.headers["Retry-After"]
    getattr(harness.services, away).away = False
    assert (await harness.get("/v1/me/export", **harness.anna)).status_code == 200, "each gave its turn back"


async def test_an_owner_that_goes_away_in_the_middle_refuses_the_whole(harness: GatewayHarness) -> None:
    harness.services.notify.on(
        "GET", "/me/export/follows", lambda call: unavailable("Gone.") if call.params.get("cursor") else follows(call)
    )
    answer = await harness.get("/v1/me/export", **harness.anna)
    assert (answer.status_code, kind(answer)) == (503, "unavailable")


async def test_it_is_bounded_and_larger_than_memory_goes_to_a_file(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "IN_MEMORY", 100)
    whole = await harness.get("/v1/me/export", **harness.anna)
    assert whole.json()["follows"] == [FOLLOW] * 4
    monkeypatch.setattr(export, "MOST_BYTES", len(whole.content) - 1)
    assert (await harness.get("/v1/me/export", **harness.anna)).status_code == 503


async def test_a_process_makes_a_few_at_a_time(harness: GatewayHarness) -> None:
    go_on = asyncio.Event()

    async def later() -> dict[str, Any]:
        await go_on.wait()
        return EMPTY

    harness.services.comments.on("GET", "/me/export/comments", lambda _: later())
    ways = harness.gateway.exports
    made = [asyncio.ensure_future(harness.get("/v1/me/export", **harness.anna)) for _ in range(export.AT_ONCE)]
    await eventually(ways.locked)
    assert (await harness.get("/v1/me/export", **harness.anna)).status_code == 503
    go_on.set()
    assert {answer.status_code for answer in await asyncio.gather(*made)} == {200}
    assert not ways.locked()


async def test_it_is_given_three_times_an_hour(new_harness: NewHarness) -> None:
    harness = await new_harness(rate_limits="on")
    answer_all(harness)
    codes = [(await harness.get("/v1/me/export", **harness.anna)).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
