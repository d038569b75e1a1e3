"""A separate system on separate servers, one process per role, so that tests may kill every part of it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import pytest

from tests.chaos.findings import Findings
from tests.chaos.ledger import Ledger
from tests.chaos.writers import Writers
from tests.client import Client, Person
from tests.servers import PrivateServers
from tests.smtp_sink import SmtpSink
from tests.stack import Stack
from tests.waiting import eventually

BUSY = re.compile(r"^rapport_database_connections_busy{.*} (\S+)$", re.MULTILINE)


@dataclass
class System:
    """The system, its clients and their ledger."""

    stack: Stack
    servers: PrivateServers
    client: Client
    sink: SmtpSink
    ledger: Ledger
    writers: Writers

    @asynccontextmanager
    async def without_mail(self) -> AsyncIterator[None]:
        """Turn notification mails off inside the block, for tests of the steps before them."""
        await self._set_notifications(False)
        try:
            yield
        finally:
            await self._set_notifications(True)

    async def _set_notifications(self, wanted: bool) -> None:
        for who in (self.writers.author, *self.writers.people):

            async def succeeded(who: Person = who) -> bool:
                answer = await self.client.call("PATCH", "/v1/me/mail", {"notifications": wanted}, who=who)
                return answer.status == 200

            await eventually(succeeded, timeout=60)

    @asynccontextmanager
    async def writing(self, *, at_once: int = 4, pause: float = 0.02) -> AsyncIterator[None]:
        """Let clients write and reply inside the block."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.writers.keep_writing(stop, at_once=at_once, pause=pause))
            try:
                yield
            finally:
                stop.set()

    async def busy_connections(self) -> int:
        """Return how many pooled connections of all processes are in use."""
        found = 0
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            for part in self.stack.parts.values():
                if part.alive:
                    async with session.get(f"http://127.0.0.1:{part.metrics_port}/metrics") as answer:
                        found += sum(int(float(count)) for count in BUSY.findall(await answer.text()))
        return found

    def person_id(self, number: int) -> UUID:
        return UUID(self.writers.people[number].id)

    async def verdict(self, timeout: float = 400) -> Findings:
        """Wait until nothing is in progress, count, and fail on every count that must be 0."""
        await self.ledger.rest(timeout)
        findings = await self.ledger.count()
        print(findings)
        assert not findings.wrong(), findings
        return findings


@pytest.fixture(scope="package")
async def system(
    private_servers: PrivateServers, session_sink: SmtpSink, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
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
        await stack.up("posts", "comments", "notify")
        async with Client(stack.url, session_sink, timeout=10, stays=True) as client:
            admin = await client.sign_in("Ada", "admin@example.com")
            people = [await client.sign_in(f"Person {n}", f"person{n}@example.com") for n in range(4)]
            posts = [(await client.publish(admin, title=f"Post {n}"))["id"] for n in range(3)]
            ledger = Ledger(stack, session_sink)
            writers = Writers(client, ledger, admin, people, posts)
            yield System(stack, private_servers, client, session_sink, ledger, writers)
    finally:
        stack.down()
        session_sink.offers.remove("AUTH PLAIN LOGIN")
