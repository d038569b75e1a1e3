"""Clients that go on writing whatever happens, and say honestly what they were told."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp

from tests.chaos.ledger import Ledger, Operation
from tests.client import Client, Person

PATIENCE = 40


@dataclass
class Writers:
    """People who comment and answer each other on some posts.

    Attributes:
        patience: seconds after which a client gives up on an operation and its outcome stays unknown.
    """

    client: Client
    ledger: Ledger
    people: list[Person]
    posts: list[str]
    seed: int = 1
    patience: float = PATIENCE
    known: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # choices of a test, not secrets

    async def write(self, count: int, *, at_once: int = 4, pause: float = 0.0) -> None:
        """`count` comments by `at_once` clients; two of three answer an earlier one."""
        left = iter(range(count))

        async def client() -> None:
            for _ in left:
                await self._comment()
                await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(client())

    async def keep_writing(self, stop: asyncio.Event, *, at_once: int = 4, pause: float = 0.02) -> None:
        """Write until told to stop."""

        async def client() -> None:
            while not stop.is_set():
                await self._comment()
                await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(client())

    async def _comment(self) -> None:
        post = self.random.choice(self.posts)
        parents = self.known.setdefault(post, [])
        text = f"word {uuid4()}"
        body: dict[str, Any] = {"body": text}
        if parents and self.random.random() < 0.67:
            body["parent_id"] = self.random.choice(parents[-20:])
        operation = self.ledger.intend(text)
        await self._insist(operation, self.random.choice(self.people), f"/v1/posts/{post}/comments", body)
        if operation.comment_id:
            parents.append(operation.comment_id)

    async def _insist(self, operation: Operation, who: Person, path: str, body: dict[str, Any]) -> None:
        key = {"Idempotency-Key": str(uuid4())}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience
        while loop.time() < deadline:
            operation.attempts += 1
            try:
                answer = await self.client.call("POST", path, body, who=who, headers=key)
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.1)
                continue
            if answer.status == 201:
                operation.outcome, operation.comment_id = "ok", answer.json["id"]
                return
            if answer.status in (503, 409, 500):
                assert answer.status != 500, answer.body
                await asyncio.sleep(0.1)
                continue
            operation.outcome = "failed"
            raise AssertionError(f"{answer.status}: {answer.body!r}")
