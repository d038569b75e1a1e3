"""A gateway in this process over scripted services."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx2

from services.chassis.identity import Signer
from services.gateway.app import build
from services.gateway.gateway import Gateway
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import wire
from tests.unit.gateway_fakes import House, answered, raw_comment, raw_post

POST = raw_post()
ID, SLUG, ANNA = POST["id"], POST["slug"], POST["author_id"]
COMMENT = raw_comment(1)
COMMENT_ID = COMMENT["id"]
CHANGES = {"sessions": [], "people": [], "as_of": "2026-11-23T04:35:00.000Z"}


class Site:
    """A gateway in this process over a house that works."""

    def __init__(self, house: House, gateway: Gateway, http: httpx2.AsyncClient, token: str) -> None:
        self.house, self.gateway, self.http = house, gateway, http
        self.anna = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.http.get(path, headers=headers)

    async def comment(self, **headers: str) -> httpx2.Response:
        return await self.http.post(f"/v1/posts/{ID}/comments", json={"body": "x"}, headers=self.anna | headers)


NewSite = Callable[..., Awaitable[Site]]


def furnish(house: House) -> None:
    for ref in (ID, SLUG):
        house.posts.on("GET", f"/posts/{ref}", POST)
    house.posts.on("GET", "/posts", {"items": [POST], "next": None})
    house.comments.on("GET", f"/posts/{ID}/comments", {"items": [COMMENT], "next": None})
    house.comments.on("POST", f"/posts/{ID}/comments", lambda _: answered(COMMENT, 201, Location="/v1/comments/x"))
    house.comments.on("DELETE", f"/comments/{COMMENT_ID}", lambda _: answered(None, 204))
    house.comments.on("POST", "/comments/lookup", {"items": [COMMENT]})
    house.comments.on("POST", "/counts", lambda call: {"counts": dict.fromkeys(call.body["post_ids"], 1)})
    house.people.on("POST", "/people/lookup", lambda call: {"items": [face(one) for one in call.body["ids"]]})
    house.people.on("GET", "/changes", CHANGES)
    for path in ("/people", "/sign-in"):
        house.people.on("POST", path, lambda _: answered({"status": "check_your_mail"}, 202))


def face(person_id: str) -> dict[str, Any]:
    return {"id": person_id, "name": f"Name {person_id[-1]}", "avatar_url": None}


@asynccontextmanager
async def sites(keys: dict[str, str], redis_url: str) -> AsyncIterator[NewSite]:
    """`await make(rate_limits="on")` gives a site; all end with the block."""
    async with AsyncExitStack() as stack:

        async def make(**changes: Any) -> Site:
            house = House()
            furnish(house)
            values: dict[str, Any] = {
                "gateway_signing_key": keys["GATEWAY_SIGNING_KEY"],
                "verification_keys": keys["VERIFICATION_KEYS"],
                "redis_url": redis_url,
                "public_url": "http://rapport.test",
                "rate_limits": "off",
                "page_patience_seconds": 0.1,
            }
            settings = GatewaySettings(**values | changes)
            gateway = await stack.enter_async_context(wire(settings, house.upstreams))
            await gateway.changes.refresh()
            app = build(gateway, nothing_to_wait_for)
            transport = httpx2.ASGITransport(app, client=("192.0.2.1", 5))
            http = await stack.enter_async_context(
                httpx2.AsyncClient(transport=transport, base_url="http://rapport.test")
            )
            signer = Signer(keys["PEOPLE_SIGNING_KEY"], "people")
            token = signer.token("rapport", UUID(ANNA), ["author"], 900, session_id=uuid4())
            return Site(house, gateway, http, token)

        yield make


async def nothing_to_wait_for() -> dict[str, bool]:
    return {}


def kind(answer: httpx2.Response) -> str:
    return str(answer.json()["type"]).removeprefix("/problems/")
