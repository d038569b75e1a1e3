"""Kafka that takes nobody without TLS and an account: from a post to a mail, forgers, and each wrong way in."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from secrets import token_urlsafe
from uuid import uuid4

import pytest
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAuthorizationFailedError

from deploy.local.kafka import BROKER
from services.chassis.messaging.broker_rights import grant
from services.chassis.messaging.connection import connection
from services.chassis.messaging.consumer import Consumer
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.broker_rights import ACCOUNTS, grants
from services.contracts.topics import PEOPLE, POSTS
from tests.certificates import certificate
from tests.client import Client
from tests.conftest import NewDatabase
from tests.integration.chassis_harness import all_published, renamed_event, running, write_events
from tests.servers import Servers, free_port
from tests.servers_with_tls import KafkaWithTls
from tests.smtp_sink import SmtpSink
from tests.stack import Stack, started
from tests.waiting import eventually

GUESSED = "guessed-one"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaWithTls]:
    folder = tmp_path_factory.mktemp("kafka-tls")
    _, pem = certificate(folder, "localhost")
    accounts = {name: token_urlsafe(12) for name in (BROKER, *ACCOUNTS)}
    server = KafkaWithTls(folder / "kafka", free_port(), free_port(), accounts=accounts, pem=pem)
    server.start()
    try:
        asyncio.run(_give_rights(server, ""))
        asyncio.run(create_topics(server.bootstrap, credential=connection(settings(server, "posts"))))
        yield server
    finally:
        server.stop()


async def _give_rights(server: KafkaWithTls, prefix: str) -> None:
    async def given() -> bool:
        try:
            return await grant(settings(server, BROKER, kafka_prefix=prefix), grants()) > 0
        except KafkaError:
            return False

    await eventually(given, timeout=60)


def variables(server: KafkaWithTls, account: str) -> dict[str, str]:
    """Return exactly the settings that docs/operations.md names."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": server.bootstrap,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_USERNAME": account,
        "KAFKA_PASSWORD": server.accounts[account],
        "KAFKA_CA_FILE": str(server.pem),
    }


def settings(server: KafkaWithTls, account: str, **other: object) -> Settings:
    given = {name.lower(): value for name, value in variables(server, account).items()}
    return Settings.model_validate(given | {"kafka_timeout_seconds": 5} | other)


@pytest.fixture
async def locked(
    broker: KafkaWithTls, servers: Servers, session_sink: SmtpSink, tmp_path: Path
) -> AsyncIterator[Stack]:
    name = f"locked_{uuid4().hex[:8]}"
    await _give_rights(broker, f"{name}.")
    own = {service: variables(broker, service) for service in ("posts", "comments", "people", "notify", "gateway")}
    credential = connection(settings(broker, BROKER))
    stack = Stack(servers, tmp_path, session_sink.port, name, own=own, credential=credential, kafka=broker.bootstrap)
    async with started(stack):
        yield stack


async def test_from_a_post_to_a_mail(locked: Stack, session_sink: SmtpSink, unique: str) -> None:
    async with Client(locked.url, session_sink) as client:
        admin = await client.sign_in("Ada Admin", "admin@example.com")
        anna = await client.sign_in("Anna", f"anna.{unique}@example.com")
        post = await client.publish(admin, title="Behind a lock")
        question = await client.comment(anna, post["id"], "Is anybody there?")
        await client.comment(admin, post["id"], "Yes.", parent_id=question["id"])
        await eventually(
            lambda: [mail for mail in session_sink.to(anna.email) if mail.message["In-Reply-To"]], timeout=60
        )


async def write(arguments: Mapping[str, object], topic: str) -> None:
    """Write a record without any of the producer's own care, as a forger would."""
    producer = AIOKafkaProducer(**arguments, request_timeout_ms=5000)
    try:
        await asyncio.wait_for(producer.start(), 15)
        await asyncio.wait_for(producer.send_and_wait(topic, b"{}", key=b"k"), 15)
    finally:
        await producer.stop()


async def test_a_forged_record_is_refused_by_the_broker(broker: KafkaWithTls) -> None:
    for account in ("comments", "people", "notify", "gateway"):
        with pytest.raises(TopicAuthorizationFailedError):
            await write(connection(settings(broker, account)), POSTS.name)
    for nobody in (
        {"bootstrap_servers": broker.bootstrap},
        {**connection(settings(broker, "posts")), "security_protocol": "SSL"},
        connection(settings(broker, "posts", kafka_password=GUESSED)),
    ):
        with pytest.raises(KafkaConnectionError):
            await write(nobody, POSTS.name)
    await write(connection(settings(broker, "posts")), POSTS.name)
    # its right is for redriving: what has no dead letters is not its business
    await write(connection(settings(broker, "operator")), POSTS.name)
    with pytest.raises(TopicAuthorizationFailedError):
        await write(connection(settings(broker, "operator")), "notify.events")


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """Return the certificate of an authority that did not sign the broker's."""
    return certificate(tmp_path, "elsewhere")[1]


# how the way in is wrong: the settings, what the sentence says, and what it says to check
WRONG: dict[str, tuple[dict[str, object], str, str]] = {
    "unknown authority": ({"kafka_ca_file": "STRANGER"}, "certificate that is not trusted", "KAFKA_CA_FILE"),
    "the system's authorities": ({"kafka_ca_file": ""}, "certificate that is not trusted", "KAFKA_CA_FILE"),
    "another name": ({"kafka_bootstrap_servers": "127.0.0.1"}, "for another name", "KAFKA_BOOTSTRAP_SERVERS"),
    "wrong password": ({"kafka_password": GUESSED}, "not accept the cred", "KAFKA_USERNAME and KAFKA_PASSWORD"),
    "wrong account": ({"kafka_username": "nobody"}, "not accept the cred", "KAFKA_USERNAME and KAFKA_PASSWORD"),
    "wrong mechanism": ({"kafka_sasl_mechanism": "PLAIN"}, "does not take PLAIN", "KAFKA_SASL_MECHANISM"),
    "plain text": ({"kafka_security_protocol": "SASL_PLAINTEXT"}, "speaks TLS", "KAFKA_SECURITY_PROTOCOL"),
    "no account": ({"kafka_security_protocol": "SSL"}, "asks for an account", "KAFKA_SECURITY_PROTOCOL"),
    "neither": ({"kafka_security_protocol": "PLAINTEXT"}, "speaks TLS", "KAFKA_SECURITY_PROTOCOL"),
    "nobody there": ({"kafka_bootstrap_servers": "localhost:1"}, "does not answer", "KAFKA_BOOTSTRAP_SERVERS"),
    "no such host": ({"kafka_bootstrap_servers": "no.invalid:9092"}, "not known", "KAFKA_BOOTSTRAP_SERVERS"),
    "one away, one that refuses": (
        {"kafka_bootstrap_servers": "SECOND", "kafka_password": GUESSED},
        "not accept the cred",
        "KAFKA_USERNAME and KAFKA_PASSWORD",
    ),
    "no TLS there": ({"kafka_bootstrap_servers": "OPEN"}, "no TLS", "KAFKA_SECURITY_PROTOCOL"),
}


@pytest.mark.parametrize("way", WRONG)
async def test_each_wrong_way_in_is_named_once_and_tried_again(
    way: str, broker: KafkaWithTls, kafka: str, stranger: Path, new_database: NewDatabase, tmp_path: Path
) -> None:
    other, said, check = WRONG[way]
    places = {
        "STRANGER": str(stranger),
        "SECOND": f"localhost:1,{broker.bootstrap}",
        "127.0.0.1": f"127.0.0.1:{broker.port}",
        "OPEN": kafka,
    }
    other = {name: places.get(str(value), value) for name, value in other.items()}
    if other.get("kafka_security_protocol") in ("SSL", "PLAINTEXT"):
        other |= {"kafka_username": "", "kafka_password": ""}
    wrong = settings(broker, "posts", **other)
    db = await new_database("services.chassis")
    await write_events(db, renamed_event(uuid4(), 1))
    relay = Relay(db, db.url, Producer(wrong), wrong)
    consumer = Consumer("comments", (POSTS,), Handlers(), db, wrong)
    with structlog.testing.capture_logs() as logged:
        async with running(relay.run, consumer.run):
            await eventually(lambda: sum(": check " in one["event"] for one in logged) >= 2, timeout=20)
            assert not await relay.ready()
            assert not await consumer.ready()
    sentences = [one["event"] for one in logged if ": check " in one["event"]]
    assert len(sentences) == 2  # one of each, in thirty seconds
    for sentence in sentences:
        assert said in sentence
        assert check in sentence.partition(": check ")[2]
    assert GUESSED not in str(logged)
    assert broker.accounts["posts"] not in str(logged)


@pytest.mark.parametrize("before", ["another", "none", "rubbish"])
async def test_what_waits_is_sent_as_soon_as_the_right_authority_is_in_the_file(
    before: str, broker: KafkaWithTls, stranger: Path, new_database: NewDatabase, tmp_path: Path
) -> None:
    trusted = tmp_path / "authorities.pem"
    shutil.copy(stranger, trusted)
    mine = settings(broker, "people", kafka_ca_file=str(trusted))
    db = await new_database("services.chassis")
    await write_events(db, renamed_event(uuid4(), 1))
    relay = Relay(db, db.url, Producer(mine), mine)
    consumer = Consumer("comments", (PEOPLE,), Handlers(), db, settings(broker, "comments", kafka_ca_file=str(trusted)))
    if before == "none":
        trusted.unlink()
    elif before == "rubbish":
        trusted.write_text("rubbish")
    with structlog.testing.capture_logs() as logged:
        async with running(relay.run, consumer.run):
            await eventually(lambda: sum("KAFKA_CA_FILE" in one["event"] for one in logged) >= 2, timeout=20)
            shutil.copy(broker.pem, trusted)
            await eventually(lambda: all_published(db), timeout=20)
            await eventually(relay.ready, timeout=20)
            await eventually(consumer.ready, timeout=20)


async def test_a_process_stays_up_and_recovers(
    locked: Stack, stranger: Path, session_sink: SmtpSink, tmp_path: Path
) -> None:
    """Posting goes on meanwhile, and what was posted arrives afterwards."""
    trusted = tmp_path / "authorities.pem"
    shutil.copy(stranger, trusted)
    locked.part("posts").stop()
    part = await locked.start("posts", wait=False, KAFKA_CA_FILE=str(trusted))
    await eventually(lambda: "KAFKA_CA_FILE" in part.tail(), timeout=30)
    assert part.alive
    async with Client(locked.url, session_sink) as client:
        admin = await client.sign_in("Ada Admin", "admin@example.com")
        body = {"title": "Meanwhile", "body": "Text.", "publish": True}
        answer = await client.call("POST", "/v1/posts", body, who=admin, headers={"Idempotency-Key": uuid4().hex})
        assert answer.status == 201, answer.body
        shutil.copy(broker_pem(locked), trusted)
        await locked.ready(part)
        path = f"/v1/posts/{answer.json['id']}/comments"

        async def arrived() -> bool:
            return (await client.call("GET", path)).status == 200

        await eventually(arrived, timeout=30)
    assert '"exception"' not in part.log.read_text()


def broker_pem(stack: Stack) -> str:
    return stack.own["posts"]["KAFKA_CA_FILE"]
