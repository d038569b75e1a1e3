"""Mails of one test: what causes them, the rows in which they wait, and what has arrived of them."""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from tests.chaos.conftest import Scene
from tests.client import Person
from tests.waiting import eventually

ID = re.compile(rb"(?im)^message-id:\s*(<[^>]+>)")
NOTIFICATION = re.compile(rb"(?im)^list-id:")

MADE = "select count(*) from notifications"
CLAIMABLE = """
select count(*) from notifications
where state = 'waiting' and due_at <= now() and (lease_until is null or lease_until < now())
"""
STILL_WAITING = "select message_id from notifications where state = 'waiting' and message_id = any($1)"
ENDED = "select state, count(*) from notifications where state <> 'waiting' group by state"
ATTEMPTS = "select coalesce(sum(attempts), 0) from notifications"
SUPPRESSED = "select count(*) from suppressions"


class Mails:
    """From the moment it is made: what is caused through it, and every notification that arrives.

    Attributes:
        arrived: every copy of each mail, by Message-ID.
        caused: how many mails `cause` asked for.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.arrived: dict[str, list[bytes]] = defaultdict(list)
        self.caused = 0
        self._read = len(scene.sink.messages)

    async def cause(self, count: int, *, at_once: int = 8) -> None:
        """Write comments that make exactly `count` mails, and wait until notify has heard of them all.

        A comment makes one mail, to the author of the post; an answer makes two, the other to whom it answers.
        """
        before = await self.value(MADE)
        threads = iter([3] * (count // 3) + [1] * (count % 3))

        async def client(number: int) -> None:
            people, posts = self.scene.writers.people, self.scene.writers.posts
            who, other = people[number % len(people)], people[(number + 1) % len(people)]
            for size in threads:
                root = await self._say(who, posts[number % len(posts)])
                if size == 3:
                    await self._say(other, posts[number % len(posts)], root)

        async with asyncio.TaskGroup() as group:
            for number in range(at_once):
                group.create_task(client(number))
        self.caused += count

        async def heard() -> bool:
            return bool(await self.value(MADE) >= before + count)

        await eventually(heard, timeout=300, pause=0.1)

    async def keep_claimable(self, count: int) -> None:
        """Cause `count` more, unless so many wait for a mailer already."""
        if await self.value(CLAIMABLE) < count:
            await self.cause(count)

    async def _say(self, who: Person, post: str, parent: str | None = None) -> str:
        operation = self.scene.ledger.intend(f"word {uuid4()}")
        said = await self.scene.client.comment(who, post, operation.text, parent)
        operation.outcome, operation.subject = "ok", UUID(said["id"])
        return str(said["id"])

    async def rows(self, sql: str, *values: object) -> list[Any]:
        """What notify's database answers."""
        connection = await asyncpg.connect(self.scene.stack.database_urls["notify"])
        try:
            return list(await connection.fetch(sql, *values))
        finally:
            await connection.close()

    async def value(self, sql: str) -> Any:
        return (await self.rows(sql))[0][0]

    async def ended(self) -> Counter[str]:
        """How many notifications of the whole scene have ended in each state."""
        return Counter({row["state"]: row["count"] for row in await self.rows(ENDED)})

    def so_far(self) -> int:
        """How many different mails have arrived."""
        self._look()
        return len(self.arrived)

    def _look(self) -> list[str]:
        """The Message-IDs of what has arrived since the last look, in that order."""
        fresh = []
        for mail in self.scene.sink.messages[self._read :]:
            head = mail.content.partition(b"\r\n\r\n")[0]
            found = ID.search(head)
            if found and NOTIFICATION.search(head):
                fresh.append(found[1].decode())
                self.arrived[fresh[-1]].append(mail.content)
        self._read = len(self.scene.sink.messages)
        return fresh

    async def left_open(self) -> Counter[str]:
        """Copies that arrived since the last look, although their rows do not know: they will arrive again."""
        fresh = Counter(self._look())
        waiting = {row["message_id"] for row in await self.rows(STILL_WAITING, list(fresh))}
        return Counter({message_id: copies for message_id, copies in fresh.items() if message_id in waiting})

    def again(self) -> Counter[str]:
        """How often each mail arrived beyond the first time, each time the same to the byte."""
        self._look()
        assert all(len(set(copies)) == 1 for copies in self.arrived.values())
        return Counter({message_id: len(copies) - 1 for message_id, copies in self.arrived.items() if len(copies) > 1})

    @asynccontextmanager
    async def mailer_with(self, **environment: Any) -> AsyncIterator[None]:
        """Notify's mailer with other settings inside the block."""
        stack = self.scene.stack
        await asyncio.to_thread(stack.part("notify", "mailer").stop)
        await stack.start("notify", "mailer", **environment)
        try:
            yield
        finally:
            await asyncio.to_thread(stack.part("notify", "mailer").stop)
            await stack.start("notify", "mailer")
