"""PostgreSQL that takes nobody without TLS and a password: the right way in, and each wrong one named in a sentence."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
import structlog

from deploy.local.processes import spawn
from services.chassis.database import sessions
from services.chassis.database.migrations import migrate
from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.identity import Signer
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.runtime.process import Health
from services.chassis.runtime.settings import Settings
from services.posts import __main__ as posts
from services.posts.__main__ import PACKAGES
from services.posts.settings import PostsSettings
from tests.certificates import certificate
from tests.integration.chassis_harness import running
from tests.pgbouncer import pgbouncer
from tests.servers import Servers, free_port
from tests.servers_with_tls import PostgresWithTls
from tests.waiting import eventually

Tokens = Callable[[str], Signer]
PASSWORD = "pass-of-posts"
GUESSED = "guessed-one"
# how the way in is wrong: what the sentence says besides the variable
WRONG = {
    "another name": "has a certificate for another name",
    "unknown authority": "has a certificate that is not trusted",
    "plain text": "no encryption",
    "wrong password": "password authentication failed",
    "wrong role": "password authentication failed",
    "wrong database": 'database "nowhere" does not exist',
    "unknown parameter": "channel_binding",
    "no TLS there": "offers no TLS",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresWithTls]:
    folder = tmp_path_factory.mktemp("tls")
    _, pem = certificate(folder, "localhost")
    server = PostgresWithTls(folder / "postgres", free_port(), pem)
    server.start()
    asyncio.run(_prepare(server))
    yield server
    server.stop()


async def _prepare(server: PostgresWithTls) -> None:
    admin = await asyncpg.connect(server.url())
    for service in ("posts", "comments", "people", "notify"):
        await admin.execute(f"create role {service} login password '{PASSWORD}'")
        await admin.execute(f"create database {service} owner {service}")
    await admin.close()


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """Return the certificate of an authority that did not sign the server's."""
    return certificate(tmp_path, "elsewhere")[1]


@pytest.fixture(params=WRONG)
def wrong(
    request: pytest.FixtureRequest, server: PostgresWithTls, servers: Servers, stranger: Path
) -> tuple[Callable[[str], str], str]:
    """Return a wrong address by service, and what is said about it."""

    def url(service: str) -> str:
        right = server.url(service, service, PASSWORD)
        match request.param:
            case "another name":
                return right.replace("@localhost:", "@127.0.0.1:")
            case "unknown authority":
                return right.replace(quote(str(server.pem), safe=""), quote(str(stranger), safe=""))
            case "plain text":
                return right.partition("?")[0] + "?sslmode=disable"
            case "wrong password":
                return right.replace(PASSWORD, GUESSED)
            case "wrong role":
                return right.replace(f"//{service}:", "//nobody:")
            case "wrong database":
                return right.replace(f"/{service}?", "/nowhere?")
            case "unknown parameter":
                return right + "&channel_binding=require"
            case _:
                return servers.postgres_url("postgres") + "?sslmode=require"

    return url, WRONG[request.param]


def environment(service: str, url: str, keys: dict[str, str], **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        f"{service.upper()}_DATABASE_URL": url,
        "NOTIFY_SECRET": "s" * 32,
        **keys,
        **more,
    }


def migrated(service: str, url: str, keys: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", f"services.{service}", "migrate"]
    return subprocess.run(command, env=environment(service, url, keys), capture_output=True, text=True, timeout=60)


@asynccontextmanager
async def posts_running(
    url: str, keys: dict[str, str], kafka: str, prefix: str, **other: str
) -> AsyncIterator[aiohttp.ClientSession]:
    settings = PostsSettings.model_validate(
        {
            "posts_database_url": url,
            "posts_port": free_port(),
            "posts_metrics_port": free_port(),
            "verification_keys": keys["VERIFICATION_KEYS"],
            "kafka_bootstrap_servers": kafka,
            "kafka_prefix": prefix,
            **other,
        }
    )
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        roles = await stack.enter_async_context(posts.compose(settings, ("api", "relay"), Health()))
        tasks = [asyncio.ensure_future(role.run(stop)) for role in roles]
        client = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{settings.posts_port}"))
        await eventually(lambda: _lives(client))
        yield client
        stop.set()
        await asyncio.gather(*tasks)


async def _lives(client: aiohttp.ClientSession) -> bool:
    try:
        async with client.get("/livez") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_with_the_right_certificate_migrate_api_and_relay_work(
    server: PostgresWithTls, keys: dict[str, str], signer: Tokens, kafka: str, kafka_prefix: str
) -> None:
    url = server.url("posts", "posts", PASSWORD)
    done = await asyncio.to_thread(migrated, "posts", url, keys)
    assert done.returncode == 0, done.stderr
    async with posts_running(url, keys, kafka, kafka_prefix) as client:
        await posts_is_written_and_published(client, server, signer)


async def test_through_a_pooler_with_tls_on_both_sides_and_past_it(
    server: PostgresWithTls, keys: dict[str, str], signer: Tokens, kafka: str, kafka_prefix: str, tmp_path: Path
) -> None:
    direct = server.url("posts", "posts", PASSWORD)
    tls = {
        "client_tls_sslmode": "require",
        **{f"client_tls_{kind}_file": server.pem for kind in ("cert", "key")},
        "server_tls_sslmode": "verify-full",
        "server_tls_ca_file": server.pem,
    }
    more = "\n".join(f"{name} = {value}" for name, value in tls.items())
    await asyncio.to_thread(migrated, "posts", direct, keys)
    with pgbouncer(direct, tmp_path / "pgbouncer", more=more) as port:
        pooled = direct.replace(f":{server.port}/", f":{port}/")
        given = {"posts_database_direct_url": direct, "database_pooler": "transaction"}
        async with posts_running(pooled, keys, kafka, kafka_prefix, **given) as client:
            await posts_is_written_and_published(client, server, signer)
        wrong = {
            "SSL required": pooled.partition("?")[0] + "?sslmode=disable",
            "authentication failed": pooled.replace(PASSWORD, GUESSED),
            "certificate for another name": pooled.replace("@localhost:", "@127.0.0.1:"),
        }
        for said, url in wrong.items():
            with structlog.testing.capture_logs() as logged:
                db = await Database.connect(url, name="posts", pooler="transaction")
                with pytest.raises(Problem, match="unavailable"):
                    await db.answers()
                await db.close()
            [sentence] = [one["event"] for one in logged if "POSTS_DATABASE_URL cannot be used" in one["event"]]
            assert said in sentence
            assert GUESSED not in sentence


async def posts_is_written_and_published(
    client: aiohttp.ClientSession, server: PostgresWithTls, signer: Tokens
) -> None:
    """Publish a post; check that its event is sent, and that no session of the service is without TLS."""
    headers = {"Authorization": f"Bearer {signer('gateway').token('posts', uuid4(), ['author'])}"}
    headers |= {"Idempotency-Key": uuid4().hex}
    admin = await asyncpg.connect(server.url("posts"))

    async def all_published() -> bool:
        rows = await admin.fetchrow("select count(*), count(published_at) from outbox")
        return rows is not None and bool(rows[0] and rows[0] == rows[1])

    try:
        body = {"title": "Behind a door", "body": "Text.", "publish": True}
        async with client.post("/posts", json=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
        await eventually(all_published, timeout=20)
        encrypted = "select array_agg(ssl) from pg_stat_activity join pg_stat_ssl using (pid) where usename = 'posts'"
        found = await admin.fetchval(encrypted)
        assert len(found) >= 2  # of the pool and of the relay
        assert all(found)
    finally:
        await admin.close()


def test_migrate_ends_with_two_and_one_sentence(wrong: tuple[Callable[[str], str], str], keys: dict[str, str]) -> None:
    url, said = wrong
    ended = migrated("posts", url("posts"), keys)
    assert ended.returncode == 2
    [sentence] = ended.stderr.splitlines()
    assert "POSTS_DATABASE_URL" in sentence
    assert said in sentence
    assert PASSWORD not in sentence
    assert GUESSED not in sentence


async def test_a_request_is_refused_with_503_and_the_log_names_the_setting(
    wrong: tuple[Callable[[str], str], str],
) -> None:
    url, said = wrong
    db = await Database.connect(url("posts"), name="posts")
    try:
        with structlog.testing.capture_logs() as logged, pytest.raises(Problem, match="unavailable"):
            await db.answers()
    finally:
        await db.close()
    [sentence] = [one["event"] for one in logged if "POSTS_DATABASE_URL" in one["event"]]
    assert said in sentence
    assert PASSWORD not in str(logged)
    assert GUESSED not in str(logged)


async def test_a_relay_names_the_setting_once_and_goes_on_trying(
    wrong: tuple[Callable[[str], str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, said = wrong
    db = await Database.connect(url("posts"), name="posts")
    relay = Relay(db, url("posts"), Producer(Settings()), Settings())
    tries: list[str] = []
    connect = sessions.connect

    async def counted(*args: Any, **options: Any) -> Any:
        tries.append("")
        return await connect(*args, **options)

    monkeypatch.setattr(sessions, "connect", counted)
    with structlog.testing.capture_logs() as logged:
        async with running(relay.run):
            await eventually(lambda: len(tries) >= 3)
    await db.close()
    [sentence] = [one["event"] for one in logged if "POSTS_DATABASE_URL" in one["event"]]
    assert said in sentence


async def test_pool_and_relay_work_as_soon_as_the_server_takes_their_password(server: PostgresWithTls) -> None:
    admin = await asyncpg.connect(server.url())
    try:
        await admin.execute(f"create role late login password '{PASSWORD}'")
        await admin.execute("create database late owner late")
        url = server.url("late", "late", PASSWORD)
        await migrate(url, posts.PACKAGES)
        await admin.execute("alter role late password null")
        db = await Database.connect(url, name="posts")
        relay = Relay(db, url, Producer(Settings()), Settings())
        with structlog.testing.capture_logs() as logged:
            async with running(relay.run):
                await eventually(lambda: any("POSTS_DATABASE_URL" in one["event"] for one in logged))
                with pytest.raises(Problem, match="unavailable"):
                    await db.answers()
                await admin.execute(f"alter role late password '{PASSWORD}'")
                assert await db.answers()
                await eventually(lambda: any("relay owns slices" in one["event"] for one in logged))
        await db.close()
    finally:
        await admin.close()


def test_migrate_names_the_setting_when_nothing_answers(keys: dict[str, str]) -> None:
    for host in (f"127.0.0.1:{free_port()}", "no-such-host.invalid"):
        ended = migrated("posts", f"postgresql://posts:{PASSWORD}@{host}/posts", keys)
        [sentence] = ended.stderr.splitlines()
        assert (ended.returncode, "POSTS_DATABASE_URL" in sentence, PASSWORD in sentence) == (2, True, False)


EACH_WAY_WITH_POSTS = [(way, "posts") for way in WRONG]
ONE_WAY_WITH_ALL = [("wrong password", service) for service in ("comments", "people", "notify")]


@pytest.mark.parametrize(("wrong", "service"), EACH_WAY_WITH_POSTS + ONE_WAY_WITH_ALL, indirect=["wrong"])
async def test_a_process_lives_on_and_answers_503(
    wrong: tuple[Callable[[str], str], str], service: str, keys: dict[str, str], signer: Tokens, tmp_path: Path
) -> None:
    url, said = wrong
    async with process_of(service, url(service), keys, tmp_path) as (process, client):
        await eventually(lambda: f"{service.upper()}_DATABASE_URL" in log_of(tmp_path), timeout=20)
        if service == "posts":
            headers = {"Authorization": f"Bearer {signer('gateway').token('posts', uuid4())}"}
            async with client.get(f"/posts/{uuid4()}", headers=headers) as answer:
                assert answer.status == 503
                assert answer.content_type == "application/problem+json"
                assert (await answer.json())["type"].endswith("unavailable")
        async with client.get("/readyz") as answer:
            assert answer.status == 503
        assert process.poll() is None, log_of(tmp_path)
    lines = [json.loads(line) for line in log_of(tmp_path).splitlines()]
    assert not any("exception" in line for line in lines)
    assert any(said in line["message"] for line in lines)
    assert PASSWORD not in log_of(tmp_path)
    assert GUESSED not in log_of(tmp_path)


async def test_a_process_is_ready_as_soon_as_its_password_is_right(
    server: PostgresWithTls, keys: dict[str, str], tmp_path: Path
) -> None:
    url = server.url("posts", "posts_later", PASSWORD)
    await migrate(server.url("posts"), PACKAGES)
    admin = await asyncpg.connect(server.url())
    await admin.execute("create role posts_later login in role pg_read_all_data")

    async def ready() -> bool:
        async with client.get("/readyz") as answer:
            return answer.status == 200

    try:
        async with process_of("posts", url, keys, tmp_path, role="api") as (_, client):
            await eventually(lambda: "POSTS_DATABASE_URL" in log_of(tmp_path), timeout=20)
            assert not await ready()
            await admin.execute(f"alter role posts_later password '{PASSWORD}'")
            await eventually(ready)
    finally:
        await admin.close()


def log_of(folder: Path) -> str:
    return (folder / "log").read_text()


@asynccontextmanager
async def process_of(
    service: str, url: str, keys: dict[str, str], folder: Path, *, role: str = "all"
) -> AsyncIterator[tuple["subprocess.Popen[bytes]", aiohttp.ClientSession]]:
    """Run a service without a broker inside the block; its output is the file `log` of the folder."""
    port = free_port()
    more = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}", f"{service.upper()}_PORT": str(port)}
    process = spawn(
        [sys.executable, "-m", f"services.{service}", role],
        log=folder / "log",
        environment=environment(service, url, keys, **more, **{f"{service.upper()}_METRICS_PORT": str(free_port())}),
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:

            async def is_up() -> bool:
                assert process.poll() is None, log_of(folder)
                return await _lives(client)

            await eventually(is_up, timeout=30)
            yield process, client
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
