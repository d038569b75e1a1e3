"""pgbouncer in transaction mode, the real one: commands and queries pass through it; sessions of their own do not."""

import asyncio
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
import structlog

from services.chassis.database.migrations import migrate
from services.chassis.database.pool import Database, Reader
from services.chassis.database.sessions import LIMITS
from services.chassis.errors import CannotStart, Problem
from services.chassis.identity import Signer
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.runtime.process import Health
from services.chassis.runtime.settings import Settings
from services.posts import __main__ as posts
from services.posts.settings import PostsSettings
from tests.conftest import NewDatabase
from tests.installed import Installed, running_program
from tests.pgbouncer import pgbouncer, through
from tests.servers import Servers, free_port
from tests.waiting import eventually

PARALLEL = 40


@pytest.fixture(scope="module")
def pooler(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with pgbouncer(servers, tmp_path_factory.mktemp("pooler") / "transaction") as port:
        yield port


@pytest.fixture
async def session(
    new_database: NewDatabase,
    pooler: int,
    keys: dict[str, str],
    free_port: Callable[[], int],
) -> AsyncIterator[aiohttp.ClientSession]:
    """Run the API of posts behind the pooler and yield a client of it."""
    db = await new_database(*posts.PACKAGES)
    settings = PostsSettings.model_validate(
        {
            "posts_database_url": through(db.url, pooler),
            "database_pooler": "transaction",
            "posts_port": free_port(),
            "posts_metrics_port": free_port(),
            "verification_keys": keys["VERIFICATION_KEYS"],
        }
    )
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        roles = await stack.enter_async_context(posts.compose(settings, ("api",), Health()))
        running = [asyncio.ensure_future(role.run(stop)) for role in roles]
        client = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{settings.posts_port}"))

        async def answers() -> bool:
            try:
                async with client.get("/livez") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(answers)
        yield client
        stop.set()
        await asyncio.gather(*running)


Tokens = Callable[[str], Signer]


async def test_forty_requests_at_once_are_all_answered(session: aiohttp.ClientSession, signer: Tokens) -> None:
    author = uuid4()
    headers = {"Authorization": f"Bearer {signer('gateway').token('posts', author, ['author'])}"}

    async def create(number: int) -> str:
        body = {"title": f"Number {number}", "body": "Text.", "publish": True}
        async with session.post("/posts", json=body, headers=headers | {"Idempotency-Key": f"key-{number}"}) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["id"])

    async def read(post: str) -> int:
        async with session.get(f"/posts/{post}", headers=headers) as answer:
            return answer.status

    ids = await asyncio.gather(*(create(number) for number in range(PARALLEL)))
    assert len(set(ids)) == PARALLEL
    for _ in range(3):  # each statement meets connections on which others have run
        assert set(await asyncio.gather(*(read(post) for post in ids))) == {200}
    assert await asyncio.gather(*(create(number) for number in range(PARALLEL))) == ids  # replayed, not stored again


async def test_one_key_at_once_stores_one_post(session: aiohttp.ClientSession, signer: Tokens) -> None:
    token = signer("gateway").token("posts", uuid4(), ["author"])
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "one"}

    async def create() -> tuple[int, str]:
        async with session.post("/posts", json={"title": "Once", "body": "Text."}, headers=headers) as answer:
            found = await answer.json()
            return answer.status, str(found.get("id", found.get("type")))

    outcomes = set(await asyncio.gather(*(create() for _ in range(PARALLEL))))
    assert {status for status, _ in outcomes} <= {201, 409}
    assert len({id for status, id in outcomes if status == 201}) == 1


@pytest.fixture
async def pooled(new_database: NewDatabase, pooler: int) -> AsyncIterator[Database]:
    """Yield the pool of a service behind the pooler."""
    db = await new_database("services.chassis")
    behind = await Database.connect(through(db.url, pooler), name="posts", size=PARALLEL, pooler="transaction")
    yield behind
    await behind.close()


async def test_each_transaction_has_its_limits_and_leaves_none_behind(pooled: Database) -> None:
    async def limits(reader: Reader) -> list[str]:
        rows = await reader.fetch("select current_setting(name) as value from unnest($1::text[]) as name", list(LIMITS))
        return [row["value"] for row in rows]

    wanted = [value.replace("60s", "1min") for value in LIMITS.values()]  # as PostgreSQL shows it
    for _ in range(8):  # on every connection of the pooler
        async with pooled.transaction() as tx:
            assert await limits(tx) == wanted
        async with pooled.statement() as tx:
            assert await limits(tx) == wanted
        async with pooled.reader() as reader:
            assert await limits(reader) != wanted


async def test_a_waiting_command_gives_up_as_it_does_without_a_pooler(pooled: Database) -> None:
    async with pooled.transaction() as first:
        await first.fetchval("select pg_advisory_xact_lock(7)")
        with pytest.raises(Problem, match="unavailable"):
            async with pooled.transaction() as second:
                await second.fetchval("select pg_advisory_xact_lock(7)")


async def test_values_of_every_kind_pass_through(pooled: Database) -> None:
    value = {"text": "ß", "list": [1, None]}
    row = "select $1::jsonb as j, $2::uuid as u, $3::timestamptz as t, $4::uuid[] as a, $5::bytea as b"
    arguments = (value, uuid4(), datetime.now(UTC), [uuid4(), uuid4()], b"\0\xff")

    async def once() -> list[object]:
        async with pooled.reader() as reader:
            return list((await reader.fetch(row, *arguments))[0])

    assert await asyncio.gather(*(once() for _ in range(PARALLEL))) == [list(arguments)] * PARALLEL


@pytest.fixture(scope="module", params=["refuses", "ignores", "session"])
def undeclared(
    request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """Run a pooler that refuses start parameters, one that ignores them, and one in session mode that ignores them."""
    names = ("application_name", "idle_session_timeout", "session.marker", *LIMITS)
    more = "" if request.param == "refuses" else f"ignore_startup_parameters = {','.join(names)}"
    mode = "session" if request.param == "session" else "transaction"
    with pgbouncer(servers, tmp_path_factory.mktemp("pooler") / "it", mode=mode, more=more) as port:
        yield port


async def test_a_pooler_nobody_declared_is_named_in_the_log(new_database: NewDatabase, undeclared: int) -> None:
    db = await new_database("services.chassis")
    behind = await Database.connect(through(db.url, undeclared), name="posts")
    with structlog.testing.capture_logs() as logged, pytest.raises(Problem, match="unavailable"):
        await behind.answers()
    await behind.close()
    assert any("POSTS_DATABASE_URL leads to a connection pooler" in one["event"] for one in logged)
    assert any("set DATABASE_POOLER=transaction" in one["event"] for one in logged)


async def test_a_relay_refuses_a_pooler_in_one_sentence(new_database: NewDatabase, undeclared: int) -> None:
    db = await new_database("services.chassis")
    behind = await Database.connect(db.url, name="posts")
    relay = Relay(behind, through(db.url, undeclared), Producer(Settings()), Settings())
    with pytest.raises(
        CannotStart, match=r"^[^.]+: set POSTS_DATABASE_DIRECT_URL to the address of PostgreSQL itself\.$"
    ):
        await asyncio.wait_for(relay.run(asyncio.Event()), 20)
    await behind.close()


async def test_migrations_refuse_a_pooler(new_database: NewDatabase, undeclared: int) -> None:
    db = await new_database("services.chassis")
    with pytest.raises(CannotStart, match="set COMMENTS_DATABASE_DIRECT_URL"):
        await migrate(through(db.url, undeclared), ("services.chassis", "services.comments"))


@pytest.mark.parametrize("role", ["migrate", "relay", "all"])
@pytest.mark.parametrize("direct", ["none", "pooler"])
def test_a_process_without_a_direct_address_ends_with_one_sentence(
    servers: Servers, pooler: int, role: str, direct: str, free_port: Callable[[], int], keys: dict[str, str]
) -> None:
    url = through(servers.postgres_url("postgres"), pooler)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "POSTS_DATABASE_URL": url,
        "DATABASE_POOLER": "transaction",
        "POSTS_DATABASE_DIRECT_URL": url if direct == "pooler" else "",
        "POSTS_PORT": str(free_port()),
        "POSTS_METRICS_PORT": str(free_port()),
        "VERIFICATION_KEYS": keys["VERIFICATION_KEYS"],
    }
    command = [sys.executable, "-m", "services.posts", role]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "set POSTS_DATABASE_DIRECT_URL to the address of PostgreSQL itself." in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr + ended.stdout
    if direct == "none" or role == "migrate":
        assert len(ended.stderr.splitlines()) == 1


async def test_with_a_direct_address_migrations_and_relay_work(
    servers: Servers, new_database: NewDatabase, pooler: int, kafka: str, kafka_prefix: str
) -> None:
    db = await new_database(*posts.PACKAGES)
    settings = PostsSettings.model_validate(
        {
            "posts_database_url": through(db.url, pooler),
            "posts_database_direct_url": db.url,
            "database_pooler": "transaction",
            "posts_metrics_port": free_port(),
            "kafka_bootstrap_servers": kafka,
            "kafka_prefix": kafka_prefix,
        }
    )
    stop, health = asyncio.Event(), Health()
    async with posts.compose(settings, ("relay",), health) as roles:
        running = [asyncio.ensure_future(role.run(stop)) for role in roles]

        async def ready() -> bool:
            return all((await health.ready()).values())

        await eventually(ready, timeout=30)
        stop.set()
        await asyncio.gather(*running)


async def test_a_pooler_that_is_killed_costs_503s_and_no_more(
    servers: Servers, new_database: NewDatabase, tmp_path: Path
) -> None:
    db = await new_database("services.chassis")
    with pgbouncer(servers, tmp_path / "first") as port:
        behind = await Database.connect(through(db.url, port), name="posts", pooler="transaction")
        assert await behind.answers()
        async with behind.transaction() as tx:
            await tx.execute("create table kept (id int)")
            await tx.executemany("insert into kept values ($1)", [(number,) for number in range(50)])
        async with behind.statement() as tx:
            assert await tx.execute("update kept set id = id + $1", 1) == 50
    with pytest.raises(Problem, match="unavailable"):
        await behind.answers()
    with pgbouncer(servers, tmp_path / "second", port=port):
        await eventually(lambda: answers(behind))
        async with behind.reader() as reader:
            assert await reader.fetchval("select sum(id) from kept") == sum(range(1, 51))
    await behind.close()


async def test_a_full_pooler_costs_503s_and_no_more(
    servers: Servers, new_database: NewDatabase, tmp_path: Path
) -> None:
    db = await new_database("services.chassis")
    with pgbouncer(servers, tmp_path / "full", more="query_wait_timeout = 1\nmax_client_conn = 8") as port:
        behind = await Database.connect(through(db.url, port), name="posts", size=20, pooler="transaction")

        async def slow() -> str:
            try:
                async with behind.transaction() as tx:
                    await tx.fetchval("select pg_sleep(1.5)")
            except Problem as problem:
                return problem.kind
            return "done"

        outcomes = await asyncio.gather(*(slow() for _ in range(20)))
        assert "unavailable" in outcomes
        assert set(outcomes) <= {"done", "unavailable"}
        await eventually(lambda: answers(behind))
    await behind.close()


async def answers(db: Database) -> bool:
    try:
        return await db.answers()
    except Problem:
        return False


async def test_the_file_in_the_operations_guide_runs(
    servers: Servers, tmp_path: Path, new_database: NewDatabase, free_port: Callable[[], int]
) -> None:
    """Only its addresses, which are those of a network of containers, are put in place."""
    guide = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    block = r"^    \[databases\]\n(?:^    .*\n|^\n(?=    ))*"
    found = re.search(rf"(?:^    .*\n|^\n(?=    \[))*{block}", guide, re.MULTILINE)
    assert found
    config = textwrap.dedent(found[0])
    db = await new_database(*posts.PACKAGES)
    to, port = urlsplit(db.url), free_port()
    for documented, own in (
        ("host=postgres port=5432", f"host=127.0.0.1 port={to.port}"),
        ("listen_addr = *", "listen_addr = 127.0.0.1"),
        ("listen_port = 6432", f"listen_port = {port}"),
        ("/etc/pgbouncer/", f"{tmp_path}/"),
    ):
        assert documented in config
        config = config.replace(documented, own)
    (tmp_path / "userlist.txt").write_text(f'"{to.username}" "{to.password}"\n')
    config += f"unix_socket_dir =\nlogfile = {tmp_path}/pgbouncer.out\n"
    with running_program(Installed("pgbouncer", tmp_path / "run", port, config, ["{config}"])):
        connection = await asyncpg.connect(through(db.url, port), statement_cache_size=0)
        assert await connection.fetchval("select 1") == 1
        await connection.close()
