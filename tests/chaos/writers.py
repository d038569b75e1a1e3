"""Clients that keep writing during faults and record the answers they got."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import aiohttp

from tests.chaos.ledger import Kind, Ledger, Operation
from tests.client import Client, Person

PATIENCE = 40
LATELY = 20


@dataclass
class Writers:
    """Users who comment and reply on some posts, edit and remove their comments, and write posts.

    Attributes:
        author: the author of the posts.
        posts: the posts that get comments; nothing changes them.
        patience: seconds after which a client gives up on an operation, whose outcome stays unknown.
        posts_share: share of operations that are about posts.
    """

    client: Client
    ledger: Ledger
    author: Person
    people: list[Person]
    posts: list[str]
    seed: int = 1
    patience: float = PATIENCE
    posts_share: float = 0.0
    comments: dict[str, list[tuple[UUID, Person]]] = field(default_factory=dict)
    articles: list[UUID] = field(default_factory=list)
    disturbed: set[UUID] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # random choices of a test, not secrets

    async def write(self, count: int, *, at_once: int = 4, pause: float = 0.0) -> None:
        """Run `count` operations by `at_once` clients; two of three comments reply to an earlier one."""
        left = iter(range(count))

        async def client() -> None:
            for _ in left:
                await self._operation()
                await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(client())

    async def keep_writing(self, stop: asyncio.Event, *, at_once: int = 4, pause: float = 0.02) -> None:
        """Write until stopped."""

        async def client() -> None:
            while not stop.is_set():
                await self._operation()
                await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(client())

    async def _operation(self) -> None:
        choice = self.random.random()
        if self.random.random() < self.posts_share:
            await (self._edit_post() if self.articles and choice < 0.7 else self._post())
        elif choice < 0.12:
            await self._change("edit")
        elif choice < 0.18:
            await self._change("remove")
        else:
            await self._comment()

    async def _comment(self) -> None:
        post = self.random.choice(self.posts)
        comments = self.comments.setdefault(post, [])
        text, who = _text(), self.random.choice(self.people)
        body: dict[str, Any] = {"body": text}
        parent = self.random.choice(comments[-LATELY:])[0] if comments and self.random.random() < 0.67 else None
        if parent is not None:
            body["parent_id"] = str(parent)
        operation = self.ledger.intend(text)
        await self._send_until_final(operation, who, "POST", f"/v1/posts/{post}/comments", body, above=parent)
        if operation.subject:
            comments.append((operation.subject, who))

    async def _change(self, kind: Kind) -> None:
        """Edit or remove one of the latest comments that no other client works on."""
        comments = self.comments.setdefault(self.random.choice(self.posts), [])
        if not comments:
            return
        subject, who = comments.pop(self.random.randrange(max(0, len(comments) - LATELY), len(comments)))
        text = _text()
        operation = self.ledger.intend(text, kind=kind, subject=subject)
        if kind == "remove":
            self.disturbed.add(subject)
            await self._send_until_final(operation, who, "DELETE", f"/v1/comments/{subject}", None)
        else:
            await self._send_until_final(operation, who, "PATCH", f"/v1/comments/{subject}", {"body": text})
            if operation.outcome == "ok":
                comments.append((subject, who))

    async def _post(self) -> None:
        text = _text()
        operation = self.ledger.intend(text, "posts")
        body = {"title": f"On {text}", "body": text, "publish": True}
        await self._send_until_final(operation, self.author, "POST", "/v1/posts", body)
        if operation.subject:
            self.articles.append(operation.subject)

    async def _edit_post(self) -> None:
        subject = self.articles.pop(self.random.randrange(len(self.articles)))
        text = _text()
        operation = self.ledger.intend(text, "posts", "edit", subject)
        await self._send_until_final(operation, self.author, "PATCH", f"/v1/posts/{subject}", {"body": text})
        if operation.outcome == "ok":
            self.articles.append(subject)

    async def _send_until_final(
        self,
        operation: Operation,
        who: Person,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        *,
        above: UUID | None = None,
    ) -> None:
        """Repeat the same request under one key until its answer is final or the client's patience is over."""
        key = {"Idempotency-Key": str(uuid4())}
        begun = time.monotonic()
        while time.monotonic() - begun < self.patience:
            operation.attempts += 1
            try:
                answer = await self.client.call(method, path, body, who=who, headers=key)
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.1)
                continue
            if answer.status in (200, 201, 204):
                operation.outcome, operation.seconds = "ok", time.monotonic() - begun
                if operation.kind == "write":
                    operation.subject = UUID(answer.json["id"])
                return
            if answer.status in (503, 409):
                await asyncio.sleep(0.1)
                continue
            operation.outcome = "failed"
            if answer.status == 422 and above in self.disturbed:
                return  # its parent was removed meanwhile
            raise AssertionError(f"{method} {path}: {answer.status}: {answer.body!r}")


def _text() -> str:
    return f"word {uuid4()}"
