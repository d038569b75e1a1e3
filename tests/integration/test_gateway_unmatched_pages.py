"""Addresses that no route answers: pages for people, problem details for programs, and what leads on."""

import httpx2
import pytest

from tests.integration.gateway_harness import SLUG, GatewayHarness, NewHarness

PAGE = "text/html; charset=utf-8"


async def ask(harness: GatewayHarness, path: str, method: str = "GET", host: str = "rapport.test") -> httpx2.Response:
    return await harness.http.request(method, f"http://rapport.test{path}", headers={"Host": host})


@pytest.mark.parametrize(
    "path",
    ["/posts", "/posts/", "/feeds", "/nothing/at/all", "/posts/x/y/z", "/%00", "/posts//comments", "/v2/posts", "/v1x"],
)
async def test_unknown_addresses_have_a_page(harness: GatewayHarness, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "DELETE"):
        answer = await ask(harness, path, method)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, PAGE)
        assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "<h1>There is nothing here</h1>" in (await ask(harness, path)).text
    assert "Sign in" not in (await ask(harness, path)).text  # it is not known who asks


@pytest.mark.parametrize(
    ("path", "page"),
    [(f"/posts/{SLUG}/comments", f"/posts/{SLUG}"), ("/posts/%C3%BCber/comments", "/posts/%C3%BCber"),
     (f"/posts/{SLUG}/comments?comments=a%26b&replies=x", f"/posts/{SLUG}?comments=a%26b&replies=x"),
     ("/sign-out", "/"), ("/sign-out?x=1", "/"), ("/register", "/sign-in"), ("/sign-in/code", "/sign-in")],
)  # fmt: skip
async def test_the_target_of_a_form_leads_to_the_page_with_the_form(
    harness: GatewayHarness, path: str, page: str
) -> None:
    for method in ("GET", "HEAD"):
        answer = await ask(harness, path, method)
        assert (answer.status_code, answer.headers["Location"]) == (303, page)
        assert answer.headers["Cache-Control"] == "no-store"
    for method in ("PUT", "DELETE"):
        answer = await ask(harness, path, method)
        assert (answer.status_code, answer.headers["Content-Type"]) == (405, PAGE)
        assert "POST" in answer.headers["Allow"]


async def test_a_method_that_a_page_does_not_take_has_a_page(harness: GatewayHarness) -> None:
    for method, path in (("POST", "/"), ("DELETE", f"/posts/{SLUG}"), ("PUT", "/sign-in"), ("OPTIONS", "/problems")):
        answer = await ask(harness, path, method)
        assert (answer.status_code, answer.headers["Content-Type"]) == (405, PAGE)
        assert "HEAD" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1", 404), ("GET", "/v1/", 404), ("GET", "/v1/nothing", 404), ("GET", "/v1/posts/", 404),
     ("GET", f"/v1/posts/{SLUG}/", 404), ("DELETE", "/v1/posts", 405), ("GET", "/v1/%00", 404)],
)  # fmt: skip
async def test_the_api_answers_with_problem_details(
    harness: GatewayHarness, method: str, path: str, status: int
) -> None:
    answer = await ask(harness, path, method)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status


@pytest.mark.parametrize(
    ("path", "location"),
    [
        (f"/posts/{SLUG}/", f"/posts/{SLUG}"),
        (f"/posts/{SLUG}//", f"/posts/{SLUG}"),
        ("/posts/%C3%BCber%3F/?thread=1&x=%26", "/posts/%C3%BCber%3F?thread=1&x=%26"),
        ("/sign-in/", "/sign-in"),
        ("/problems/stale/", "/problems/stale"),
        ("/docs/?", "/docs"),
    ],
)
async def test_a_slash_at_the_end_is_led_to_the_page(harness: GatewayHarness, path: str, location: str) -> None:
    for method in ("GET", "HEAD"):
        answer = await ask(harness, path, method)
        assert (answer.status_code, answer.headers["Location"]) == (301, location)


@pytest.mark.parametrize(
    "path",
    ["//evil.test/", "//evil.test/posts/x/", f"//posts/{SLUG}/", "/\\evil.test/", "/%2F/evil.test/",
     f"/posts/{SLUG}%2F", f"/posts/{SLUG}/%2F/", "//", "///", "/posts/", f"/posts/{SLUG}/comments/", "/sign-out/"],
)  # fmt: skip
async def test_nothing_else_is_led_anywhere(harness: GatewayHarness, path: str) -> None:
    answer = await ask(harness, path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, PAGE)
    assert "Location" not in answer.headers
    assert 'href="//' not in answer.text


@pytest.mark.parametrize("path", ["/unsubscribe/secret/", f"/posts/{SLUG}/", "/sign-in/secret/"])
async def test_only_reading_is_led(harness: GatewayHarness, path: str) -> None:
    answer = await harness.http.post(path, data={"List-Unsubscribe": "One-Click"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, PAGE)


@pytest.mark.parametrize(
    ("public_url", "host", "origin"),
    [
        ("http://127.0.0.1:8000", "localhost:8000", "http://127.0.0.1:8000"),
        ("http://localhost:8000", "127.0.0.1:8000", "http://localhost:8000"),
        ("http://localhost:8000", "[::1]:8000", "http://localhost:8000"),
        ("http://localhost", "blog.localhost", "http://localhost"),
        ("http://[::1]:8000", "LOCALHOST:8000", "http://[::1]:8000"),
        ("https://localhost", "127.0.0.1:443", "https://localhost"),
    ],
)
async def test_names_of_this_machine_are_led_to_the_public_one(
    new_harness: NewHarness, public_url: str, host: str, origin: str
) -> None:
    harness = await new_harness(public_url=public_url)
    harness.gateway.cache.set_following(True)
    own = origin.partition("://")[2]
    for path in ("/", f"/posts/{SLUG}?thread=%C3%BC", "/sign-in"):
        assert (await ask(harness, path, host=own)).status_code in (200, 503)  # and the cache has it now
        answer = await ask(harness, path, host=host)
        assert (answer.status_code, answer.headers["Location"]) == (307, origin + path)
        assert answer.headers["Cache-Control"] == "no-store"
    assert (await ask(harness, "/v1/posts", host=host)).status_code == 200
    assert (await ask(harness, "/openapi.json", host=host)).status_code == 200
    refused = await harness.http.post(
        "/sign-in", data={"email": "a@example.com"}, headers={"Host": host, "Sec-Fetch-Site": "same-origin"}
    )
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("public_url", "host"),
    [
        ("https://blog.example", "localhost:8000"),  # a proxy that writes Host anew
        ("https://blog.example", "www.blog.example"),
        ("http://localhost:9000", "127.0.0.1:8000"),  # a proxy on this machine
        ("http://127.0.0.1:8000", "192.0.2.7:8000"),
        ("http://127.0.0.1:8000", "localhost.evil.test:8000"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://127.0.0.1:80", "127.0.0.1"),
    ],
)
async def test_no_other_host_is_led_anywhere(new_harness: NewHarness, public_url: str, host: str) -> None:
    harness = await new_harness(public_url=public_url)
    assert (await ask(harness, "/", host=host)).status_code == 200
