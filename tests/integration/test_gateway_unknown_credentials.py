"""Requests with credentials not known to be good are counted before people is asked, and a refusal is remembered."""

from uuid import uuid4

import pytest

from services.chassis.errors import not_found
from services.gateway.access.counters import Policy
from tests.integration.gateway_harness import ANNA, ID, SLUG, GatewayHarness, NewHarness, author, kind

CHECK = ("POST", "/sessions/check")
READING = Policy("reading", 20, 3600, strict=False)
POSTING = Policy("posting", 20, 3600)


@pytest.fixture
async def harness(new_harness: NewHarness, monkeypatch: pytest.MonkeyPatch) -> GatewayHarness:
    """A gateway with small quotas over a people service that knows one session, `good`."""
    monkeypatch.setattr("services.gateway.guards.READING", READING)
    monkeypatch.setattr("services.gateway.guards.POSTING", POSTING)
    harness = await new_harness(rate_limits="on")
    session = {"sid": str(uuid4()), "person": author(ANNA) | {"roles": ["author"]}}
    harness.services.people.on(
        *CHECK, lambda call: session if call.body["session_id"].startswith("good") else not_found()
    )
    return harness


def cookie(value: str) -> dict[str, str]:
    return {"Cookie": f"rapport={value}", "Origin": "http://rapport.test"}


async def test_random_cookies_ask_people_at_most_as_often_as_the_quota(harness: GatewayHarness) -> None:
    statuses = [(await harness.get(f"/v1/posts/{SLUG}", **cookie(uuid4().hex))).status_code for _ in range(1_000)]
    assert statuses == [200] * READING.quota + [429] * (1_000 - READING.quota)
    assert harness.services.people.count(*CHECK) == READING.quota


async def test_writes_with_random_cookies_ask_people_at_most_as_often_as_the_quota(
    harness: GatewayHarness,
) -> None:
    path = f"/v1/posts/{ID}/comments"
    answers = [await harness.http.post(path, json={"body": "x"}, headers=cookie(uuid4().hex)) for _ in range(100)]
    assert [answer.status_code for answer in answers] == [401] * POSTING.quota + [429] * (100 - POSTING.quota)
    assert answers[0].headers["RateLimit"].startswith(f'"posting";r={POSTING.quota - 1};t=')
    assert harness.services.people.count(*CHECK) == POSTING.quota


async def test_people_is_asked_once_about_a_refused_cookie(harness: GatewayHarness) -> None:
    for _ in range(5):
        assert (await harness.get(f"/v1/posts/{SLUG}", **cookie("dead"))).status_code == 200
        assert kind(await harness.get("/v1/me", **cookie("dead"))) == "sign-in-required"
    assert harness.services.people.count(*CHECK) == 1


async def test_refused_tokens_are_counted_on_routes_with_optional_sign_in(harness: GatewayHarness) -> None:
    answers = [await harness.get("/v1/posts", Authorization=f"Bearer a.b.{number}") for number in range(30)]
    assert [answer.status_code for answer in answers] == [401] * READING.quota + [429] * (30 - READING.quota)


async def test_a_refused_token_counts_only_for_its_network(harness: GatewayHarness) -> None:
    for _ in range(READING.quota + 1):
        await harness.get("/v1/posts", Authorization="Bearer x")
    assert (await harness.get("/v1/posts")).status_code == 429
    assert (await harness.get("/v1/posts", **harness.anna)).status_code == 200


async def test_known_credentials_are_counted_once_and_for_the_person(harness: GatewayHarness) -> None:
    """A cookie that people have not confirmed yet counts for its network as well, once."""
    for _ in range(READING.quota):
        assert (await harness.get(f"/v1/posts/{SLUG}", **cookie("good"))).status_code == 200
    assert (await harness.get(f"/v1/posts/{SLUG}", **cookie("good"))).status_code == 429
    assert (await harness.get(f"/v1/posts/{SLUG}", **harness.anna)).status_code == 429, "the token is the same person's"
    anonymous = [
        (await harness.get(f"/v1/posts?status=published&limit={number}")).status_code for number in range(READING.quota)
    ]
    assert anonymous == [200] * (READING.quota - 1) + [429]


async def test_checking_a_confirmed_session_again_does_not_count_its_network(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a network with many people who write comments by form would use up its quota."""
    monkeypatch.setattr("services.gateway.access.authentication.COOKIE_SECONDS", 0.0)
    for _ in range(5):
        assert (await harness.get(f"/v1/posts/{SLUG}", **cookie("good"))).status_code == 200
    assert harness.services.people.count(*CHECK) == 5
    anonymous = [
        (await harness.get(f"/v1/posts?status=published&limit={number}")).status_code for number in range(READING.quota)
    ]
    assert anonymous == [200] * (READING.quota - 1) + [429]


async def test_unchecked_credentials_are_counted_once(harness: GatewayHarness) -> None:
    harness.services.people.away = True
    statuses = [
        (await harness.get(f"/v1/posts/{SLUG}", **cookie("good"))).status_code for _ in range(READING.quota + 1)
    ]
    assert statuses == [200] * READING.quota + [429]
