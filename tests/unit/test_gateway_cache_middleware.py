"""The layer ahead of routing: who is served from the cache, and who never."""

import asyncio
from typing import Any

import pytest

from services.gateway.caching.cacheable import SCOPE_KEY
from services.gateway.caching.middleware import CacheMiddleware
from services.gateway.caching.response_cache import ResponseCache


class App:
    """An app that counts how often it is asked; `gate` holds it up."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.status, self.body, self.tags = 200, b'{"items": []}', frozenset({"post:1"})
        self.offers = True
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
        headers = [(b"etag", b'"0-x"'), (b"content-type", b"application/json"), (b"x-request-id", b"from-app")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Got:
    def __init__(self, messages: list[Any]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = dict(messages[0]["headers"])
        self.body = b"".join(message["body"] for message in messages[1:])


class Front:
    def __init__(self) -> None:
        self.app = App()
        self.cache = ResponseCache()
        self.cache.hears(True)
        self.layer = CacheMiddleware(self.app, self.cache, "rapport")

    async def get(self, path: str = "/v1/posts", query: str = "", method: str = "GET", **headers: str) -> Got:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        raw = [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": raw,
        }
        await self.layer(scope, receive, send)
        return Got(sent)


@pytest.fixture
async def front() -> Front:
    return Front()


async def test_strangers_are_served_from_the_cache(front: Front) -> None:
    first, second = await front.get(), await front.get()
    assert len(front.app.asked) == 1
    assert second.body == first.body
    assert second.headers[b"etag"] == first.headers[b"etag"]
    assert first.headers[b"x-request-id"] == b"from-app"
    assert second.headers[b"x-request-id"] not in (b"from-app", b"")
    assert (await front.get()).headers[b"x-request-id"] != second.headers[b"x-request-id"]
    assert (await front.get(X_Request_ID="mine")).headers[b"x-request-id"] == b"mine"


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer x"}, {"Cookie": "a=b; rapport=x"}])
async def test_who_might_be_somebody_is_neither_served_nor_kept(front: Front, headers: dict[str, str]) -> None:
    await front.get(**headers)
    await front.get()
    await front.get(**headers)
    assert len(front.app.asked) == 3
    assert len(front.cache) == 1


async def test_cookies_of_others_do_not_matter(front: Front) -> None:
    await front.get(Cookie="theme=dark")
    await front.get()
    assert len(front.app.asked) == 1


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
async def test_what_is_not_for_the_cache_passes(front: Front, path: str, query: str, method: str) -> None:
    for _ in range(2):
        await front.get(path, query, method)
    assert len(front.app.asked) == 2
    assert len(front.cache) == 0


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
async def test_public_reads_are_for_the_cache(front: Front, path: str, query: str) -> None:
    for _ in range(2):
        await front.get(path, query)
    await front.get(path, "sort=newest")
    assert len(front.app.asked) == 2


async def test_what_is_not_offered_is_not_kept(front: Front) -> None:
    front.app.status = 404
    for _ in range(2):
        assert (await front.get()).status == 404
    assert len(front.app.asked) == 2


async def test_who_has_it_gets_304_of_what_is_never_kept_too(front: Front) -> None:
    front.app.offers = False
    for _ in range(2):
        assert (await front.get(If_None_Match='"0-x"')).status == 304
    assert (await front.get(If_None_Match='"0-y"')).status == 200
    assert len(front.app.asked) == 3


async def test_a_refusal_stays_one_whatever_the_client_has(front: Front) -> None:
    front.app.status = 404
    assert (await front.get(If_None_Match="*")).status == 404


async def test_who_has_it_gets_304_whether_it_was_kept_or_not(front: Front) -> None:
    for tag in ('"0-x"', 'W/"0-x", "y"', "*"):
        answer = await front.get(If_None_Match=tag)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers[b"etag"] == b'"0-x"'
        assert b"content-type" not in answer.headers
    assert len(front.app.asked) == 1
    assert not any(name == b"if-none-match" for name, _ in front.app.asked[0]["headers"])
    assert (await front.get(If_None_Match='"0-y"')).status == 200


async def test_many_at_once_ask_once(front: Front) -> None:
    front.app.gate.clear()
    reading = [asyncio.ensure_future(front.get()) for _ in range(20)]
    await asyncio.sleep(0)
    front.app.gate.set()
    assert {answer.body for answer in await asyncio.gather(*reading)} == {front.app.body}
    assert len(front.app.asked) == 1


async def test_many_at_once_ask_once_although_it_changes_meanwhile(front: Front) -> None:
    """Each came before the change, so each may be told how it was before; but nobody later."""
    front.app.gate.clear()
    reading = [asyncio.ensure_future(front.get()) for _ in range(20)]
    await asyncio.sleep(0)
    front.cache.evict(["post:1"])
    front.app.gate.set()
    assert {answer.status for answer in await asyncio.gather(*reading)} == {200}
    assert len(front.app.asked) == 1
    assert len(front.cache) == 0


async def test_many_who_come_after_a_change_ask_once_more(front: Front) -> None:
    front.app.gate.clear()
    early = asyncio.ensure_future(front.get())
    await asyncio.sleep(0)
    front.cache.evict(["post:1"])
    front.app.body = b'{"items": [1]}'
    late = [asyncio.ensure_future(front.get()) for _ in range(20)]
    await asyncio.sleep(0)
    front.app.gate.set()
    await early
    assert {answer.body for answer in await asyncio.gather(*late)} == {b'{"items": [1]}'}
    assert len(front.app.asked) == 2


async def test_who_waited_gets_304_of_what_was_not_kept_too(front: Front) -> None:
    front.app.gate.clear()
    first = asyncio.ensure_future(front.get())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(front.get(If_None_Match='"0-x"'))
    await asyncio.sleep(0)
    front.cache.evict(["post:1"])
    front.app.gate.set()
    assert (await first).status == 200
    assert (await second).status == 304


async def test_a_refusal_is_for_the_one_who_got_it(front: Front) -> None:
    front.app.gate.clear()
    front.app.status, front.app.offers = 429, False
    reading = [asyncio.ensure_future(front.get()) for _ in range(3)]
    await asyncio.sleep(0)
    front.app.gate.set()
    await asyncio.gather(*reading)
    assert len(front.app.asked) == 3


async def test_what_changed_while_it_was_read_is_read_again(front: Front) -> None:
    front.app.gate.clear()
    early = asyncio.ensure_future(front.get())
    await asyncio.sleep(0)
    front.app.body = b'{"items": [1]}'
    front.cache.evict(["post:1"])
    late = asyncio.ensure_future(front.get())
    await asyncio.sleep(0)
    front.app.gate.set()
    assert (await late).body == b'{"items": [1]}'
    await early
    assert (await front.get()).body == b'{"items": [1]}'


async def test_who_waits_for_one_that_went_away_asks_themselves(front: Front) -> None:
    front.app.gate.clear()
    first = asyncio.ensure_future(front.get())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(front.get())
    await asyncio.sleep(0)
    first.cancel()
    front.app.gate.set()
    assert (await second).status == 200
    assert len(front.app.asked) == 2
