"""The cache middleware: which requests are served from the cache, and which never."""

import asyncio
from typing import Any

import pytest

from services.gateway.caching.cacheable import SCOPE_KEY
from services.gateway.caching.middleware import CacheMiddleware
from services.gateway.caching.response_cache import ResponseCache


class App:
    """An app that records the requests it gets; it answers once `gate` is set."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.status, self.body, self.tags = 200, b'{"items": []}', frozenset({"post:1"})
        self.offers, self.etag = True, b'"0-x"'
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope)
        body = self.body
        await self.gate.wait()
        offer = scope.get(SCOPE_KEY)
        if offer is not None and self.offers:
            offer.tags = self.tags
            offer.since = 10.0**9
        headers = [(b"etag", self.etag), (b"content-type", b"application/json"), (b"x-request-id", b"from-app")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Answer:
    """One answer of the middleware."""

    def __init__(self, messages: list[Any]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = dict(messages[0]["headers"])
        self.body = b"".join(message["body"] for message in messages[1:])


class Harness:
    """The middleware over the app and a cache."""

    def __init__(self) -> None:
        self.app = App()
        self.cache = ResponseCache()
        self.cache.set_following(True)
        self.layer = CacheMiddleware(self.app, self.cache, "rapport")

    async def get(self, path: str = "/v1/posts", query: str = "", method: str = "GET", **headers: str) -> Answer:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": raw_headers(headers),
        }
        await self.layer(scope, receive, send)
        return Answer(sent)

    def ready(self, target: str = "/v1/posts", **headers: str) -> Answer | None:
        """Return what our server finds without calling the app."""
        found = self.layer.find_ready(target.encode(), raw_headers(headers))
        if found is None:
            return None
        first, *lines = found.head.removesuffix(b"\r\n").split(b"\r\n")
        fields = [tuple(line.split(b": ", 1)) for line in lines]
        return Answer([{"status": int(first.split(b" ")[1]), "headers": fields}, {"body": found.body}])


def raw_headers(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()]


@pytest.fixture
async def harness() -> Harness:
    return Harness()


async def test_anonymous_requests_are_served_from_the_cache(harness: Harness) -> None:
    first, second = await harness.get(), await harness.get()
    assert len(harness.app.asked) == 1
    assert second.body == first.body
    assert second.headers[b"etag"] == first.headers[b"etag"]
    assert first.headers[b"x-request-id"] == b"from-app"
    assert second.headers[b"x-request-id"] not in (b"from-app", b"")
    assert (await harness.get()).headers[b"x-request-id"] != second.headers[b"x-request-id"]
    assert (await harness.get(X_Request_ID="mine")).headers[b"x-request-id"] == b"mine"


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer x"}, {"Cookie": "a=b; rapport=x"}])
async def test_requests_with_credentials_are_neither_served_nor_stored(
    harness: Harness, headers: dict[str, str]
) -> None:
    await harness.get(**headers)
    await harness.get()
    await harness.get(**headers)
    assert len(harness.app.asked) == 3
    assert len(harness.cache) == 1


async def test_other_cookies_do_not_prevent_caching(harness: Harness) -> None:
    await harness.get(Cookie="theme=dark")
    await harness.get()
    assert len(harness.app.asked) == 1


@pytest.mark.parametrize(
    ("path", "query", "method"),
    [
        ("/v1/posts", "colour=red", "GET"),
        ("/v1/posts", "limit=1&colour=red", "GET"),
        ("/v1/posts", "", "POST"),
        ("/v1/posts", "", "HEAD"),
        ("/v1/me", "", "GET"),
        ("/v1/postscript", "", "GET"),
        ("/sign-in/abc", "", "GET"),
        ("/docs", "", "GET"),
    ],
)
async def test_other_requests_go_to_the_app(harness: Harness, path: str, query: str, method: str) -> None:
    for _ in range(2):
        await harness.get(path, query, method)
    assert len(harness.app.asked) == 2
    assert len(harness.cache) == 0


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/", ""),
        ("/posts/x", ""),
        ("/v1/posts/x/page", ""),
        ("/v1/comments/x/replies", "cursor=a&limit=3"),
        ("/v1/people/x", ""),
    ],
)
async def test_public_reads_are_cached(harness: Harness, path: str, query: str) -> None:
    for _ in range(2):
        await harness.get(path, query)
    await harness.get(path, "sort=newest")
    assert len(harness.app.asked) == 2


async def test_an_answer_that_is_not_offered_is_not_stored(harness: Harness) -> None:
    harness.app.status = 404
    for _ in range(2):
        assert (await harness.get()).status == 404
    assert len(harness.app.asked) == 2


async def test_if_none_match_is_answered_304_for_answers_that_are_not_stored(harness: Harness) -> None:
    harness.app.offers = False
    for _ in range(2):
        assert (await harness.get(If_None_Match='"0-x"')).status == 304
    assert (await harness.get(If_None_Match='"0-y"')).status == 200
    assert len(harness.app.asked) == 3


async def test_if_none_match_does_not_change_a_refusal(harness: Harness) -> None:
    harness.app.status = 404
    assert (await harness.get(If_None_Match="*")).status == 404


async def test_if_none_match_is_answered_304_on_a_miss_and_on_a_hit(harness: Harness) -> None:
    for tag in ('"0-x"', 'W/"0-x", "y"', "*"):
        answer = await harness.get(If_None_Match=tag)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers[b"etag"] == b'"0-x"'
        assert b"content-type" not in answer.headers
    assert len(harness.app.asked) == 1
    assert not any(name == b"if-none-match" for name, _ in harness.app.asked[0]["headers"])
    assert (await harness.get(If_None_Match='"0-y"')).status == 200


async def test_concurrent_requests_ask_the_app_once(harness: Harness) -> None:
    harness.app.gate.clear()
    reading = [asyncio.ensure_future(harness.get()) for _ in range(20)]
    await asyncio.sleep(0)
    harness.app.gate.set()
    assert {answer.body for answer in await asyncio.gather(*reading)} == {harness.app.body}
    assert len(harness.app.asked) == 1


async def test_concurrent_requests_ask_the_app_once_although_the_answer_is_evicted_meanwhile(harness: Harness) -> None:
    """Each came before the change, so each may get the answer from before it; but no later request."""
    harness.app.gate.clear()
    reading = [asyncio.ensure_future(harness.get()) for _ in range(20)]
    await asyncio.sleep(0)
    harness.cache.evict(["post:1"])
    harness.app.gate.set()
    assert {answer.status for answer in await asyncio.gather(*reading)} == {200}
    assert len(harness.app.asked) == 1
    assert len(harness.cache) == 0


async def test_concurrent_requests_after_an_eviction_ask_the_app_once_more(harness: Harness) -> None:
    harness.app.gate.clear()
    early = asyncio.ensure_future(harness.get())
    await asyncio.sleep(0)
    harness.cache.evict(["post:1"])
    harness.app.body = b'{"items": [1]}'
    late = [asyncio.ensure_future(harness.get()) for _ in range(20)]
    await asyncio.sleep(0)
    harness.app.gate.set()
    await early
    assert {answer.body for answer in await asyncio.gather(*late)} == {b'{"items": [1]}'}
    assert len(harness.app.asked) == 2


async def test_a_waiting_request_gets_304_of_an_answer_that_was_evicted_meanwhile(harness: Harness) -> None:
    harness.app.gate.clear()
    first = asyncio.ensure_future(harness.get())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(harness.get(If_None_Match='"0-x"'))
    await asyncio.sleep(0)
    harness.cache.evict(["post:1"])
    harness.app.gate.set()
    assert (await first).status == 200
    assert (await second).status == 304


async def test_a_refusal_is_not_shared_with_waiting_requests(harness: Harness) -> None:
    harness.app.gate.clear()
    harness.app.status, harness.app.offers = 429, False
    reading = [asyncio.ensure_future(harness.get()) for _ in range(3)]
    await asyncio.sleep(0)
    harness.app.gate.set()
    await asyncio.gather(*reading)
    assert len(harness.app.asked) == 3


async def test_an_answer_evicted_while_it_was_read_is_read_again(harness: Harness) -> None:
    harness.app.gate.clear()
    early = asyncio.ensure_future(harness.get())
    await asyncio.sleep(0)
    harness.app.body = b'{"items": [1]}'
    harness.cache.evict(["post:1"])
    late = asyncio.ensure_future(harness.get())
    await asyncio.sleep(0)
    harness.app.gate.set()
    assert (await late).body == b'{"items": [1]}'
    await early
    assert (await harness.get()).body == b'{"items": [1]}'


async def test_a_request_that_waits_for_a_cancelled_one_asks_the_app_itself(harness: Harness) -> None:
    harness.app.gate.clear()
    first = asyncio.ensure_future(harness.get())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(harness.get())
    await asyncio.sleep(0)
    first.cancel()
    harness.app.gate.set()
    assert (await second).status == 200
    assert len(harness.app.asked) == 2


async def test_by_another_name_of_this_machine_the_api_is_cached_and_pages_go_to_the_app() -> None:
    harness = Harness()
    harness.layer = CacheMiddleware(harness.app, harness.cache, "rapport", b"127.0.0.1:8000")
    for path, asked in (("/v1/posts", 1), ("/posts/on-letters", 2)):
        harness.app.asked.clear()
        for host in ("127.0.0.1:8000", "localhost:8000"):
            await harness.get(path, host=host)
        assert len(harness.app.asked) == asked


async def test_pages_are_kept_once_for_each_language_of_ours(harness: Harness) -> None:
    german = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.1"}
    for headers in ({}, {"Accept-Language": "en-US"}, {"Accept-Language": "fr-CA, x-klingon"}, {"Cookie": "lang=xx"}):
        await harness.get("/posts/x", **headers)
    assert len(harness.app.asked) == len(harness.cache) == 1
    for _ in range(2):
        await harness.get("/posts/x", **german)
        await harness.get("/posts/x", Accept_Language="en", Cookie="theme=dark; lang=de")
    assert len(harness.app.asked) == len(harness.cache) == 2
    await harness.get("/posts/x", **german, Cookie="lang=ar")
    assert len(harness.app.asked) == len(harness.cache) == 3


@pytest.mark.parametrize("path", ["/v1/posts/x/page", "/feed.atom", "/posts/x/feed.atom", "/sitemap.xml"])
async def test_what_programs_read_is_kept_once_for_all_languages(harness: Harness, path: str) -> None:
    await harness.get(path, Accept_Language="de")
    await harness.get(path, Cookie="lang=ar")
    assert len(harness.app.asked) == 1


async def test_what_our_server_finds_at_once_is_what_the_app_answers(harness: Harness) -> None:
    assert harness.ready() is None, "nothing is kept yet"
    for path, headers in (
        ("/v1/posts", {}),
        ("/v1/posts", {"X_Request_ID": "mine"}),
        ("/v1/posts", {"If_None_Match": '"0-x"'}),
        ("/posts/x", {"Accept_Language": "de", "Cookie": "theme=dark"}),
    ):
        await harness.get(path, **headers)
        asked = len(harness.app.asked)
        called, found = await harness.get(path, **headers), harness.ready(path, **headers)
        assert len(harness.app.asked) == asked
        assert found is not None
        assert (found.status, found.body) == (called.status, called.body)
        assert found.headers.keys() == called.headers.keys()
        assert {**found.headers, b"x-request-id": b""} == {**called.headers, b"x-request-id": b""}
    first, second = harness.ready(), harness.ready()
    assert first is not None
    assert second is not None
    assert first.headers[b"x-request-id"] != second.headers[b"x-request-id"]
    assert first.headers[b"content-length"] == b"%d" % len(first.body)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/v1/posts", {"Authorization": "Bearer x"}),
        ("/v1/posts", {"Cookie": "a=b; rapport=x"}),
        ("/v1/posts?limit=1", {}),
        ("http://h/v1/posts", {}),
        ("/v1/posts#x", {}),
        ("/posts/x", {"Accept_Language": "ar"}),
        ("/posts/x", {"Cookie": "lang=ar"}),
        ("/posts/x", {"Host": "other"}),
    ],
)
async def test_our_server_finds_nothing_for_requests_that_are_for_the_app(
    harness: Harness, target: str, headers: dict[str, str]
) -> None:
    harness.layer = CacheMiddleware(harness.app, harness.cache, "rapport", b"rapport.test")
    for path in ("/v1/posts", "/posts/x"):
        await harness.get(path)
        assert harness.ready(path) is not None
    assert harness.ready(target, **headers) is None


async def test_a_header_with_a_line_break_is_not_kept(harness: Harness) -> None:
    harness.app.etag = b'"0-x"\r\nset-cookie: a=b'
    with pytest.raises(ValueError, match="control character"):
        await harness.get()
    assert harness.ready() is None
