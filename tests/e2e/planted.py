"""Faults planted for the doctor. Each is there inside its block, and taken out after it."""

import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local.kafka import BROKER, Kafka
from services.chassis.messaging.broker_rights import grant
from services.chassis.messaging.connection import connection
from services.chassis.messaging.topics import create_topics
from services.contracts.broker_rights import ACCOUNTS, grants
from services.contracts.topics import COMMENTS, dead_letter_topic
from services.operator.doctor.settings import DoctorSettings
from services.operator.keys import generate_keys
from tests.dns import name_server
from tests.e2e.own_system import OwnSystem
from tests.servers import free_port
from tests.waiting import eventually

AHEAD_SECONDS = 40


@dataclass(frozen=True)
class Seen:
    """How the doctor has to be asked to see a fault: by default in the environment of the services."""

    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


Planting = Callable[[OwnSystem, Path], AbstractAsyncContextManager[Seen]]


def in_place(fault: Callable[[OwnSystem], AbstractAsyncContextManager[None]]) -> Planting:
    """Return a fault that the doctor sees from where it always stands."""

    @asynccontextmanager
    async def planted(system: OwnSystem, _: Path) -> AsyncIterator[Seen]:
        async with fault(system):
            yield Seen()

    return planted


@asynccontextmanager
async def wrong_setting(system: OwnSystem, _: Path) -> AsyncIterator[Seen]:
    yield Seen({"ENVIRONMENT": "production", "PUBLIC_URL": "http://blog.example.org"})


@asynccontextmanager
async def wrong_clock(system: OwnSystem, folder: Path) -> AsyncIterator[Seen]:
    (folder / "sitecustomize.py").write_text(
        f"import time\n_real = time.time\ntime.time = lambda: _real() + {AHEAD_SECONDS}\n"
    )
    port = str(free_port())
    async with _beside(system, "people", "api", PEOPLE_PORT=port, PYTHONPATH=str(folder)):
        yield Seen({"PEOPLE_URL": f"http://127.0.0.1:{port}"})


@asynccontextmanager
async def short_retention(system: OwnSystem, _: Path) -> AsyncIterator[Seen]:
    name = f"{system.stack.name}.{COMMENTS.name}"

    async with _administering(system) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": "3600000"})])
    try:
        yield Seen()
    finally:
        await system.rapport("topics", "apply")


@asynccontextmanager
async def missing_topic(system: OwnSystem, _: Path) -> AsyncIterator[Seen]:
    async with _administering(system) as admin:
        await admin.delete_topics([f"{system.stack.name}.{dead_letter_topic('notify').name}"])
    try:
        yield Seen()
    finally:
        await system.rapport("topics", "apply")


@asynccontextmanager
async def missing_right(system: OwnSystem, folder: Path) -> AsyncIterator[Seen]:
    """Show the doctor a broker whose rights are those of a release that did not look at settings of topics."""
    accounts = {name: token_urlsafe(12) for name in (BROKER, *ACCOUNTS)}
    broker = Kafka(folder, free_port(), free_port(), accounts=accounts)
    broker.start()
    try:
        seen = {
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "PLAIN",
        }
        of_admin = {"kafka_username": BROKER, "kafka_password": accounts[BROKER], "kafka_prefix": "own."}
        admin = DoctorSettings.model_validate({name.lower(): value for name, value in seen.items()} | of_admin)
        await create_topics(broker.bootstrap, "own.", credential=connection(admin))
        await grant(admin, [right for right in grants() if not right.operation.endswith("-configs")])
        yield Seen(seen | {"KAFKA_USERNAME": "operator", "KAFKA_PASSWORD": accounts["operator"]})
    finally:
        broker.stop()


@asynccontextmanager
async def full_disk(system: OwnSystem, folder: Path) -> AsyncIterator[Seen]:
    with _mounted(folder):
        (folder / "filling").write_bytes(bytes(2_000_000))
        yield Seen(arguments=("--disk", str(folder)))


@asynccontextmanager
async def sender_without_records(system: OwnSystem, _: Path) -> AsyncIterator[Seen]:
    async with name_server([], {"rapport.dev": ["google-site-verification=x"]}) as names:
        asked = ("--name-server", f"127.0.0.1:{names.port}", "--dkim-selector", "k1")
        yield Seen({"MAIL_FROM": "Blog <hello@rapport.dev>"}, asked)


@asynccontextmanager
async def old_events(system: OwnSystem, _: Path) -> AsyncIterator[Seen]:
    """Let the relay of posts send to where no broker is, and an event wait there since ten minutes ago."""
    system.stack.part("posts", "relay").stop()
    await system.client.call("POST", f"/v1/posts/{system.post_id}/withdraw", who=system.ada)
    await system.client.call("POST", f"/v1/posts/{system.post_id}/publish", who=system.ada)
    await _execute(system, "posts", "update outbox set time = now() - interval '10 minutes' where published_at is null")
    away = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}
    await system.stack.start("posts", "relay", wait=False, **away)
    try:
        yield Seen()
    finally:
        system.stack.part("posts", "relay").stop()
        await system.stack.start("posts", "relay")


@asynccontextmanager
async def old_mail(system: OwnSystem, _: Path) -> AsyncIterator[Seen]:
    system.stack.part("notify", "mailer").stop()
    before = await _fetch(system, "notify", "select count(*) from notifications where state = 'waiting'")
    await system.answer_ben()

    async def waits() -> bool:
        waiting = await _fetch(system, "notify", "select count(*) from notifications where state = 'waiting'")
        return bool(waiting > before)

    await eventually(waits, timeout=20)
    change = "update notifications set due_at = now() - interval '10 minutes' where state = 'waiting'"
    await _execute(system, "notify", change)
    try:
        yield Seen()
    finally:
        await system.stack.start("notify", "mailer")


@asynccontextmanager
async def missing_migration(system: OwnSystem, _: Path) -> AsyncIterator[Seen]:
    """Take the last migration of comments out of its database's ledger."""
    last = "select max(name) from schema_migrations where package = 'services.comments'"
    change = (
        f"update schema_migrations set package = 'x' || package where package = 'services.comments' and name = ({last})"
    )
    await _execute(system, "comments", change)
    try:
        yield Seen()
    finally:
        await _execute(system, "comments", "update schema_migrations set package = ltrim(package, 'x')")


@asynccontextmanager
async def other_keys(system: OwnSystem, _: Path) -> AsyncIterator[Seen]:
    """Run an api of posts that holds the gateway's key of another set."""
    others = json.loads(generate_keys()["VERIFICATION_KEYS"])["keys"]
    ours = json.loads(system.stack.keys["VERIFICATION_KEYS"])["keys"]
    mixed = [other if other["kid"].startswith("gateway-") else our for our, other in zip(ours, others, strict=True)]
    port, keys = str(free_port()), json.dumps({"keys": mixed})
    async with _beside(system, "posts", "api", POSTS_PORT=port, VERIFICATION_KEYS=keys):
        yield Seen()


@asynccontextmanager
async def _beside(system: OwnSystem, service: str, role: str, **environment: str) -> AsyncIterator[None]:
    """Run one more process of a service inside the block."""
    name = f"second {role}"
    part = await system.stack.start(service, role, name=name, wait=True, **environment)
    try:
        yield
    finally:
        part.stop()
        del system.stack.parts[service, name]


@asynccontextmanager
async def _administering(system: OwnSystem) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=system.servers.kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _execute(system: OwnSystem, service: str, sql: str) -> None:
    await _fetch(system, service, sql)


async def _fetch(system: OwnSystem, service: str, sql: str) -> Any:
    connected = await asyncpg.connect(system.stack.database_urls[service])
    try:
        return await connected.fetchval(sql)
    finally:
        await connected.close()


@contextmanager
def _mounted(folder: Path) -> Any:
    """Mount a file system of 2 MiB inside the block; skip the test where nobody may."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "rapport-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
