"""Addresses that posts had elsewhere lead to their pages; our own pages come first."""

from typing import Any

import pytest

from services.chassis.errors import not_found
from services.gateway import guards
from services.gateway.access.counters import Policy
from tests.integration.gateway_harness import ID, SLUG, GatewayHarness, NewHarness
from tests.unit.gateway_fakes import Call

SECRET = "q" * 43


def know(harness: GatewayHarness, **slugs: str) -> None:
    """Let posts know these addresses; a double underscore stands for `/`."""
    known = {"/" + address.replace("__", "/"): slug for address, slug in slugs.items()} | {"/?p=12": "by-number"}

    def answer(call: Call) -> Any:
        slug = known.get(call.body["address"])
        return {"id": ID, "slug": slug} if slug else not_found()

    harness.services.posts.on("POST", "/addresses/lookup", answer)


def asked(harness: GatewayHarness) -> int:
    return harness.services.posts.count("POST", "/addresses/lookup")


@pytest.mark.parametrize(
    ("path", "slug"),
    [
        ("/2009/02/07/3/", "three"),
        ("/2009/02/07/3", "three"),
        ("/2009/02/07/3?utm_source=x", "three"),
        ("/index.php/2009/02/07/3/", "three"),
        ("/%32009/02/07/3/", "three"),
        ("/?p=12", "by-number"),
        ("/?page_id=12&preview=true", "by-number"),
        ("/index.php?p=12", "by-number"),
        ("/%D7%A9", "%D7%A9"),
        ("/ABOUT/", "about"),
        ("/posts/elsewhere", "x%2F..%2F%2Fevil.example"),
    ],
)
async def test_an_old_address_redirects(harness: GatewayHarness, path: str, slug: str) -> None:
    know(harness, **{"2009__02__07__3": "three", "ש": "ש", "about": "about", "posts__elsewhere": "x/..//evil.example"})
    harness.services.posts.on("GET", "/posts/elsewhere", not_found())
    for method in ("GET", "HEAD"):
        answer = await harness.http.request(method, path, headers={"X-Request-ID": "mine"})
        assert (answer.status_code, answer.headers["location"]) == (301, f"/posts/{slug}")
        assert (answer.headers["cache-control"], answer.text) == ("no-cache", "")
        assert answer.headers.get_list("x-request-id") == ["mine"]


async def test_our_own_pages_come_first(harness: GatewayHarness) -> None:
    know(
        harness,
        **{"": "x", "sign-in": "x", "docs": "x", f"posts__{SLUG}": "x", f"sign-in__{SECRET}": "x", "v1__x": "x"},
    )
    for path in ("/", "/sign-in", "/docs", "/livez", f"/posts/{SLUG}", "/?cursor=x", f"/sign-in/{SECRET}", "/v1/x"):
        assert (await harness.get(path)).status_code != 301, path
    assert asked(harness) == 0


@pytest.mark.parametrize(
    "path", ["http://rapport.test//evil.example/", "/nowhere", "/%00", "/" + "x" * 3000, "/.env", "/?p=7"]
)
async def test_other_addresses_are_answered_as_before(harness: GatewayHarness, path: str) -> None:
    know(harness)
    answer = await harness.get(path)
    assert answer.status_code == (200 if path == "/?p=7" else 404)
    assert "location" not in answer.headers
    assert len(answer.headers.get_list("x-request-id")) == 1


async def test_only_reading_is_redirected(harness: GatewayHarness) -> None:
    know(harness, about="about")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert (await harness.http.request(method, "/about")).status_code in (404, 405)
    assert asked(harness) == 0


async def test_strangers_answers_are_remembered_and_people_are_asked_for(harness: GatewayHarness) -> None:
    know(harness, about="about")
    for _ in range(3):
        assert (await harness.get("/about")).status_code == 301
        assert (await harness.get("/nowhere")).status_code == 404
    assert asked(harness) == 2
    for _ in range(2):
        assert (await harness.get("/about", **harness.anna)).status_code == 301
    assert asked(harness) == 4
    caller = harness.services.posts.calls[-1].caller
    assert caller is not None and caller.person_id is not None


async def test_while_posts_is_away_nothing_is_called_missing(harness: GatewayHarness) -> None:
    harness.services.posts.away = True
    answer = await harness.get("/2009/02/07/3/")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "retry-after" in answer.headers
    know(harness, **{"2009__02__07__3": "three"})
    harness.services.posts.away = False
    assert (await harness.get("/2009/02/07/3/")).status_code == 301


async def test_asking_is_counted(new_harness: NewHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "READING", Policy("old addresses", 3, 86_400, strict=False))
    harness = await new_harness(rate_limits="on")
    assert [(await harness.get(f"/{number}")).status_code for number in range(4)] == [404, 404, 404, 429]


async def test_what_is_no_address_is_counted_before_it_is_looked_at(
    new_harness: NewHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "READING", Policy("no addresses", 3, 86_400, strict=False))
    path = "/" + "x" * 3000
    harness = await new_harness(rate_limits="on")
    assert [(await harness.get(path)).status_code for _ in range(4)] == [404, 404, 404, 429]


@pytest.mark.parametrize("path", ["/posts/nope", "/nope", "/?p=7"])
async def test_a_request_is_counted_once_and_has_one_deadline(
    new_harness: NewHarness, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(guards, "READING", Policy(f"once {path}", 2, 86_400, strict=False))
    harness = await new_harness(rate_limits="on")
    harness.services.posts.on("GET", "/posts/nope", not_found())
    expected = 200 if path.startswith("/?") else 404
    assert [(await harness.get(path)).status_code for _ in range(3)] == [expected, expected, 429]
    asked = [call for call in harness.services.posts.calls if call.params.get("kind") != "page"]  # of the masthead
    assert len({call.deadline for call in asked}) <= 2
