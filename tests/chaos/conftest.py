"""A system of its own, on servers of its own, split into one process per role: everything in it may be killed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.chaos.ledger import Findings, Ledger
from tests.chaos.writers import Writers
from tests.client import Client
from tests.servers import PrivateServers
from tests.smtp_sink import SmtpSink
from tests.stack import Stack


@dataclass
class Scene:
    """The system, its clients and their ledger."""

    stack: Stack
    servers: PrivateServers
    client: Client
    sink: SmtpSink
    ledger: Ledger
    writers: Writers

    @asynccontextmanager
    async def writing(self, *, at_once: int = 4, pause: float = 0.02) -> AsyncIterator[None]:
        """Clients write and answer each other as long as the block lasts."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.writers.keep_writing(stop, at_once=at_once, pause=pause))
            try:
                yield
            finally:
                stop.set()

    def person_id(self, number: int) -> UUID:
        return UUID(self.writers.people[number].id)

    async def verdict(self, timeout: float = 400) -> Findings:
        """Wait for rest, count, and fail on everything that must be 0."""
        await self.ledger.rest(timeout)
        findings = await self.ledger.count()
        print(findings)
        assert not findings.wrong(), findings
        return findings


@pytest.fixture(scope="package")
async def scene(
    private_servers: PrivateServers, session_sink: SmtpSink, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("chaos")
    stack = Stack(
        private_servers,
        folder,
        session_sink.port,
        name=f"chaos_{uuid4().hex[:8]}",
        overrides={"SMTP_USERNAME": "rapport", "SMTP_PASSWORD": "correct", "SMTP_TIMEOUT_SECONDS": "5"},
    )
    session_sink.offers.append("AUTH PLAIN LOGIN")
    try:
        await stack.prepare()
        await stack.up("comments", "notify")
        async with Client(stack.url, session_sink, timeout=10) as client:
            admin = await client.sign_in("Ada", "admin@example.com")
            people = [await client.sign_in(f"Person {n}", f"person{n}@example.com") for n in range(4)]
            posts = [(await client.publish(admin, title=f"Post {n}"))["id"] for n in range(3)]
            ledger = Ledger(stack, session_sink)
            yield Scene(stack, private_servers, client, session_sink, ledger, Writers(client, ledger, people, posts))
    finally:
        stack.down()
        session_sink.offers.remove("AUTH PLAIN LOGIN")
