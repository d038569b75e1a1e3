"""Fake people, comments and posts for the tests of notify: real HTTP, the agreed look-ups, answers that a test sets."""

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
from tests.integration.notify_harness import FakeComment

LOOKUPS = {
    "/contacts/lookup": "people",
    "/people/lookup": "people",
    "/comments/lookup": "comments",
    "/posts/lookup": "posts",
    "/posts/titles/lookup": "posts",
}


@dataclass
class FakeUpstreams:
    """What the upstreams answer, by id. A test changes it as the services would.

    Attributes:
        titles: of earlier revisions, by post and number.
        moderators: who may moderate.
        away: paths that answer 503.
        broken: paths whose answers break the contract.
        poison: ids that make a look-up fail.
        calls: the path of every call, in order.
        before: called with the path before the answer is made.
    """

    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    comments: dict[str, dict[str, Any]] = field(default_factory=dict)
    posts: dict[str, dict[str, Any]] = field(default_factory=dict)
    titles: dict[tuple[str, int], str] = field(default_factory=dict)
    moderators: list[UUID] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    poison: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda path: None

    def add(self, comment: FakeComment, body_html: str = "<p>Well comment.</p>") -> None:
        """Add a comment with its post and its people; nothing speaks against a mail about it."""
        for person in (comment.author_id, comment.post_author_id, comment.parent_author_id):
            if person is not None:
                name = f"Person {person.hex[-4:]}"
                address = f"{person.hex}@example.com"
                self.people.setdefault(str(person), {"name": name, "avatar_url": None})
                self.contacts.setdefault(
                    str(person), {"name": name, "email": address, "confirmed": True, "address_version": 1}
                )
        self.comments[str(comment.comment_id)] = {
            "post_id": str(comment.post_id),
            "parent_id": str(comment.parent_id) if comment.parent_id else None,
            "author_id": str(comment.author_id),
            "parent_author_id": str(comment.parent_author_id) if comment.parent_author_id else None,
            "post_author_id": str(comment.post_author_id),
            "depth": 1 if comment.parent_id else 0,
            "state": comment.state,
            "body": "Well comment.",
            "format": "markdown",
            "body_html": body_html,
            "created_at": "2026-11-23T04:35:00.000Z",
            "imported": comment.imported,
            "version": comment.version,
            "post_status": "published",
            "ancestors": [str(comment.parent_id)] if comment.parent_id else [],
        }
        self.posts[str(comment.post_id)] = {
            "kind": "post",
            "slug": "a-post",
            "title": "A post",
            "author_id": str(comment.post_author_id),
            "status": "published",
            "discussion": "open",
            "version": 1,
            "revision": 1,
        }

    def add_moderator(self, person_id: UUID) -> None:
        """Add somebody who may moderate, with a confirmed address."""
        self.moderators.append(person_id)
        contact = {"name": "Mo", "email": address(person_id), "confirmed": True, "address_version": 1}
        self.contacts[str(person_id)] = contact | {"moderates": True}

    def decide(self, comment: FakeComment, state: str) -> None:
        """Let a moderator decide about a comment."""
        known = self.comments[str(comment.comment_id)]
        known.update(state=state, version=known["version"] + 1)

    def rename(self, comment: FakeComment, title: str) -> None:
        """Edit the title of the comment's post; posts keeps the one before under its revision."""
        post = self.posts[str(comment.post_id)]
        self.titles[str(comment.post_id), post["revision"]] = post["title"]
        post.update(title=title, revision=post["revision"] + 1)

    def _table(self, path: str) -> dict[str, dict[str, Any]]:
        return {
            "/contacts/lookup": self.contacts,
            "/people/lookup": self.people,
            "/comments/lookup": self.comments,
            "/posts/lookup": self.posts,
        }[path]


def address(person_id: UUID | None) -> str:
    """Return the address of a person whom `add` made."""
    assert person_id is not None
    return f"{person_id.hex}@example.com"


@asynccontextmanager
async def serving_upstreams(keys: dict[str, str]) -> AsyncIterator[tuple[FakeUpstreams, Upstreams]]:
    """Serve the fake upstreams on a port; yield them and the real client that asks them with notify's own token."""
    fake = FakeUpstreams()
    verifiers = {name: Verifier(keys["VERIFICATION_KEYS"], name) for name in ("people", "comments", "posts")}

    async def look_up(request: web.Request) -> web.Response:
        path = request.path
        fake.calls.append(path)
        caller = verifiers[LOOKUPS[path]].verify(request.headers["Authorization"].removeprefix("Bearer "))
        assert caller.issuer == "notify"
        fake.before(path)
        await asyncio.sleep(0)
        if path in fake.away:
            return web.json_response({"type": "/problems/unavailable", "detail": "Away."}, status=503)
        if path in fake.broken:
            return web.json_response({"items": [{"id": "x"}]})
        asked = await request.json()
        if path == "/posts/titles/lookup":
            revisions = [(one["id"], one["revision"]) for one in asked["revisions"]]
            return web.json_response(
                {
                    "items": [
                        {"id": post_id, "revision": revision, "title": fake.titles[post_id, revision]}
                        for post_id, revision in revisions
                        if (post_id, revision) in fake.titles
                    ]
                }
            )
        ids = asked["ids"]
        assert len(ids) <= 200
        if fake.poison & set(ids):
            return web.Response(status=500)
        table = fake._table(path)
        return web.json_response({"items": [{"id": one} | table[one] for one in ids if one in table]})

    async def get(request: web.Request) -> web.Response:
        path = request.path
        fake.calls.append(path)
        name = "people" if path == "/moderators" else "comments"
        assert verifiers[name].verify(request.headers["Authorization"].removeprefix("Bearer ")).issuer == "notify"
        if path in fake.away:
            return web.json_response({"type": "/problems/unavailable", "detail": "Away."}, status=503)
        if path == "/moderators":
            return web.json_response({"ids": [str(one) for one in fake.moderators]})
        return web.json_response({"waiting": sum(one["state"] == "held" for one in fake.comments.values())})

    app = web.Application()
    app.router.add_get("/moderators", get)
    app.router.add_get("/comments/waiting", get)
    app.router.add_post("/{first:.+}/lookup", look_up)
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
            fake,
            Upstreams(
                people=ServiceClient(url, "people", signer, connections=connections),
                comments=ServiceClient(url, "comments", signer, connections=connections),
                posts=ServiceClient(url, "posts", signer, connections=connections),
            ),
        )
    finally:
        await connections.close()
        await runner.cleanup()
