"""A gateway in this process over fake services."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from services.chassis.errors import Problem, not_found
from services.chassis.identity import Signer
from services.gateway.access.rate_limits import RateLimits
from services.gateway.app import create_app
from services.gateway.gateway import Gateway
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import connect
from tests.unit.gateway_fakes import FakeServices, answered, raw_comment, raw_post

POST = raw_post()
ID, SLUG, ANNA = POST["id"], POST["slug"], POST["author_id"]
COMMENT = raw_comment(1)
COMMENT_ID = COMMENT["id"]
CHANGES = {"sessions": [], "people": [], "as_of": "2026-11-23T04:35:00.000Z"}


class GatewayHarness:
    """A gateway in this process over services that work, and a client of it."""

    def __init__(self, services: FakeServices, gateway: Gateway, http: httpx2.AsyncClient, signer: Signer) -> None:
        self.services, self.gateway, self.http = services, gateway, http
        self._signer = signer
        self.anna = self.token("author")

    def token(self, *roles: str, person: str = ANNA) -> dict[str, str]:
        """Return the header of somebody in these roles."""
        token = self._signer.token("rapport", UUID(person), list(roles), 900, session_id=uuid4())
        return {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.http.get(path, headers=headers)

    async def comment(self, **headers: str) -> httpx2.Response:
        return await self.http.post(f"/v1/posts/{ID}/comments", json={"body": "x"}, headers=self.anna | headers)


NewHarness = Callable[..., Awaitable[GatewayHarness]]


def answer_as_usual(services: FakeServices) -> None:
    for ref in (ID, SLUG):
        services.posts.on("GET", f"/posts/{ref}", POST)
    services.posts.on("GET", "/posts", {"items": [POST], "next": None})
    services.posts.on("POST", "/addresses/lookup", not_found())
    services.comments.on("GET", f"/posts/{ID}/comments", {"items": [COMMENT], "next": None})
    services.comments.on("POST", f"/posts/{ID}/comments", lambda _: answered(COMMENT, 201, Location="/v1/comments/x"))
    services.comments.on("DELETE", f"/comments/{COMMENT_ID}", lambda _: answered(None, 204))
    services.comments.on("POST", "/comments/lookup", {"items": [COMMENT]})
    services.comments.on("POST", "/counts", lambda call: {"counts": dict.fromkeys(call.body["post_ids"], 1)})
    services.people.on("POST", "/people/lookup", lambda call: {"items": [author(one) for one in call.body["ids"]]})
    services.people.on("GET", "/changes", CHANGES)
    for path in ("/people", "/sign-in"):
        services.people.on("POST", path, lambda _: answered({"status": "check_your_mail", "request": "r" * 22}, 202))


def author(person_id: str) -> dict[str, Any]:
    return {"id": person_id, "name": f"Name {person_id[-1]}", "avatar_url": None}


@asynccontextmanager
async def harnesses(keys: dict[str, str], redis_url: str) -> AsyncIterator[NewHarness]:
    """`await make(rate_limits="on")` makes a harness; all are closed at the end of the block."""
    async with AsyncExitStack() as stack:

        async def make(**changes: Any) -> GatewayHarness:
            services = FakeServices()
            answer_as_usual(services)
            values: dict[str, Any] = {
                "gateway_signing_key": keys["GATEWAY_SIGNING_KEY"],
                "verification_keys": keys["VERIFICATION_KEYS"],
                "redis_url": redis_url,
                "public_url": "http://rapport.test",
                "rate_limits": "off",
                "page_patience_seconds": 0.1,
            }
            settings = GatewaySettings(**values | changes)
            gateway = await stack.enter_async_context(connect(settings, services.upstreams))
            await gateway.revocations.refresh()
            app = create_app(gateway, always_ready)
            transport = httpx2.ASGITransport(app, client=("192.0.2.1", 5))
            http = await stack.enter_async_context(
                httpx2.AsyncClient(transport=transport, base_url="http://rapport.test")
            )
            return GatewayHarness(services, gateway, http, Signer(keys["PEOPLE_SIGNING_KEY"], "people"))

        yield make


async def always_ready() -> dict[str, bool]:
    return {}


def kind(answer: httpx2.Response) -> str:
    return str(answer.json()["type"]).removeprefix("/problems/")


def refuse_all(monkeypatch: pytest.MonkeyPatch, seconds: int = 9) -> None:
    """Let everything be too often, from now on."""

    async def refuse(*_: object) -> None:
        raise Problem("too-many-requests", headers={"Retry-After": str(seconds)})

    monkeypatch.setattr(RateLimits, "spend", refuse)
