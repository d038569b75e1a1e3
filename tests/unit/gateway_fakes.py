"""Fake services with prepared replies, for tests of the gateway's own logic."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.chassis.client.client import ServiceResponse
from services.chassis.errors import Problem, unavailable
from services.chassis.identity import Caller
from services.gateway.composition.upstreams import Params, Upstream, Upstreams

Reply = Callable[["Call"], Any]

QUESTIONS = ("/lookup", "/counts", "/counts/people", "/check")  # how paths end at which a POST reads


@dataclass(frozen=True)
class Call:
    """One request that a service received."""

    method: str
    path: str
    caller: Caller | None
    body: Any
    params: Params
    headers: Mapping[str, str]
    deadline: float


@dataclass
class FakeService:
    """A service: `service.on("GET", "/posts/x", {...})`; without a reply it does not answer.

    A reply may be JSON, an `ServiceResponse`, a `Problem` (raised as the client would), or a function of the call.
    """

    name: str
    calls: list[Call] = field(default_factory=list)
    replies: dict[tuple[str, str], Any] = field(default_factory=dict)
    away: bool = False

    def on(self, method: str, path: str, reply: Any) -> None:
        self.replies[method, path] = reply

    async def call(
        self,
        method: str,
        path: str,
        *,
        deadline: float,
        caller: Caller | None = None,
        body: object = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ServiceResponse:
        await asyncio.sleep(0)
        sent = orjson.loads(body) if isinstance(body, bytes) and "Content-Type" not in (headers or {}) else body
        call = Call(method, path, caller, sent, params or {}, headers or {}, deadline)
        self.calls.append(call)
        reply = self.replies.get((method, path))
        if callable(reply):
            reply = reply(call)
        if asyncio.iscoroutine(reply):
            reply = await reply
        if self.away or reply is None:
            raise unavailable(f"{self.name} could not be reached.")
        if isinstance(reply, ServiceResponse):
            return reply
        if isinstance(reply, Problem):
            return refused(reply)
        return answered(reply)

    def last(self, method: str, path: str) -> Call:
        """Return the newest call of this kind."""
        return [call for call in self.calls if (call.method, call.path) == (method, path)][-1]

    def count(self, method: str, path: str) -> int:
        return sum((call.method, call.path) == (method, path) for call in self.calls)


@dataclass(frozen=True)
class Way:
    """One of the two ways to a service, which takes nothing that belongs to the other (ADR 24)."""

    service: FakeService
    reads: bool

    async def call(self, method: str, path: str, **sent: Any) -> ServiceResponse:
        does_read = method == "GET" or (method == "POST" and path.endswith(QUESTIONS))
        assert does_read == self.reads, f"{method} {path} goes the way of {'reads' if self.reads else 'writes'}"
        return await self.service.call(method, path, **sent)


def answered(data: Any, status: int = 200, **headers: str) -> ServiceResponse:
    return ServiceResponse(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, orjson.dumps(data)
    )


def refused(problem: Problem) -> ServiceResponse:
    body: dict[str, Any] = {"type": f"/problems/{problem.kind}", "title": problem.title, "detail": problem.detail}
    if problem.errors:
        body["errors"] = [{"field": one.field, "message": one.message} for one in problem.errors]
    return ServiceResponse(problem.status, problem.headers, orjson.dumps(body))


@dataclass
class FakeServices:
    """The four services behind a gateway."""

    posts: FakeService = field(default_factory=lambda: FakeService("posts"))
    comments: FakeService = field(default_factory=lambda: FakeService("comments"))
    people: FakeService = field(default_factory=lambda: FakeService("people"))
    notify: FakeService = field(default_factory=lambda: FakeService("notify"))

    @property
    def upstreams(self) -> Upstreams:
        posts, comments, people, notify = (
            Upstream(service.name, Way(service, reads=True), Way(service, reads=False))
            for service in (self.posts, self.comments, self.people, self.notify)
        )
        return Upstreams(posts, comments, people, notify)


def raw_post(**changes: Any) -> dict[str, Any]:
    """A post as the posts service represents it."""
    return {
        "id": "01936f6e-0000-7000-8000-000000000001",
        "kind": "post",
        "slug": "on-letters",
        "title": "On letters",
        "body": "Some *text*.",
        "format": "markdown",
        "body_html": "<p>Some <em>text</em>.</p>",
        "excerpt": "Some text.",
        "author_id": "01936f6e-0000-7000-8000-00000000000a",
        "status": "published",
        "discussion": "open",
        "created_at": "2026-11-23T04:35:00.000Z",
        "published_at": "2026-11-23T04:36:00.000Z",
        "edited_at": None,
        "edit_note": None,
        "revision": 1,
        "version": 2,
        **changes,
    }


def raw_comment(number: int = 1, replies: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """A comment as the comments service represents it to anonymous readers; with `body` and `format` to others."""
    own: dict[str, Any] = {name: changes.pop(name) for name in ("body", "format") if name in changes}
    return {
        "id": f"01936f6e-0000-7000-8000-0000000001{number:02x}",
        "post_id": "01936f6e-0000-7000-8000-000000000001",
        "parent_id": None,
        "depth": 0,
        "version": 1,
        "author_id": "01936f6e-0000-7000-8000-00000000000b",
        **own,
        "body_html": f"<p>Comment {number}</p>",
        "state": "visible",
        "created_at": "2026-11-23T04:37:00.000Z",
        "edited_at": None,
        "answered_revision": None,
        "reply_count": len(replies or []),
        "replies": {"items": replies or [], "next": None},
        **changes,
    }
