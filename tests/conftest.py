"""Fixtures for every test. All servers are real."""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest

from services.chassis.database.migrations import migrate, migration_files
from services.chassis.database.pool import Database
from tests import smtp_sink as smtp
from tests.servers import PrivateServers, ServerRegistry, Servers, SharedServers
from tests.servers import free_port as a_free_port

if TYPE_CHECKING:
    from services.chassis.identity import Signer

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
REGISTRY = pytest.StashKey[ServerRegistry]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass every worker the socket of the controller's server registry."""
    node.workerinput["registry"] = str(_registry(node.config).path)


def pytest_unconfigure(config: pytest.Config) -> None:
    registry = config.stash.get(REGISTRY, None)
    if registry is not None:
        registry.close()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Keep random ids out of test names: all workers of a run must see the same name."""
    return UUID.sub("uuid", val) if isinstance(val, str) and UUID.search(val) else None


def _group(path: str) -> str:
    """Return the group of a test: these folders share one running system each, so one worker; others are per file."""
    folder = path.split("/")[1] if path.count("/") > 1 else ""
    return folder if folder in ("chaos", "e2e", "contracts") else path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest group first, so that one worker runs it while the others run the rest."""
    items.sort(key=lambda item: _group(item.nodeid.partition("::")[0]) != "chaos")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute tests by group (`xdist_group` marks have no effect under pytest 9.2)."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid.partition("::")[0])

    return ByGroup(config, log)


def _registry(config: pytest.Config) -> ServerRegistry:
    if REGISTRY not in config.stash:
        config.stash[REGISTRY] = ServerRegistry()
    return config.stash[REGISTRY]


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Servers:
    """Return the shared servers, each started on first use."""
    workerinput = getattr(request.config, "workerinput", None)
    return SharedServers(Path(workerinput["registry"]) if workerinput else _registry(request.config).path)


@pytest.fixture(scope="package")
def private_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServers]:
    """Durable servers of one package, which its tests may kill and start again."""
    servers = PrivateServers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.stop()


class OwnDatabase(Database):
    """A `Database` that knows its address."""

    url: str


NewDatabase = Callable[..., Awaitable[OwnDatabase]]


async def _template(admin: asyncpg.Connection, servers: Servers, packages: tuple[str, ...]) -> str:
    """Return the name of a database with these packages' migrations, created once in a run."""
    content = repr([(package, migration_files(package)) for package in packages])
    name = "template_" + hashlib.sha256(content.encode()).hexdigest()[:16]
    async with admin.transaction():  # the lock ends with it; `create database` runs on a second connection
        await admin.execute("select pg_advisory_xact_lock(7261)")
        if not await admin.fetchval("select 1 from pg_database where datname = $1", name):
            unfinished = f"{name}_{uuid4().hex[:8]}"
            maker = await asyncpg.connect(servers.postgres_url("postgres"))
            try:
                await maker.execute(f'create database "{unfinished}"')
                await migrate(servers.postgres_url(unfinished), packages)
                await maker.execute(f'alter database "{unfinished}" rename to "{name}"')
            finally:
                await maker.close()
    return name


@pytest.fixture
async def new_database(servers: Servers) -> AsyncIterator[NewDatabase]:
    """`await new_database("services.chassis", "services.posts")`: fresh, migrated, dropped after the test.

    The value is a `Database` with `.url`.
    """
    admin = await asyncpg.connect(servers.postgres_url("postgres"))
    made: list[tuple[str, OwnDatabase]] = []

    async def make(*packages: str, size: int = 10, acquire_timeout: float = 2.0) -> OwnDatabase:
        template = await _template(admin, servers, packages)
        name = f"test_{uuid4().hex[:12]}"
        await admin.execute(f'create database "{name}" template "{template}"')
        url = servers.postgres_url(name)
        opened = await OwnDatabase.connect(url, name="test", size=size, acquire_timeout=acquire_timeout)
        assert isinstance(opened, OwnDatabase)
        opened.url = url
        made.append((name, opened))
        return opened

    try:
        yield make
    finally:
        for name, db in made:
            await db.close()
            await admin.execute(f'drop database if exists "{name}" with (force)')
        await admin.close()


@pytest.fixture
async def redis_url(servers: Servers, worker_id: str) -> str:
    """Return an empty Valkey database of this worker."""
    from redis.asyncio import Redis

    number = 1 + int(worker_id.removeprefix("gw")) if worker_id.startswith("gw") else 0
    url = servers.redis_url.rpartition("/")[0] + f"/{number}"
    async with Redis.from_url(url) as client:
        await client.flushdb()
    return url


@pytest.fixture
def kafka(servers: Servers) -> str:
    """Return the bootstrap address of a real broker. The first start is synchronous and takes seconds."""
    return servers.kafka


@pytest.fixture
def kafka_prefix() -> str:
    """Return a prefix for every topic and group, so that no test sees another's."""
    return f"t{uuid4().hex[:10]}."


@pytest.fixture
def unique() -> str:
    """Return a short text that no other test has."""
    return uuid4().hex[:10]


@pytest.fixture
async def smtp_sink() -> AsyncIterator[smtp.SmtpSink]:
    """Start a scriptable SMTP server for one test."""
    async with smtp.listening() as sink:
        yield sink


@pytest.fixture(scope="session")
async def session_sink() -> AsyncIterator[smtp.SmtpSink]:
    """Start one SMTP server for all tests of this process."""
    async with smtp.listening() as sink:
        yield sink


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Return a function that finds a free TCP port."""
    return a_free_port


@pytest.fixture(scope="session")
def keys() -> dict[str, str]:
    """Return all variables with keys and secrets, as `rapport keys` prints them."""
    from services.operator.keys import generate_keys

    return generate_keys()


@pytest.fixture(scope="session")
def signer(keys: dict[str, str]) -> Callable[[str], "Signer"]:
    """`signer("gateway")` signs as the gateway does."""
    from services.chassis.identity import Signer

    return lambda issuer: Signer(keys[f"{issuer.upper()}_SIGNING_KEY"], issuer)


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """`await eventually(condition, timeout=10)`."""
    from tests.waiting import eventually as wait

    return wait
