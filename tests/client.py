"""A front end for tests: it signs users in by the link in their mail and calls the gateway's public API."""

import asyncio
import re
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from uuid import uuid4

import aiohttp

from tests.smtp_sink import SmtpSink
from tests.waiting import eventually

LINK = re.compile(r"/sign-in/([A-Za-z0-9_-]+)")


@dataclass(frozen=True)
class HttpResponse:
    """One complete HTTP response."""

    status: int
    headers: Any
    body: bytes
    json: Any = None


@dataclass
class Person:
    """A signed-in user.

    Attributes:
        refresh_key: the idempotency key of the next refresh, whose answer may be lost.
    """

    id: str
    name: str
    email: str
    access_token: str
    refresh_token: str
    refresh_key: str = field(default_factory=lambda: str(uuid4()), repr=False)
    refreshing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


@dataclass
class Client:
    """HTTP to one gateway. Problem answers are returned, not raised.

    Attributes:
        stays: whether expired access tokens are refreshed automatically, as in a browser.
    """

    url: str
    sink: SmtpSink
    timeout: float = 30
    stays: bool = False
    _session: aiohttp.ClientSession | None = field(default=None, repr=False)

    async def __aenter__(self) -> "Client":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=self.timeout)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        who: Person | None = None,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> HttpResponse:
        """Send one request; `body` is sent as JSON."""
        token = who.access_token if who else ""
        answer = await self._once(method, path, body, who, headers, **options)
        if answer.status == 401 and self.stays and who is not None:
            refusal = await self._refresh(who, token)
            return refusal or await self._once(method, path, body, who, headers, **options)
        return answer

    async def _refresh(self, who: Person, expired: str) -> HttpResponse | None:
        """Replace the tokens of a user whose access token is `expired`; return the refusal if there is one."""
        async with who.refreshing:  # the old refresh token must not be used twice
            if who.access_token == expired:
                key = {"Idempotency-Key": who.refresh_key}
                fresh = await self._once(
                    "POST", "/v1/sessions/refresh", {"refresh_token": who.refresh_token}, None, key
                )
                if fresh.status != 200:
                    return fresh
                who.refresh_key = str(uuid4())
                who.access_token, who.refresh_token = fresh.json["access_token"], fresh.json["refresh_token"]
            return None

    async def _once(
        self,
        method: str,
        path: str,
        body: object,
        who: Person | None,
        headers: dict[str, str] | None,
        **options: Any,
    ) -> HttpResponse:
        assert self._session is not None
        sent = dict(headers or {})
        if who is not None:
            sent["Authorization"] = f"Bearer {who.access_token}"
        if body is not None:
            options["json"] = body
        async with self._session.request(
            method, self.url + path, headers=sent, allow_redirects=False, **options
        ) as answer:
            content = await answer.read()
            kind = answer.headers.get("Content-Type", "")
            parsed = await answer.json(content_type=None) if "json" in kind and content else None
            return HttpResponse(answer.status, answer.headers.copy(), content, parsed)

    async def sign_in(self, name: str, email: str) -> Person:
        """Register (or sign in), take the link from the mail, use it."""
        before = len(self._links(email))
        asked = await self.call("POST", "/v1/people", {"name": name, "email": email})
        assert asked.status == 202, asked.body
        await eventually(lambda: len(self._links(email)) > before, timeout=30)
        session = await self.call("POST", "/v1/sessions", {"token": self._links(email)[-1]})
        assert session.status == 201, session.body
        return Person(
            session.json["person"]["id"],
            session.json["person"]["name"],
            email,
            session.json["access_token"],
            session.json["refresh_token"],
        )

    def _links(self, email: str) -> list[str]:
        found = []
        for mail in self.sink.to(email):
            match = LINK.search(mail.text)
            if match:
                found.append(match[1])
        return found

    async def publish(self, who: Person, title: str = "A post", **fields: object) -> dict[str, Any]:
        """Publish a post and wait until it accepts comments."""
        made = await self.call(
            "POST", "/v1/posts", {"title": title, "body": "Some *text*.", "publish": True} | fields, who=who
        )
        assert made.status == 201, made.body
        post: dict[str, Any] = made.json

        async def arrived() -> bool:
            return (await self.call("GET", f"/v1/posts/{post['id']}/comments")).status == 200

        await eventually(arrived, timeout=30)
        return post

    async def comment(
        self, who: Person, post_id: str, body: str | None = None, parent_id: str | None = None
    ) -> dict[str, Any]:
        """Create a comment, repeated under one idempotency key while the answer is 503.

        Without a text it has one of its own: the same one again would be the first comment.
        """
        key = {"Idempotency-Key": str(uuid4())}
        payload = {"body": body or f"Well said: {uuid4().hex}."} | ({"parent_id": parent_id} if parent_id else {})
        answers: list[HttpResponse] = []

        async def done() -> bool:
            answers.append(await self.call("POST", f"/v1/posts/{post_id}/comments", payload, who=who, headers=key))
            return answers[-1].status != 503

        await eventually(done, timeout=30)
        assert answers[-1].status == 201, answers[-1].body
        comment: dict[str, Any] = answers[-1].json
        return comment
