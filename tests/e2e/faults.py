"""Real faults of a running system. Each is there inside its block, and mended after it."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import asyncpg

from services.chassis.identity import Signer
from services.contracts.topics import POSTS
from tests.e2e.own_system import GARBAGE, OwnSystem

PAUSED = 5  # a partition
MUCH = 1_100  # records
STOPPED_SECONDS, RUNNING_SECONDS = 1.6, 0.4  # of each two seconds: a process with a fifth of the time that it needs


@asynccontextmanager
async def mail_server_away(system: OwnSystem) -> AsyncIterator[None]:
    async with system.sink.gone():
        await system.answer_ben()
        asked = await system.client.call("POST", "/v1/people", {"name": "Cem", "email": "cem@example.com"})
        assert asked.status == 202, asked.body
        yield


@asynccontextmanager
async def one_garbage_record(system: OwnSystem) -> AsyncIterator[None]:
    """Write one record that is put aside: nothing is left to mend."""
    await system.garbage(1)
    yield


@asynccontextmanager
async def much_garbage(system: OwnSystem) -> AsyncIterator[None]:
    """Write more records in a row than are put aside: the partition stops, until an operator skips them."""
    await system.garbage(30)
    try:
        yield
    finally:
        seen = await system.garbage_partition()
        place = ("comments", POSTS.name, str(GARBAGE), f"{seen['next_offset']}..{seen['end'] - 1}")
        await system.rapport("consumer", "skip", *place)


@asynccontextmanager
async def partition_paused(system: OwnSystem) -> AsyncIterator[None]:
    await system.rapport("consumer", "pause", "comments", POSTS.name, str(PAUSED))
    try:
        yield
    finally:
        await system.rapport("consumer", "resume", "comments", POSTS.name, str(PAUSED))


@asynccontextmanager
async def mail_paused(system: OwnSystem) -> AsyncIterator[None]:
    await system.rapport("mail", "pause", "--why", "a trial")
    try:
        yield
    finally:
        await system.rapport("mail", "resume")


@asynccontextmanager
async def publisher_stopped(system: OwnSystem) -> AsyncIterator[None]:
    system.stack.part("posts", "publisher").stop()
    await system.schedule_a_post()
    try:
        yield
    finally:
        await system.stack.start("posts", "publisher")


@asynccontextmanager
async def relay_stopped(system: OwnSystem) -> AsyncIterator[None]:
    system.stack.part("posts", "relay").stop()
    try:
        yield
    finally:
        await system.stack.start("posts", "relay")


@asynccontextmanager
async def second_owner(system: OwnSystem) -> AsyncIterator[None]:
    """Run a relay of posts on another database: the copy that somebody has made, or a wrong address."""
    stack = system.stack
    admin = await asyncpg.connect(system.servers.postgres_url("postgres"))
    try:
        await admin.execute(f'create database "{stack.name}_copy"')
    finally:
        await admin.close()
    there = system.servers.postgres_url(f"{stack.name}_copy")
    migration = await stack.start("posts", "migrate", name="migrate the copy", wait=False, POSTS_DATABASE_URL=there)
    assert await asyncio.to_thread(migration.process.wait, 60) == 0, migration.tail()
    del stack.parts["posts", "migrate the copy"]
    second = await stack.start("posts", "relay", name="relay of the copy", POSTS_DATABASE_URL=there)
    try:
        yield
    finally:
        second.stop()
        del stack.parts["posts", "relay of the copy"]


@asynccontextmanager
async def people_killed(system: OwnSystem) -> AsyncIterator[None]:
    system.stack.part("people").kill()
    try:
        yield
    finally:
        await system.stack.start("people")


@asynccontextmanager
async def mixed_versions(system: OwnSystem) -> AsyncIterator[None]:
    """Run a second relay of comments that is still of the version before."""
    about = system.stack.folder / "before/rapport-0.0.1.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rapport\nVersion: 0.0.1\n")
    old = await system.stack.start("comments", "relay", name="old relay", PYTHONPATH=str(about.parent))
    try:
        yield
    finally:
        old.stop()
        del system.stack.parts["comments", "old relay"]


@asynccontextmanager
async def valkey_stopped(system: OwnSystem) -> AsyncIterator[None]:
    await asyncio.to_thread(system.servers.valkey.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(system.servers.valkey.start)


@asynccontextmanager
async def consumer_stopped(system: OwnSystem) -> AsyncIterator[None]:
    system.stack.part("notify", "consumer").stop()
    await system.unknown_events(MUCH)
    try:
        yield
    finally:
        await system.stack.start("notify", "consumer")


@asynccontextmanager
async def kafka_stopped(system: OwnSystem) -> AsyncIterator[None]:
    await asyncio.to_thread(system.servers.broker.stop)
    await system.answer_ben()
    try:
        yield
    finally:
        await asyncio.to_thread(system.servers.broker.start)


@asynccontextmanager
async def table_locked(system: OwnSystem) -> AsyncIterator[None]:
    """Lock the table of posts, as a careless change of it does, while people read posts."""
    token = Signer(system.stack.keys["GATEWAY_SIGNING_KEY"], "gateway").token("posts")
    holder = await asyncpg.connect(system.stack.database_urls["posts"])
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{system.stack.ports['posts']}", headers={"Authorization": f"Bearer {token}"}
    ) as session:

        async def read() -> None:
            async with session.get(f"/posts/{system.post_id}") as answer:
                assert answer.status in (200, 503), await answer.text()

        try:
            async with holder.transaction():
                await holder.execute("lock table posts in access exclusive mode")
                async with _repeated(read, times=15):
                    yield
        finally:
            await holder.close()


@asynccontextmanager
async def processor_short(system: OwnSystem) -> AsyncIterator[None]:
    """Let a process run for a fifth of the time, as a limit of its container does."""
    part = system.stack.part("notify", "api")

    async def hold() -> None:
        part.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(STOPPED_SECONDS)
        finally:
            part.signal(signal.SIGCONT)
        await asyncio.sleep(RUNNING_SECONDS)

    async with _repeated(hold):
        yield


@asynccontextmanager
async def _repeated(work: Callable[[], Awaitable[None]], times: int = 1) -> AsyncIterator[None]:
    """Repeat the work inside the block, so many times at once."""

    async def repeat() -> None:
        while True:
            await work()

    tasks = [asyncio.create_task(repeat()) for _ in range(times)]
    try:
        yield
        assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
