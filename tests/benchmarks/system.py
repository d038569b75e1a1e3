"""The system under measurement: one checkout's processes, with people, posts and threads in it."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from services.chassis.client.client import ServiceClient, within
from services.chassis.client.connection_pool import ConnectionPool
from services.chassis.identity import Signer
from services.chassis.ids import id_at
from services.contracts.event import rfc3339
from tests.benchmarks import cores
from tests.benchmarks.checkout import Checkout
from tests.benchmarks.crowd import Crowd, access_token
from tests.benchmarks.measurement import MeasurementError
from tests.client import Client, Person
from tests.servers import PrivateServers
from tests.smtp_sink import SmtpSink, listening
from tests.stack import Stack

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
AT_ONCE = 16  # one thread is written by one transaction at a time, and nobody waits long for a connection
RENDERER = 32_767  # newer than any, so that nothing renders planted texts anew
IDLE_SHARE, IDLE_SECONDS = 0.1, 0.25  # the product is idle when it uses less of one core than this for so long
SETTINGS = {"RATE_LIMITS": "on"}  # beside NOTIFY_SETTLE_SECONDS=0 of every test stack; all else is the default


PLANTED = (
    *("id", "post_id", "parent_id", "list_id", "path", "depth", "author_id", "parent_author_id", "body", "format"),
    *("body_html", "renderer_version", "state", "created_at", "reply_count", "shown_replies", "all_replies", "shown"),
    *("imported", "site", "source_id"),
)


def text_of(number: int) -> str:
    """The HTML of a comment."""
    return f"<p>Comment {number} has a few words to say, and then a few more, as comments do.</p>" * 4


def planted(post_id: UUID, count: int, authors: Sequence[UUID]) -> Iterator[tuple[object, ...]]:
    """Rows of `PLANTED`: comments of the top level, each with one reply."""
    site = f"bench-{uuid4()}"
    above: UUID | None = None
    for number in range(count):
        moment = BEGINNING + timedelta(seconds=number)
        comment_id = id_at(moment, str(number))
        path = comment_id.bytes if above is None else above.bytes + comment_id.bytes
        author, before = authors[number % len(authors)], authors[(number - 1) % len(authors)]
        replies = int(above is None and number + 1 < count)
        yield (
            *(comment_id, post_id, above, above or post_id, path, int(above is not None), author),
            *(None if above is None else before, text_of(number), "html", text_of(number), RENDERER, "visible", moment),
            *(replies, replies, replies, True, True, site, str(number)),
        )
        above = comment_id if above is None else None


@dataclass
class System:
    """A running product, and who is in it once `populate` has run.

    Attributes:
        idle: memory of each service when it had just started, in MB.
        idle_as_one: the same of one process for all services, if this checkout has one.
        idle_as_made_up: memory of the services and their supervisor as `make up` starts them; None if not measured.
        admin: signed in, with an address; the author of what `publish` publishes by default.
        reader: signed in, with an address: gets mail.
        author: has no address, so that nobody is told of comments on their posts.
        crowd: people without an address who take turns.
        observed_seconds: how long prices were measured.
        foreign_seconds: processor time that other programs took of the product's core meanwhile.
    """

    stack: Stack
    servers: PrivateServers
    sink: SmtpSink
    client: Client
    idle: dict[str, float] = field(default_factory=dict)
    idle_as_one: dict[str, float] = field(default_factory=dict)
    idle_as_made_up: float | None = None
    observed_seconds: float = 0.0
    foreign_seconds: float = 0.0
    admin: Person = field(init=False)
    reader: Person = field(init=False)
    author: Person = field(init=False)
    crowd: Crowd = field(init=False)

    @contextmanager
    def spent(self) -> Iterator[cores.Spent]:
        """See `cores.Spent`; notes how much of the product's core other programs took meanwhile."""
        begun, before = time.monotonic(), cores.busy_seconds()
        with cores.spent(self.stack, self.servers) as cost:
            yield cost
        self.observed_seconds += time.monotonic() - begun
        self.foreign_seconds += max(0.0, cores.busy_seconds() - before - cost.total)

    @property
    def port(self) -> int:
        """Where the gateway answers."""
        return self.stack.ports["gateway"]

    async def populate(self, people: int) -> None:
        """Sign in those who get mail, and import the others."""
        self.admin = await self.client.sign_in("Ada", "admin@example.com")
        self.reader = await self.client.sign_in("Rita", "reader@example.com")
        bodies = [
            {"site": "bench", "source_user_id": str(number), "name": f"Person {number}"} for number in range(people + 1)
        ]
        author, *crowd = [answer["id"] for answer in await self._import("people", "/import/people", bodies)]
        self.author = Person(author, "Person 0", "", "", "")
        self.crowd = Crowd(self._signer("people"), crowd)
        self.renew_tokens()

    def renew_tokens(self) -> None:
        """Give everybody a fresh access token."""
        signer = self._signer("people")
        self.admin.access_token = access_token(signer, self.admin.id, "admin", "reader")
        self.reader.access_token = access_token(signer, self.reader.id, "reader")
        self.author.access_token = access_token(signer, self.author.id, "author", "reader")
        self.crowd.renew()

    async def publish(self, title: str, author: Person | None = None, **fields: object) -> str:
        """Publish a post and return its id once it takes comments."""
        post_id: str = (await self.client.publish(author or self.admin, title=title, **fields))["id"]
        return post_id

    async def plant_thread(self, post_id: str, count: int, authors: Sequence[str] = ()) -> None:
        """Write `count` comments on a post into the database, every second one a reply: an import of many takes long.

        Args:
            authors: who wrote them by turns; the admin by default.
        """
        rows = list(planted(UUID(post_id), count, [UUID(one) for one in authors or [self.admin.id]]))
        database = await asyncpg.connect(self.stack.database_urls["comments"])
        try:
            async with database.transaction():
                await database.copy_records_to_table("comments", records=rows, columns=PLANTED)
                await database.execute(
                    "update discussions set visible_count = visible_count + $2 where post_id = $1", UUID(post_id), count
                )
        finally:
            await database.close()

    async def import_thread(self, post_id: str, count: int) -> None:
        """Import `count` comments on a post, every second one a reply."""
        site = f"bench-{uuid4()}"
        bodies: list[dict[str, Any]] = [
            {
                "site": site,
                "source_id": str(number),
                "post_id": post_id,
                "author_id": self.admin.id,
                "body": text_of(number),
                "created_at": rfc3339(BEGINNING + timedelta(seconds=number)),
            }
            | ({"parent_source_id": str(number - 1)} if number % 2 else {})
            for number in range(count)
        ]
        await self._import("comments", "/import/comments", bodies[0::2])
        await self._import("comments", "/import/comments", bodies[1::2])

    async def size_as_one(self) -> dict[str, float]:
        """Return the memory of one process for all services; the five run again afterwards."""
        await self.stop()
        await self.stack.up_as("one")
        sizes = cores.sizes(self.stack)
        await self.stop()
        await self.stack.up()
        return sizes

    async def restart(self) -> None:
        """Start all processes anew, and tidy the databases up.

        The layout of a process in memory, which is random, makes it some percent faster or slower as long as it lives.
        """
        await self.stop()
        for url in self.stack.database_urls.values():
            database = await asyncpg.connect(url)
            try:
                await database.execute("vacuum analyze")
                await database.execute("checkpoint")
            finally:
                await database.close()
        await self.start()

    async def stop(self) -> None:
        """End all processes in order."""
        await asyncio.gather(*(asyncio.to_thread(part.stop) for part in self.stack.parts.values()))
        self.stack.parts.clear()

    async def start(self) -> None:
        """Start all processes."""
        await self.stack.up()
        cores.pin_all(self.stack, self.servers)

    async def settle(self, timeout: float = 120) -> None:
        """Wait until the product has nothing left to do: it uses next to no processor time.

        Raises:
            MeasurementError: it is still busy after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with cores.spent(self.stack, self.servers) as cost:
                await asyncio.sleep(IDLE_SECONDS)
            if cost.total < IDLE_SHARE * IDLE_SECONDS:
                return
        raise MeasurementError(f"It was still busy after {timeout:.0f} s: {cost.by_part}.")

    def _signer(self, issuer: str) -> Signer:
        return Signer(self.stack.keys[f"{issuer.upper()}_SIGNING_KEY"], issuer)

    async def _import(self, service: str, path: str, bodies: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send each body to an import route as the operator does; the answers in the same order."""
        address = f"http://127.0.0.1:{self.stack.ports[service]}"
        room = asyncio.Semaphore(AT_ONCE)

        async def one(client: ServiceClient, body: dict[str, Any]) -> dict[str, Any]:
            async with room:
                answer = await client.call("POST", path, body=body, deadline=within(60))
            if answer.status != 201:
                raise MeasurementError(f"{path} of {service} answered {answer.status}: {answer.data[:200]!r}.")
            made: dict[str, Any] = answer.json()
            return made

        async with ConnectionPool() as connections:
            client = ServiceClient(address, service, self._signer("operator"), connections=connections)
            return await asyncio.gather(*(one(client, body) for body in bodies))


@asynccontextmanager
async def running(checkout: Checkout, say: Callable[[str], None]) -> AsyncIterator[System]:
    """Start the servers and the processes of a checkout; end them with the block."""
    say(f"starting {checkout.name} …")
    with tempfile.TemporaryDirectory() as folder:
        servers = PrivateServers(Path(folder))
        async with listening() as sink:
            stack = Stack(
                servers,
                Path(folder),
                sink.port,
                name=f"bench_{uuid4().hex[:8]}",
                overrides=SETTINGS,
                root=checkout.root,
                python=checkout.python,
                forks=False,  # their memory is measured
            )
            try:
                await stack.prepare()
                await stack.up()
                async with Client(stack.url, sink) as client:
                    yield System(stack, servers, sink, client)
            finally:
                stack.down()
                servers.stop()
