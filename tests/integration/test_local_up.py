"""`python -m deploy.local` as a user runs it, on free ports and in a temporary folder."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from deploy.local.broker_check import lists_a_broker
from deploy.local.layout import ALL_IN_ONE, DATABASES, PORTS, SERVICES
from deploy.local.processes import Identity, wait_until
from deploy.local.program import http_status
from tests.servers import ServerRegistry, free_port

CHECKOUT = Path(__file__).parent.parent.parent


@dataclass
class Home:
    """One local stack under test."""

    folder: Path
    ports: dict[str, int]

    def environment(self, **given: str) -> dict[str, str]:
        replaced = (
            "_DATABASE_URL",
            "REDIS_URL",
            "KAFKA_BOOTSTRAP_SERVERS",
            "SMTP_HOST",
            "PUBLIC_URL",
            "_SECRET",
            "_KEY",
        )
        inherited = {name: value for name, value in os.environ.items() if not name.endswith(replaced)}
        ports = {name: str(port) for name, port in self.ports.items()}
        return {**inherited, **ports, "RAPPORT_HOME": str(self.folder), **given}

    async def run(self, action: str, *, command: Sequence[str] = (), **given: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deploy.local", action, *command]
        return await asyncio.to_thread(
            subprocess.run, command, cwd=CHECKOUT, env=self.environment(**given), capture_output=True, text=True
        )

    def unit(self, name: str) -> dict[str, Any]:
        """Return the state of one process that the supervisor wrote last."""
        units: list[dict[str, Any]] = json.loads((self.folder / "state.json").read_text())["units"]
        return next(unit for unit in units if unit["name"] == name)

    def identity(self, name: str) -> Identity:
        folder = self.folder if name == "supervisor" else self.folder / "run"
        identity = Identity.load(folder / f"{name}.json")
        assert identity is not None, f"{name} is not running"
        return identity


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    home = Home(tmp_path / "home", {name: free_port() for name in PORTS})
    yield home
    await home.run("down")


@pytest.mark.timeout(300)
async def test_the_lifecycle_of_a_stack(home: Home) -> None:
    first = await home.run("up")
    assert first.returncode == 0, first.stdout + first.stderr
    assert re.search(r"it needs \d+ MiB of memory and \d+ MiB of disk; \d+ and \d+ MiB\s+are free", first.stdout)
    assert f"http://127.0.0.1:{home.ports['GATEWAY_PORT']}" in first.stdout
    paths = {f"{service.upper()}_METRICS_PORT": "/readyz" for service in SERVICES} | {"MAILBOX_PORT": "/messages.json"}
    for port, path in paths.items():
        assert await asyncio.to_thread(answers, home.ports[port], path), port

    # no role can connect to another's database
    passwords = json.loads((home.folder / "database-passwords.json").read_text())
    for other in (*DATABASES[1:], "postgres"):
        url = f"postgresql://posts:{passwords['posts']}@127.0.0.1:{home.ports['POSTGRES_PORT']}/{other}"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(url)

    # other users of this machine read no file and use no server without a password
    await nobody_else_gets_in(home)

    # running processes are left alone, dead ones are restarted
    gateway = home.identity("gateway")
    again = await home.run("up", GATEWAY_PORT="9", PUBLIC_URL="http://elsewhere.example")
    assert again.returncode == 0
    assert f"http://127.0.0.1:{home.ports['GATEWAY_PORT']}/\n" in again.stdout  # the running one's, not the caller's
    assert "elsewhere" not in again.stdout
    assert home.identity("gateway") == gateway
    gateway.send(signal.SIGKILL)
    assert await asyncio.to_thread(wait_until, lambda: home.unit("gateway")["restarts"] == 1, 30)
    assert await asyncio.to_thread(wait_until, lambda: home.unit("gateway")["state"] == "ready", 30)
    log = (home.folder / "log/supervisor.log").read_text()
    assert "gateway was killed by SIGKILL; restarting in 0.5 s" in log

    status = await home.run("status")
    assert status.returncode == 0, status.stdout
    row = r"^gateway +ready +\d+ +\d+ +[1-9][\d.]+ +1  \d\d:\d\d:\d\d SIGKILL$"
    assert re.search(row, status.stdout, re.MULTILINE), status.stdout

    # a part that ends again and again is not ready, and everything else runs on
    people = home.identity("people")
    killing = asyncio.create_task(kill_again_and_again(home, "gateway"))
    fourth = await home.run("up")
    killing.cancel()
    assert fourth.returncode == 1, fourth.stdout
    assert "Rapport is ready" not in fourth.stdout
    assert re.search(
        r"gateway does not stay up: it ended \d times in a row, .* SIGKILL", " ".join(fourth.stderr.split())
    )
    assert str(home.folder / "log/gateway.log") in fourth.stderr
    assert home.identity("people") == people

    # after the supervisor was killed, the next start ends its processes and continues with the same data,
    # here with all services in one process
    url = f"postgresql://posts:{passwords['posts']}@127.0.0.1:{home.ports['POSTGRES_PORT']}/posts"
    connection = await asyncpg.connect(url)
    await connection.execute("create table kept (id int)")
    await connection.close()
    left = [home.identity(name) for name in ("kafka", "postgres", "posts")]
    home.identity("supervisor").send(signal.SIGKILL)
    third = await home.run("up", PROFILE="small")
    assert third.returncode == 0, third.stdout + third.stderr
    assert not any(identity.alive for identity in left)
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("select count(*) from kept") == 0
    await connection.close()

    for port, path in paths.items():
        assert await asyncio.to_thread(answers, home.ports[port], path), port
    assert "all-in-one  ready" in (await home.run("status")).stdout
    doctor = await home.run("run", command=("rapport", "doctor"))
    assert doctor.returncode == 0, doctor.stdout

    running = [home.identity(name) for name in (ALL_IN_ONE, "kafka", "valkey", "postgres", "mailbox", "supervisor")]
    down = await home.run("down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert "stopping all-in-one\n" in down.stdout
    assert not any(identity.alive for identity in running)
    assert (await home.run("status")).returncode == 1
    assert "Nothing is running" in (await home.run("down")).stdout


async def kill_again_and_again(home: Home, name: str) -> None:
    while True:
        found = home.unit(name)
        if found["state"] == "ready":
            identity = Identity.load(home.folder / f"run/{name}.json")
            if identity is not None:
                identity.send(signal.SIGKILL)
        await asyncio.sleep(0.02)


async def nobody_else_gets_in(home: Home) -> None:
    for path in (home.folder, *home.folder.rglob("*")):
        # as root without user namespaces, `nobody` passes through the folders above PostgreSQL's data
        closed = 0o066 if path.is_dir() else 0o077
        assert path.is_symlink() or path.stat().st_mode & closed == 0, path
    for name in ("KAFKA_PORT", "KAFKA_CONTROLLER_PORT"):
        assert not await asyncio.to_thread(lists_a_broker, "127.0.0.1", home.ports[name])
    async with Redis(port=home.ports["VALKEY_PORT"]) as client:
        with pytest.raises(AuthenticationError):
            await client.ping()
    for role in ("postgres", *DATABASES):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://{role}:guess@127.0.0.1:{home.ports['POSTGRES_PORT']}/{role}")
    shown = "".join(command_line(home.identity(name).pid) for name in (*SERVICES, "kafka", "valkey", "postgres"))
    kept = [json.loads(file.read_text()) for file in home.folder.glob("*-passwords.json")]
    assert len(kept) == 2
    assert not any(password in shown for passwords in kept for password in passwords.values())
    dead_letters = await home.run("run", command=("rapport", "dead-letter", "list", "notify"))
    assert dead_letters.stdout == "notify has no dead letters.\n", dead_letters.stderr  # the operator's account


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def answers(port: int, path: str) -> bool:
    """Poll, because a check on a busy machine may take longer than its timeout."""
    return wait_until(lambda: http_status(port, path, timeout=5) == 200, 30)


async def test_a_busy_port_is_named_with_its_variable(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = await home.run("up", POSTS_PORT=str(port))
    assert found.returncode == 1
    assert f"Another program listens on port {port} (POSTS_PORT)" in found.stderr
    assert f"(process {os.getpid()})" in found.stderr
    assert not (home.folder / "supervisor.json").exists()


async def test_an_unreachable_database_is_named_and_nothing_is_left_running(home: Home) -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/posts"
    found = await home.run("up", POSTS_DATABASE_URL=url)
    assert found.returncode == 1
    assert "Cannot connect to the database of posts" in found.stdout
    assert "POSTS_DATABASE_URL" in found.stdout
    assert list((home.folder / "run").glob("*.json")) == []


async def test_a_broker_that_does_not_answer_is_named_and_nothing_is_left_running(home: Home) -> None:
    found = await home.run("up", KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port()}", COLUMNS="200")
    assert found.returncode == 1
    assert "Cannot connect to Kafka" in found.stdout
    assert "check KAFKA_BOOTSTRAP_SERVERS" in found.stdout
    assert "Traceback" not in found.stdout + found.stderr
    assert not (home.folder / "postgres").exists()


async def test_a_setting_that_cannot_work_is_named_before_anything_starts(home: Home) -> None:
    found = await home.run("up", PUBLIC_URL="blog.example", LOG_LEVEL="LOUD", COLUMNS="200")
    assert found.returncode == 1
    assert [line.split("=")[0] for line in found.stderr.splitlines()] == ["PUBLIC_URL", "LOG_LEVEL"]
    assert not (home.folder / "log").exists()


async def test_missing_jars_are_explained(home: Home, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = await home.run("up", KAFKA_JARS=str(tmp_path / "empty"))
    assert found.returncode == 1
    assert "lacks these files" in found.stdout
    assert list((home.folder / "run").glob("*.json")) == []


def test_the_shared_servers_end_with_a_killed_run() -> None:
    code = (
        "from tests.servers import ServerRegistry, SharedServers; own = ServerRegistry();"
        "servers = SharedServers(own.path);"
        "print(servers.redis_url, servers.postgres_url('x'), own._process.pid, own.folder, flush=True); input()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdin is not None
    assert run.stdout is not None
    redis_url, postgres_url, pid, folder = run.stdout.readline().split()
    registry = Identity.of(int(pid))
    assert registry is not None
    run.kill()
    run.wait()
    run.stdin.close()
    run.stdout.close()
    assert wait_until(lambda: not registry.alive, 30)
    assert not Path(folder).exists()
    for url in (redis_url, postgres_url):
        port = int(url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)


def test_a_registry_stops_its_servers() -> None:
    registry = ServerRegistry()
    registry.close()
    assert not registry.folder.exists()
