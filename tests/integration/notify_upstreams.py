"""People, comments and posts as notify meets them: real HTTP, the agreed look-ups, and what a test lets them say."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp import web

from services.chassis.client.client import ServiceClient
from services.chassis.client.connection_pool import ConnectionPool
from services.chassis.identity import Signer, Verifier
from services.notify.upstreams import Upstreams
from tests.integration.notify_harness import Said

LOOKUPS = {
    "/contacts/lookup": "people",
    "/people/lookup": "people",
    "/comments/lookup": "comments",
    "/posts/lookup": "posts",
}


@dataclass
class FakeOwners:
    """What the owners know, by id. A test changes it as the owners would.

    Attributes:
        away: paths that answer 503.
        broken: paths that answer something else than was agreed.
        poison: ids that nobody can be asked about without an error.
        asked: every path, in order.
        before: called with the path before the answer is made.
    """

    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    comments: dict[str, dict[str, Any]] = field(default_factory=dict)
    posts: dict[str, dict[str, Any]] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    poison: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda path: None

    def know(self, said: Said, body_html: str = "<p>Well said.</p>") -> None:
        """Everybody and everything about one comment, all in order."""
        for person in (said.author_id, said.post_author_id, said.parent_author_id):
            if person is not None:
                name = f"Person {person.hex[-4:]}"
                address = f"{person.hex}@example.com"
                self.people.setdefault(str(person), {"name": name, "avatar_url": None})
                self.contacts.setdefault(
                    str(person), {"name": name, "email": address, "confirmed": True, "address_version": 1}
                )
        self.comments[str(said.comment_id)] = {
            "post_id": str(said.post_id),
            "parent_id": str(said.parent_id) if said.parent_id else None,
            "author_id": str(said.author_id),
            "parent_author_id": str(said.parent_author_id) if said.parent_author_id else None,
            "post_author_id": str(said.post_author_id),
            "depth": 1 if said.parent_id else 0,
            "state": said.state,
            "body": "Well said.",
            "format": "markdown",
            "body_html": body_html,
            "created_at": "2026-11-23T04:35:00.000Z",
            "imported": said.imported,
            "version": said.version,
            "post_status": "published",
            "ancestors": [str(said.parent_id)] if said.parent_id else [],
        }
        self.posts[str(said.post_id)] = {
            "kind": "post",
            "slug": "a-post",
            "title": "A post",
            "author_id": str(said.post_author_id),
            "status": "published",
            "discussion": "open",
            "version": 1,
        }

    def table(self, path: str) -> dict[str, dict[str, Any]]:
        return {
            "/contacts/lookup": self.contacts,
            "/people/lookup": self.people,
            "/comments/lookup": self.comments,
            "/posts/lookup": self.posts,
        }[path]


def address(person_id: UUID | None) -> str:
    """Where mail to somebody whom `know` made goes."""
    assert person_id is not None
    return f"{person_id.hex}@example.com"


@asynccontextmanager
async def owning(keys: dict[str, str]) -> AsyncIterator[tuple[FakeOwners, Upstreams]]:
    """The fake owners behind a port, and the real client that asks them with notify's own token."""
    known = FakeOwners()
    verifiers = {name: Verifier(keys["VERIFICATION_KEYS"], name) for name in ("people", "comments", "posts")}

    async def look_up(request: web.Request) -> web.Response:
        path = request.path
        known.asked.append(path)
        caller = verifiers[LOOKUPS[path]].verify(request.headers["Authorization"].removeprefix("Bearer "))
        assert caller.issuer == "notify"
        known.before(path)
        await asyncio.sleep(0)
        if path in known.away:
            return web.json_response({"type": "/problems/unavailable", "detail": "Away."}, status=503)
        if path in known.broken:
            return web.json_response({"items": [{"id": "x"}]})
        ids = (await request.json())["ids"]
        assert len(ids) <= 200
        if known.poison & set(ids):
            return web.Response(status=500)
        table = known.table(path)
        return web.json_response({"items": [{"id": one} | table[one] for one in ids if one in table]})

    app = web.Application()
    app.router.add_post("/{first}/lookup", look_up)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    connections = ConnectionPool()
    signer = Signer(keys["NOTIFY_SIGNING_KEY"], "notify")
    try:
        yield (
            known,
            Upstreams(
                people=ServiceClient(url, "people", signer, connections=connections),
                comments=ServiceClient(url, "comments", signer, connections=connections),
                posts=ServiceClient(url, "posts", signer, connections=connections),
            ),
        )
    finally:
        await connections.close()
        await runner.cleanup()
