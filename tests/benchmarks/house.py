"""The system under measurement, with people, posts and threads in it."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from services.chassis.client.client import ServiceClient, within
from services.chassis.identity import Signer
from services.contracts.event import rfc3339
from tests.benchmarks import cores
from tests.client import Client, Person
from tests.servers import PrivateServers
from tests.smtp_sink import SmtpSink, listening
from tests.stack import Stack

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
AT_ONCE = 16  # one thread is written by one transaction at a time, and nobody waits long for a connection


@dataclass(frozen=True)
class House:
    """A running system, its processes pinned, and who is in it."""

    stack: Stack
    servers: PrivateServers
    sink: SmtpSink
    client: Client
    admin: Person
    people: list[Person]
    posts: list[str]
    idle: dict[str, float]

    @property
    def port(self) -> int:
        """Where the gateway answers."""
        return self.stack.ports["gateway"]

    async def publish(self, title: str) -> str:
        post_id: str = (await self.client.publish(self.admin, title=title))["id"]
        return post_id

    async def import_thread(self, post_id: str, count: int) -> None:
        """`count` comments on a post, every second one an answer, through the import route."""
        signer = Signer(self.stack.keys["OPERATOR_SIGNING_KEY"], "operator")
        comments = ServiceClient(f"http://127.0.0.1:{self.stack.ports['comments']}", "comments", signer)
        site = f"bench-{uuid4()}"

        async def one(number: int) -> None:
            body: dict[str, Any] = {
                "site": site,
                "source_id": str(number),
                "post_id": post_id,
                "author_id": self.admin.id,
                "body": f"<p>Comment {number} has a few words to say, and then a few more, as comments do.</p>" * 4,
                "created_at": rfc3339(BEGINNING + timedelta(seconds=number)),
            }
            if number % 2:
                body["parent_source_id"] = str(number - 1)
            answer = await comments.call("POST", "/import/comments", caller=None, body=body, deadline=within(60))
            assert answer.status == 201, answer.data

        for first in range(0, count, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, count))
            for parity in (0, 1):
                await asyncio.gather(*(one(number) for number in numbers if number % 2 == parity))
        await comments.close()


@asynccontextmanager
async def built() -> AsyncIterator[House]:
    """Started, signed in, eight posts published; taken down at the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        servers = PrivateServers(Path(folder))
        async with listening() as sink:
            stack = Stack(servers, Path(folder), sink.port, name=f"bench_{uuid4().hex[:8]}")
            try:
                await stack.prepare()
                await stack.up()
                idle = cores.sizes(stack)
                async with Client(stack.url, sink) as client:
                    admin = await client.sign_in("Ada", "admin@example.com")
                    people = [await client.sign_in(f"Person {n}", f"person{n}@example.com") for n in range(8)]
                    posts = [(await client.publish(admin, title=f"Post {n}"))["id"] for n in range(8)]
                    cores.pin_all(stack, servers)
                    yield House(stack, servers, sink, client, admin, people, posts, idle)
            finally:
                stack.down()
                servers.stop()
