"""A system whose services are replaced, one after another, by what a backup holds, while people read and write."""

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg

from tests.client import Client, HttpResponse, Person
from tests.e2e.test_operator_command import Ended, rapport
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.servers import PrivateServers, free_port
from tests.smtp_sink import Mail, SmtpSink
from tests.stack import DATABASES, Part, Stack
from tests.waiting import eventually

COMMENT = re.compile(r"#c-([0-9a-f-]{36})")
ROLES = {
    "posts": ("api", "relay", "publisher", "consumer"),
    "comments": ("api", "relay", "consumer"),
    "people": ("api", "relay", "mailer"),
    "notify": ("api", "relay", "consumer", "mailer"),
}
READS_AT_ONCE, WRITES_AT_ONCE = 4, 2


@dataclass
class Traffic:
    """What readers and writers were answered.

    Attributes:
        answers: reads by path and status; 0 for no answer.
        written: ids of the comments that were accepted.
    """

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    written: list[str] = field(default_factory=list)

    @property
    def reads(self) -> int:
        return self.answers.total()

    @property
    def good(self) -> float:
        """Return the share of reads that succeeded."""
        return sum(count for (_, status), count in self.answers.items() if status == 200) / max(1, self.reads)

    @property
    def bad(self) -> dict[tuple[str, int], int]:
        return {key: count for key, count in self.answers.items() if key[1] != 200}


@dataclass
class Drill:
    """The system. Each service is called through a proxy, as behind a cluster's service address.

    Attributes:
        read_paths: what readers read all the time; nothing that a drill does makes them answer anything but 200.
        busy: ids of the posts that writers comment on.
    """

    stack: Stack
    servers: PrivateServers
    sink: SmtpSink
    client: Client
    proxies: Mapping[str, FaultProxy]
    ada: Person
    people: list[Person]
    read_paths: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    traffic: Traffic = field(default_factory=Traffic)
    replaced: int = 0

    async def sql(self, service: str, *statements: str) -> Any:
        """Run statements in the database of a service in one transaction; return the last one's value."""
        connection = await asyncpg.connect(self.stack.database_urls[service])
        try:
            async with connection.transaction():
                for statement in statements[:-1]:
                    await connection.execute(statement)
                return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    async def command(self, *arguments: str, status: int = 0) -> Ended:
        """Run `rapport` and expect this exit status."""
        ended = await rapport(self.stack, *arguments)
        assert ended.status == status, (arguments, ended)
        return ended

    async def check(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        ended = await rapport(self.stack, "check", "--json", *arguments)
        return ended.status, json.loads(ended.out)

    async def at_rest(self, timeout: float = 300) -> None:
        """Wait until every event is published and handled, and no mail is due."""

        async def is_so() -> bool:
            for service in DATABASES:
                if await self.sql(service, "select count(*) from outbox where published_at is null"):
                    return False
            due = "select count(*) from notifications where state = 'waiting' and due_at <= now()"
            return not await self.sql("notify", due)

        await eventually(is_so, timeout=timeout, pause=0.25)

    async def retried(self, method: str, path: str, body: object, who: Person) -> HttpResponse:
        """Send a request of which nothing may be lost, until the answer is final; sign in again where that is asked."""
        key = {"Idempotency-Key": str(uuid4())}
        answers: list[HttpResponse] = []

        async def final() -> bool:
            token = who.access_token
            try:
                answers.append(await self.client.call(method, path, body, who=who, headers=key))
            except (aiohttp.ClientError, TimeoutError):
                return False
            if answers[-1].status == 401:
                await self._sign_in(who, token)
                return False
            return answers[-1].status not in (429, 503)

        await eventually(final, timeout=90, pause=0.1)
        return answers[-1]

    async def comment(self, who: Person, post: str, text: str, parent: str | None = None) -> str:
        body = {"body": text} | ({"parent_id": parent} if parent else {})
        made = await self.retried("POST", f"/v1/posts/{post}/comments", body, who)
        assert made.status == 201, made.body
        return str(made.json["id"])

    @asynccontextmanager
    async def load(self) -> AsyncIterator[Traffic]:
        """Let people read and write inside the block."""
        self.traffic = Traffic()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(READS_AT_ONCE):
                group.create_task(self._read(stop, number))
            for number in range(WRITES_AT_ONCE):
                group.create_task(self._write(stop, number))
            try:
                yield self.traffic
            finally:
                stop.set()

    async def _read(self, stop: asyncio.Event, number: int) -> None:
        while not stop.is_set():
            path = self.read_paths[number % len(self.read_paths)]
            number += 1
            try:
                status = (await self.client.call("GET", path)).status
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            self.traffic.answers[path, status] += 1
            await asyncio.sleep(0.02)

    async def _write(self, stop: asyncio.Event, number: int) -> None:
        while not stop.is_set():
            who, post = self.people[number % len(self.people)], self.busy[number % len(self.busy)]
            number += 1
            body = {"body": f"Under load {uuid4()}"}
            made = await self.retried("POST", f"/v1/posts/{post}/comments", body, who)
            if made.status == 201:
                self.traffic.written.append(made.json["id"])
            await asyncio.sleep(0.1)

    async def sign_in_again(self) -> None:
        """Start a session for everybody: a restore of people ends all."""
        for who in (self.ada, *self.people):
            await self._sign_in(who, who.access_token)

    async def _sign_in(self, who: Person, ended: str) -> None:
        """Start a session for somebody whose token is not accepted any more, unless it was replaced meanwhile."""
        async with who.refreshing:
            if who.access_token == ended:
                fresh = await self.client.sign_in(who.name, who.email)
                who.access_token, who.refresh_token = fresh.access_token, fresh.refresh_token

    async def replace(self, service: str, backup: Path) -> Sequence[str]:
        """Put what a backup holds in the place of a service's database; return the commands that `restore` says to run.

        The old API answers until the new one is ready; what reads and writes events is stopped before.
        """
        old = {role: self.stack.parts.pop((service, role)) for role in ROLES[service]}
        for role in ROLES[service]:
            if role != "api":
                await asyncio.to_thread(old[role].stop)
        await self._new_database(service)
        said = json.loads((await self.command("restore", str(backup), service, "--json")).out)
        self.stack.ports[service] = free_port()
        await self.stack.start(service, "api")
        self.proxies[service].target = self.stack.ports[service]
        await asyncio.to_thread(old["api"].stop)
        for role in ROLES[service]:
            if role != "api":
                await self.stack.start(service, role)
        print(service, said["services"][0]["rows"], "rows;", said["services"][0]["counters"])
        return [str(command) for command in said["next"]]

    async def _new_database(self, service: str) -> None:
        self.replaced += 1
        name = f"{self.stack.name}_{service}_{self.replaced}"
        admin = await asyncpg.connect(self.servers.postgres_url("postgres"))
        try:
            await admin.execute(f'create database "{name}"')
        finally:
            await admin.close()
        self.stack.database_urls[service] = self.servers.postgres_url(name)
        migrating: Part = await self.stack.start(service, "migrate", wait=False)
        assert await asyncio.to_thread(migrating.process.wait, 60) == 0, migrating.tail()
        del self.stack.parts[service, "migrate"]

    def notifications(self) -> dict[tuple[str, str], list[Mail]]:
        """Return the notification mails by recipient and comment."""
        found: dict[tuple[str, str], list[Mail]] = defaultdict(list)
        for mail in self.sink.messages:
            if mail.message["List-Unsubscribe"] is None:
                continue
            link = COMMENT.search(mail.text)
            assert link is not None, mail.text
            found[mail.recipients[0], link[1]].append(mail)
        return found


@asynccontextmanager
async def drilled(servers: PrivateServers, sink: SmtpSink, folder: Path) -> AsyncIterator[Drill]:
    """Run a whole system with one process for each role, and people who are signed in."""
    async with AsyncExitStack() as exits:
        proxies = {name: await exits.enter_async_context(fault_proxy(0)) for name in DATABASES}
        addresses = {f"{name.upper()}_URL": f"http://127.0.0.1:{proxy.port}" for name, proxy in proxies.items()}
        stack = Stack(servers, folder, sink.port, name=f"drill_{uuid4().hex[:8]}", overrides=addresses)
        for name, proxy in proxies.items():
            proxy.target = stack.ports[name]
        exits.callback(stack.down)
        await stack.prepare()
        await stack.up(*DATABASES)
        client = await exits.enter_async_context(Client(stack.url, sink, timeout=10))
        ada = await client.sign_in("Ada", "admin@example.com")
        people = [await client.sign_in(f"Person {n}", f"drilled{n}@example.com") for n in range(3)]
        yield Drill(stack, servers, sink, client, proxies, ada, people)
