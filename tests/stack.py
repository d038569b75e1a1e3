"""A whole Rapport system of real processes, for tests that use it from outside or kill parts of it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

import aiohttp
import asyncpg

from deploy.local.processes import Child, spawn
from services.chassis.messaging.topics import create_topics
from services.operator import keys as operator_keys
from tests.forks import loaded
from tests.servers import Servers, free_port
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent
DATABASES = ("posts", "comments", "people", "notify")
SERVICES = (*DATABASES, "gateway")
ONE = "all_in_one"  # every role of every service in one process
ROLES: Mapping[str, Sequence[str]] = {
    "posts": ("api", "relay", "publisher", "consumer"),
    "comments": ("api", "relay", "consumer"),
    "people": ("api", "relay", "mailer"),
    "notify": ("api", "relay", "consumer", "mailer"),
    "gateway": ("api",),
}
Shape = Literal["one", "five", "roles"]  # how many processes: one, one for each service, one for each role


def chosen_shape() -> Shape:
    """Return in how many processes the contract tests run: `make pytest SHAPE=one ARGS=tests/contracts`."""
    shape = os.environ.get("SHAPE", "five")
    assert shape in get_args(Shape), f"SHAPE={shape} is none of {get_args(Shape)}"
    return cast(Shape, shape)


@dataclass
class Part:
    """One process of the stack: a service in one role, or all services.

    Attributes:
        metrics_ports: of each service in it.
    """

    service: str
    role: str
    process: Child
    log: Path
    metrics_ports: Sequence[int]

    @property
    def metrics_port(self) -> int:
        """Return the metrics port of a process with one service."""
        (port,) = self.metrics_ports
        return port

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """Send SIGTERM and wait until the process has drained and ended."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@dataclass
class Stack:
    """Databases, topics, keys and processes of one Rapport.

    Attributes:
        folder: the folder of the logs.
        overrides: environment variables of every process; they replace those of the stack.
        own: environment variables of the processes of one service alone.
        credential: the arguments of a Kafka client, for a broker that does not let everybody in.
        root: the checkout whose processes run; another one is used through its command lines and ports alone.
        python: the interpreter of that checkout's environment.
        forks: whether this checkout's processes share the memory of one that has loaded their code.
    """

    servers: Servers
    folder: Path
    smtp_port: int
    name: str
    overrides: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    credential: Mapping[str, object] = field(default_factory=dict)
    kafka: str | None = None
    redis_url: str | None = None
    root: Path = ROOT
    python: Path = Path(sys.executable)
    forks: bool = True
    parts: dict[tuple[str, str], Part] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = generate_keys(self.root, self.python)
        self.ports = {service: free_port() for service in SERVICES}
        self.database_urls = {service: self.servers.postgres_url(f"{self.name}_{service}") for service in DATABASES}

    @property
    def services(self) -> frozenset[str]:
        """Return the programs that this checkout has."""
        return frozenset(path.parent.name for path in self.root.glob("services/*/__main__.py"))

    @property
    def url(self) -> str:
        """Return the gateway's URL."""
        return f"http://127.0.0.1:{self.ports['gateway']}"

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka or self.servers.kafka,
            "KAFKA_PREFIX": f"{self.name}.",
            "REDIS_URL": self.redis_url or self.servers.redis_url,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self.smtp_port),
            "MAIL_FROM": "Rapport <notifications@rapport.test>",
            "PUBLIC_URL": self.url,
            "ADMIN_EMAILS": "admin@example.com",
            "RETURN_URLS": "https://front.example/signed-in",
            "NOTIFY_SETTLE_SECONDS": "0",
            "RATE_LIMITS": "off",
            **{f"{service.upper()}_DATABASE_URL": url for service, url in self.database_urls.items()},
            **{f"{service.upper()}_PORT": str(port) for service, port in self.ports.items()},
            **{f"{service.upper()}_URL": f"http://127.0.0.1:{self.ports[service]}" for service in DATABASES},
            **self.keys,
            **self.overrides,
        }

    async def prepare(self) -> None:
        """Create the databases, apply the migrations, create the topics (another checkout creates its own)."""
        admin = await asyncpg.connect(self.servers.postgres_url("postgres"))
        try:
            for service in DATABASES:
                await admin.execute(f'create database "{self.name}_{service}"')
        finally:
            await admin.close()
        migrations = [self._spawn(service, "migrate") for service in DATABASES]
        for part in migrations:
            code = await asyncio.to_thread(part.process.wait, 60)
            assert code == 0, f"{part.service} migrate ended with {code}:\n{part.tail()}"
            del self.parts[part.service, "migrate"]
        if self.root == ROOT:
            await create_topics(self.kafka or self.servers.kafka, f"{self.name}.", credential=self.credential)

    def _spawn(
        self, service: str, role: str, environment: Mapping[str, str] | None = None, *, name: str | None = None
    ) -> Part:
        metrics_ports = {each: free_port() for each in (SERVICES if service == ONE else (service,))}
        log = self.folder / f"{service}-{name or role}.log"
        environment = (
            self.environment()
            | {f"{each.upper()}_METRICS_PORT": str(port) for each, port in metrics_ports.items()}
            | dict(self.own.get(service, {}))
            | dict(environment or {})
        )
        process: Child
        if self.root == ROOT and self.forks and "PYTHONPATH" not in environment:  # whose code is not loaded yet
            process = loaded().start(service, role, environment=environment, log=log)
        else:
            command = (self.python, "-m", f"services.{service}", role)
            process = spawn(command, log=log, folder=self.root, environment=environment)
        part = Part(service, role, process, log, (*metrics_ports.values(),))
        self.parts[service, name or role] = part
        return part

    async def start(
        self,
        service: str,
        role: str = "all",
        *,
        name: str | None = None,
        failpoints: str = "",
        wait: bool = True,
        **environment: str,
    ) -> Part:
        """Start one process, by default wait until it is ready. `name` distinguishes two processes of one role."""
        armed = {"FAILPOINTS": failpoints} if failpoints else {}
        part = self._spawn(service, role, environment | armed, name=name)
        if wait:
            await self.ready(part)
        return part

    async def up(self, *split: str) -> None:
        """Start every service as one process, and those in `split` as one process per role."""
        started = [
            self._spawn(service, role)
            for service in SERVICES
            for role in (ROLES[service] if service in split else ("all",))
        ]
        for part in started:
            await self.ready(part)

    async def up_as(self, shape: Shape) -> None:
        """Start everything in so many processes."""
        match shape:
            case "one":
                await self.start(ONE)
            case "five":
                await self.up()
            case "roles":
                await self.up(*SERVICES)

    async def ready(self, part: Part, timeout: float = 120) -> None:
        """Wait until the process reports on its internal port that it is ready."""
        async with aiohttp.ClientSession() as session:

            async def is_ready() -> bool:
                assert part.alive, f"{part.service} {part.role} ended:\n{part.tail()}"
                try:
                    for port in part.metrics_ports:
                        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                            if answer.status != 200:
                                return False
                    return True
                except aiohttp.ClientError:
                    return False

            await eventually(is_ready, timeout=timeout)

    def part(self, service: str, role: str = "all") -> Part:
        return self.parts[service, role]

    def down(self) -> None:
        """Kill every remaining process."""
        for part in self.parts.values():
            if part.alive:
                part.signal(signal.SIGCONT)
                part.signal(signal.SIGKILL)
        for part in self.parts.values():
            part.process.wait(10)
        self.parts.clear()

    async def drop(self) -> None:
        """Drop the databases."""
        admin = await asyncpg.connect(self.servers.postgres_url("postgres"))
        try:
            for service in DATABASES:
                await admin.execute(f'drop database if exists "{self.name}_{service}" with (force)')
        finally:
            await admin.close()


def generate_keys(root: Path = ROOT, python: Path = Path(sys.executable)) -> dict[str, str]:
    """Make the keys of a new installation, as environment variables; of another checkout, with its command."""
    if root == ROOT:
        return operator_keys.generate_keys()
    command = [str(python), "-m", "services.operator", "keys"]
    printed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    lines = (line.partition("=") for line in printed.splitlines() if "=" in line)
    return {name: value.removeprefix("'").removesuffix("'") for name, _, value in lines}


@asynccontextmanager
async def started(stack: Stack, shape: Shape = "five") -> AsyncIterator[Stack]:
    """Run the whole system inside the block; afterwards nothing of it is left."""
    try:
        await stack.prepare()
        await stack.up_as(shape)
        yield stack
    finally:
        stack.down()
        await stack.drop()


@contextmanager
def paused(part: Part) -> Iterator[None]:
    """Stop the process (SIGSTOP) inside the block."""
    part.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        part.signal(signal.SIGCONT)
