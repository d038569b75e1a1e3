"""Mails of one test: what causes them, their rows, and the copies that arrived."""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from uuid import UUID, uuid4

import asyncpg

from tests.chaos.conftest import System
from tests.client import Person
from tests.waiting import eventually

ID = re.compile(rb"(?im)^message-id:\s*(<[^>]+>)")
NOTIFICATION = re.compile(rb"(?im)^list-id:")

MADE = "select count(*) from notifications where comment_id = any($1)"
CLAIMABLE = """
select count(*) from notifications
where state = 'waiting' and due_at <= now() and (lease_until is null or lease_until < now())
"""
STILL_WAITING = "select message_id from notifications where state = 'waiting' and message_id = any($1)"
ENDED = "select state, count(*) from notifications where state <> 'waiting' group by state"
ATTEMPTS = "select coalesce(sum(attempts), 0) from notifications"
SUPPRESSED = "select count(*) from suppressions"


class Mails:
    """Causes mails, and collects every notification that arrives from the moment `begin` returns.

    Attributes:
        arrived: every copy of each mail, by Message-ID.
        caused: how many mails `cause` asked for.
    """

    def __init__(self, system: System) -> None:
        self.system = system
        self.arrived: dict[str, list[bytes]] = defaultdict(list)
        self.caused = 0
        self._comments: list[UUID] = []
        self._read = len(system.sink.messages)

    @classmethod
    async def begin(cls, system: System) -> Self:
        """Begin to collect once nothing of earlier tests is in progress: their mails would count as this test's."""
        await system.ledger.rest(timeout=400)
        return cls(system)

    async def cause(self, count: int, *, at_once: int = 8) -> None:
        """Write comments that make exactly `count` mails, and wait until notify has recorded them all.

        A comment makes one mail, to the author of the post; a reply makes two, the other to the author of its parent.
        """
        threads = iter([3] * (count // 3) + [1] * (count % 3))

        async def client(number: int) -> None:
            people, posts = self.system.writers.people, self.system.writers.posts
            who, other = people[number % len(people)], people[(number + 1) % len(people)]
            for size in threads:
                root = await self._write_comment(who, posts[number % len(posts)])
                if size == 3:
                    await self._write_comment(other, posts[number % len(posts)], root)

        async with asyncio.TaskGroup() as group:
            for number in range(at_once):
                group.create_task(client(number))
        self.caused += count

        async def recorded() -> bool:
            return bool(await self.value(MADE, self._comments) >= self.caused)

        await eventually(recorded, timeout=300, pause=0.1)

    async def keep_claimable(self, count: int) -> None:
        """Cause `count` more, unless so many wait for a mailer already."""
        if await self.value(CLAIMABLE) < count:
            await self.cause(count)

    async def _write_comment(self, who: Person, post: str, parent: str | None = None) -> str:
        operation = self.system.ledger.intend(f"text {uuid4()}")
        comment = await self.system.client.comment(who, post, operation.text, parent)
        operation.outcome, operation.subject = "ok", UUID(comment["id"])
        self._comments.append(operation.subject)
        return str(comment["id"])

    async def rows(self, sql: str, *values: object) -> list[Any]:
        """Return rows of notify's database."""
        connection = await asyncpg.connect(self.system.stack.database_urls["notify"])
        try:
            return list(await connection.fetch(sql, *values))
        finally:
            await connection.close()

    async def value(self, sql: str, *values: object) -> Any:
        return (await self.rows(sql, *values))[0][0]

    async def ended(self) -> Counter[str]:
        """Return how many notifications of the whole system have ended in each state."""
        return Counter({row["state"]: row["count"] for row in await self.rows(ENDED)})

    def so_far(self) -> int:
        """Return how many different mails have arrived."""
        self._collect()
        return len(self.arrived)

    def _collect(self) -> list[str]:
        """Collect what has arrived since the last call; return its Message-IDs in that order."""
        fresh = []
        for mail in self.system.sink.messages[self._read :]:
            head = mail.content.partition(b"\r\n\r\n")[0]
            found = ID.search(head)
            if found and NOTIFICATION.search(head):
                fresh.append(found[1].decode())
                self.arrived[fresh[-1]].append(mail.content)
        self._read = len(self.system.sink.messages)
        return fresh

    async def left_open(self) -> Counter[str]:
        """Return the copies that arrived since the last call although their rows still wait: they will arrive again."""
        fresh = Counter(self._collect())
        waiting = {row["message_id"] for row in await self.rows(STILL_WAITING, list(fresh))}
        return Counter({message_id: copies for message_id, copies in fresh.items() if message_id in waiting})

    def again(self) -> Counter[str]:
        """Return how often each mail arrived beyond the first time; all its copies must be the same to the byte."""
        self._collect()
        assert all(len(set(copies)) == 1 for copies in self.arrived.values())
        return Counter({message_id: len(copies) - 1 for message_id, copies in self.arrived.items() if len(copies) > 1})

    @asynccontextmanager
    async def mailer_with(self, **environment: Any) -> AsyncIterator[None]:
        """Run notify's mailer with other settings inside the block."""
        stack = self.system.stack
        await asyncio.to_thread(stack.part("notify", "mailer").stop)
        await stack.start("notify", "mailer", **environment)
        try:
            yield
        finally:
            await asyncio.to_thread(stack.part("notify", "mailer").stop)
            await stack.start("notify", "mailer")
