"""The broker believes nobody without a password, and each account only what its service may write."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from uuid import uuid4

import pytest
import structlog
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from rich.console import Console

from deploy.local import checks
from deploy.local.broker_check import lists_a_broker
from deploy.local.kafka import BROKER, Kafka
from deploy.local.layout import Layout
from deploy.local.processes import LocalError
from services.chassis.messaging.broker_rights import grant
from services.chassis.messaging.connection import connection
from services.chassis.messaging.history import read_history
from services.chassis.messaging.partition_operations import PartitionOperations
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.messaging.topics import create_topics
from services.chassis.messaging.unreachable import Unreachable
from services.chassis.runtime.settings import Settings
from services.contracts.broker_rights import ACCOUNTS, Grant, grants
from services.contracts.topics import EVENT_TOPICS, TOPICS, Topic
from services.operator import broker_access
from services.operator.keys import generate_keys
from tests.conftest import NewDatabase
from tests.integration.chassis_harness import all_published, renamed_event, running, write_events
from tests.servers import free_port
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    accounts = {name: token_urlsafe(12) for name in (BROKER, *ACCOUNTS, "stranger")}
    server = Kafka(tmp_path_factory.mktemp("kafka"), free_port(), free_port(), accounts=accounts)
    server.start()
    asyncio.run(_prepare(server))
    yield server
    server.stop()


async def _prepare(server: Kafka) -> None:
    assert await grant(settings(server, BROKER), grants()) > 0
    await grant(settings(server, BROKER), grants())  # again, as every start does
    await create_topics(server.bootstrap, credential=connection(settings(server, "people")))


def settings(server: Kafka, account: str, password: str | None = None) -> Settings:
    return Settings.model_validate(
        {
            "kafka_bootstrap_servers": server.bootstrap,
            "kafka_security_protocol": "SASL_PLAINTEXT",
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_username": account,
            "kafka_password": password or server.accounts[account],
            "kafka_timeout_seconds": 5,
        }
    )


async def write(server: Kafka, account: str, topic: str) -> None:
    """Write a record without any of the producer's own care, as a forger would."""
    async with AIOKafkaProducer(**connection(settings(server, account))) as producer:
        await asyncio.wait_for(producer.send_and_wait(topic, b"{}", key=b"k"), 10)


@pytest.mark.parametrize("account", [*ACCOUNTS, "stranger"])
@pytest.mark.parametrize("topic", [topic.name for topic in TOPICS])
async def test_only_its_owner_writes_a_topic(broker: Kafka, account: str, topic: str) -> None:
    may = account in ACCOUNTS and topic in {each.name for each in ACCOUNTS[account].writes}
    if may:
        await write(broker, account, topic)
    else:
        with pytest.raises(TopicAuthorizationFailedError):
            await write(broker, account, topic)


def test_an_event_has_one_writer_besides_the_redrive() -> None:
    for topic in EVENT_TOPICS:
        writers = {name for name, access in ACCOUNTS.items() if topic in access.writes}
        assert writers - {"operator"} == {topic.name.partition(".")[0]}


async def test_without_or_with_a_wrong_password_nobody_gets_in(broker: Kafka) -> None:
    assert lists_a_broker("127.0.0.1", broker.port, account=(BROKER, broker.accounts[BROKER]))
    for port in (broker.port, broker.controller_port):
        assert not lists_a_broker("127.0.0.1", port)
        assert not lists_a_broker("127.0.0.1", port, account=("posts", "guessed"))
    for arguments in ({"bootstrap_servers": broker.bootstrap}, connection(settings(broker, "posts", "guessed"))):
        producer = AIOKafkaProducer(**arguments, request_timeout_ms=2000)
        with pytest.raises(KafkaConnectionError):
            await asyncio.wait_for(producer.start(), 20)
        await producer.stop()


async def test_a_refused_credential_is_named(broker: Kafka) -> None:
    wrong = settings(broker, "posts", "guessed")
    with pytest.raises(Unreachable, match="KAFKA_USERNAME and KAFKA_PASSWORD"):
        await create_topics(broker.bootstrap, seconds=3, credential=connection(wrong))


async def read(server: Kafka, account: str, topic: str, group: str | None) -> Any:
    client = AIOKafkaConsumer(**connection(settings(server, account)), group_id=group, enable_auto_commit=False)
    client.assign([TopicPartition(topic, 0)])
    try:
        await client.start()
        await client.seek_to_beginning()
        return await asyncio.wait_for(client.getone(), 10)
    finally:
        await client.stop()


async def test_accounts_read_what_they_need_only(broker: Kafka) -> None:
    async with AIOKafkaProducer(**connection(settings(broker, "comments"))) as producer:
        await producer.send_and_wait("comments.events", b"{}", partition=0)
    assert (await read(broker, "gateway", "comments.events", None)).value == b"{}"
    with pytest.raises(TopicAuthorizationFailedError):
        await read(broker, "posts", "comments.events", None)
    with pytest.raises(TopicAuthorizationFailedError):
        await read(broker, "stranger", "people.events", None)


async def test_no_account_joins_the_group_of_another(broker: Kafka) -> None:
    client = AIOKafkaConsumer("posts.events", **connection(settings(broker, "gateway")), group_id="comments")
    try:
        with pytest.raises(GroupAuthorizationFailedError):
            await asyncio.wait_for(client.start(), 10)
    finally:
        await client.stop()


async def test_a_service_may_ask_where_its_group_stands(broker: Kafka, new_database: NewDatabase) -> None:
    db = await new_database("services.chassis")
    own = await PartitionOperations(db, "comments", settings(broker, "comments")).status()
    assert (own["running"], {each["next_offset"] for each in own["partitions"]}) == (False, {0})
    other = await PartitionOperations(db, "comments", settings(broker, "notify")).status()
    assert (other["running"], {each["next_offset"] for each in other["partitions"]}) == (None, {None})


async def test_only_the_broker_s_own_account_changes_rights_and_deletes(broker: Kafka) -> None:
    with pytest.raises(KafkaError):
        await grant(settings(broker, "posts"), grants())
    admin = AIOKafkaAdminClient(**connection(settings(broker, "posts")))
    await admin.start()
    try:
        answer = await admin.delete_topics(["people.events"])
        assert [code for _, code in answer.topic_error_codes] == [TopicAuthorizationFailedError.errno]
        made = await admin.create_topics([NewTopic("of.mine", 1, 1)])
        assert [code for _, code, *_ in made.topic_errors] == [TopicAuthorizationFailedError.errno]
    finally:
        await admin.close()


def test_the_passwords_are_in_a_private_file(broker: Kafka) -> None:
    files = [file for file in Path(broker.folder).iterdir() if file.is_file() and "properties" in file.name]
    assert files
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_a_folder_from_before_there_were_passwords_is_kept(tmp_path: Path) -> None:
    open_to_all = Kafka(tmp_path / "kafka", free_port(), free_port())
    open_to_all.start()
    asyncio.run(create_topics(open_to_all.bootstrap))
    open_to_all.stop()
    accounts = {name: token_urlsafe(12) for name in (BROKER, *ACCOUNTS)}
    closed = Kafka(tmp_path / "kafka", open_to_all.port, open_to_all.controller_port, accounts=accounts)
    closed.start()
    try:
        assert asyncio.run(_topics_of(closed)) >= {topic.name for topic in TOPICS}
    finally:
        closed.stop()


async def _topics_of(server: Kafka) -> set[str]:
    admin = AIOKafkaAdminClient(**connection(settings(server, BROKER)))
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


def rapport(server: Kafka, account: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "RAPPORT_HOME": str(server.folder),
        "COLUMNS": "200",
        "KAFKA_BOOTSTRAP_SERVERS": server.bootstrap,
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_USERNAME": account,
        "KAFKA_PASSWORD": server.accounts[account],
    }
    command = [sys.executable, "-m", "services.operator", "kafka-access", *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)


def test_the_command_gives_and_shows_the_rights(broker: Kafka) -> None:
    given = rapport(broker, BROKER)
    assert (given.returncode, given.stdout) == (0, f"The accounts have their {len(list(grants()))} rights.\n")
    shown = rapport(broker, "posts", "--show").stdout
    assert re.search(r"User:posts +│ write +│ topic +│ posts\.events", shown)
    assert not re.search(r"User:gateway +│ write", shown)
    refused = rapport(broker, "posts")
    assert refused.returncode == 1
    assert "does not let this account change access control lists" in refused.stderr


class ComposeKafka(Kafka):
    """The broker of docker-compose.yml: its variables, as the image makes properties of them, and other ports."""

    format_options = ()
    health_port = 0

    def _properties(self) -> str:
        given = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["kafka"]["environment"]
        lines = [
            f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value}"
            for name, value in given.items()
            if name != "KAFKA_HEAP_OPTS"
        ]
        text = "\n".join(lines)
        text = text.replace(f"${{{BROKER.upper()}_KAFKA_PASSWORD:?}}", self.accounts[BROKER])
        for name, password in self.accounts.items():
            text = re.sub(rf'user_{name}="[^"]*"', f'user_{name}="{password}"', text)
        ports = {"9092": self.port, "9093": self.controller_port, "9094": self.health_port}
        text = re.sub(r":(909[234])\b", lambda found: f":{ports[found[1]]}", text)
        text = (
            text.replace("//kafka:", "//127.0.0.1:")
            .replace("//:", "//127.0.0.1:")
            .replace("localhost", "127.0.0.1")
            .replace("/var/lib/kafka/data", str(self.folder / "data"))
        )
        return text + "\n"


async def test_the_broker_of_compose_lets_nobody_in_either(tmp_path: Path) -> None:
    accounts = {name: token_urlsafe(12) for name in (BROKER, *ACCOUNTS)}
    server = ComposeKafka(tmp_path / "kafka", free_port(), free_port(), accounts=accounts, heap="512m")
    server.health_port = free_port()
    await asyncio.to_thread(server.start)
    try:
        assert lists_a_broker("127.0.0.1", server.health_port)  # what its health check asks
        assert not lists_a_broker("127.0.0.1", server.port)
        await grant(settings(server, BROKER), grants())
        await create_topics(server.bootstrap, credential=connection(settings(server, "posts")))
        await write(server, "posts", "posts.events")
        with pytest.raises(TopicAuthorizationFailedError):
            await write(server, "people", "posts.events")
        async with AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{server.health_port}") as nobody:
            with pytest.raises(KafkaError):
                await asyncio.wait_for(nobody.send_and_wait("posts.events", b"{}"), 10)
    finally:
        await asyncio.to_thread(server.stop)


@pytest.mark.parametrize("topic", EVENT_TOPICS, ids=[topic.name for topic in EVENT_TOPICS])
async def test_an_owner_reads_its_own_topic_after_a_restore(broker: Kafka, topic: Topic) -> None:
    owner, long_ago = topic.name.partition(".")[0], datetime(2026, 1, 1, tzinfo=UTC)
    await write(broker, owner, topic.name)  # no event, so that it is only counted
    assert (await read_history(settings(broker, owner), topic, long_ago)).undecodable > 0
    stranger = "comments" if owner == "people" else "people"  # posts reads people.events, too
    with pytest.raises(TopicAuthorizationFailedError):
        await asyncio.wait_for(read_history(settings(broker, stranger), topic, long_ago), 20)


async def test_events_wait_for_a_right_that_is_missing(broker: Kafka, new_database: NewDatabase) -> None:
    """A relay whose account may not write goes on trying, says why, and loses nothing."""
    db = await new_database("services.chassis")
    mine = settings(broker, "posts").model_copy(update={"kafka_prefix": "later."})
    await create_topics(broker.bootstrap, "later.", credential=connection(settings(broker, BROKER)))
    see = [right for right in grants() if right.operation in ("create", "describe")]
    admin = settings(broker, BROKER).model_copy(update={"kafka_prefix": "later."})
    await grant(admin, see)
    relay = Relay(db, db.url, Producer(mine), mine)
    await write_events(db, renamed_event(uuid4(), 1))  # of people, which this account does not write
    with structlog.testing.capture_logs() as logged:
        async with running(relay.run):
            await eventually(lambda: any("TopicAuthorization" in str(one) for one in logged), timeout=20)
            assert not await all_published(db)
            await grant(admin, [Grant("posts", "write", "topic", "people.events")])
            await eventually(lambda: all_published(db), timeout=20)


async def test_a_relay_with_a_wrong_password_names_the_variables(broker: Kafka, new_database: NewDatabase) -> None:
    db = await new_database("services.chassis")
    wrong = settings(broker, "posts", "guessed").model_copy(update={"kafka_timeout_seconds": 2})
    relay = Relay(db, db.url, Producer(wrong), wrong)
    with structlog.testing.capture_logs() as logged:
        async with running(relay.run):
            await eventually(lambda: any("KAFKA_USERNAME and KAFKA_PASSWORD" in one["event"] for one in logged))
            assert not await relay.ready()
    assert "guessed" not in str(logged)


def test_make_up_tells_a_given_broker_s_refusal_of_the_credential(
    broker: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PATIENCE_SECONDS", 0.1)
    (tmp_path / "keys.env").write_text("".join(f"{name}='{value}'\n" for name, value in generate_keys().items()))
    given = {
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_USERNAME": "posts",
        "KAFKA_PASSWORD": broker.accounts["posts"],
    }
    checks.check_given_servers(Layout(tmp_path, given))
    for wrong in ({"KAFKA_PASSWORD": "guessed"}, {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512"}):
        with pytest.raises(LocalError, match="KAFKA_USERNAME and KAFKA_PASSWORD") as refusal:
            checks.check_given_servers(Layout(tmp_path, given | wrong))
        assert "guessed" not in str(refusal.value)
    with pytest.raises(LocalError, match=r"check KAFKA_BOOTSTRAP_SERVERS\."):
        checks.check_given_servers(Layout(tmp_path, {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap}))


async def test_a_broker_that_refuses_nobody_is_told_of(kafka: str, capsys: pytest.CaptureFixture[str]) -> None:
    await broker_access.give(Settings(kafka_bootstrap_servers=kafka), Console(width=200))
    assert capsys.readouterr().out == "This broker has no authorizer: whoever reaches it may write every topic.\n"
