"""The doctor before real servers with a planted fault: broker, Valkey, mail server."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from secrets import token_urlsafe
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local.kafka import BROKER, Kafka
from services.chassis.messaging.broker_rights import grant
from services.chassis.messaging.connection import connection
from services.chassis.messaging.topic_settings import wanted_settings
from services.chassis.messaging.topics import create_topics
from services.contracts.broker_rights import ACCOUNTS, grants
from services.contracts.topics import COMMENTS, NOTIFY, POSTS, TOPICS, dead_letter_topic
from services.operator.doctor.broker import check_broker
from services.operator.doctor.examination import Surroundings
from services.operator.doctor.findings import Finding
from services.operator.doctor.neighbours import check_mail_server, check_valkey
from services.operator.doctor.settings import DoctorSettings
from services.operator.doctor.topics import _in_sync
from tests.servers import Servers, free_port
from tests.smtp_sink import SmtpSink
from tests.waiting import eventually


def around(**settings: Any) -> Surroundings:
    async def no_dns(_: str) -> list[str]:
        return []

    return Surroundings(DoctorSettings.model_validate(settings), no_dns)


def wrong(found: list[Finding]) -> list[Finding]:
    assert all(bool(finding.mend) == (finding.level != "ok") for finding in found)
    return [finding for finding in found if finding.level != "ok"]


async def until(around: Surroundings, condition: Callable[[list[Finding]], bool]) -> list[Finding]:
    """Look at the broker until what was changed there has arrived everywhere in it; return what is not ok."""
    found: list[Finding] = []

    async def is_so() -> bool:
        found[:] = wrong(await check_broker(around))
        return condition(found)

    await eventually(is_so, timeout=20)
    return found


@asynccontextmanager
async def administering(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def test_a_broker_as_it_must_be(kafka: str, kafka_prefix: str) -> None:
    await create_topics(kafka, kafka_prefix)
    found = await check_broker(around(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix))
    assert wrong(found) == []
    assert [finding.name for finding in found] == [
        *("Kafka", "topics", "dead letters of posts", "dead letters of comments", "dead letters of notify")
    ]
    assert "4.0 or later" in found[0].found


async def test_a_missing_topic_and_one_with_other_partitions(kafka: str, kafka_prefix: str) -> None:
    await create_topics(kafka, kafka_prefix, topics=[topic for topic in TOPICS if topic not in (POSTS, NOTIFY)])
    async with administering(kafka) as admin:
        await admin.create_topics([NewTopic(kafka_prefix + NOTIFY.name, 3, 1)])
        here = around(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)
        found = await until(here, lambda found: len(found) >= 2 and "3 partitions" in found[1].found)
        assert (found[0].level, found[0].name) == ("fault", kafka_prefix + POSTS.name)
        assert "rapport topics apply" in found[0].mend
        assert (found[1].level, found[1].name) == ("fault", kafka_prefix + NOTIFY.name)
        assert "3 partitions instead of 12" in found[1].found
        assert kafka_prefix + POSTS.name not in await admin.list_topics()  # looking has not created it


async def test_changed_settings_of_topics(kafka: str, kafka_prefix: str) -> None:
    await create_topics(kafka, kafka_prefix)
    changes = {
        COMMENTS.name: {"retention.ms": "3600000", "min.insync.replicas": "2"},
        POSTS.name: {"retention.ms": "-1", "cleanup.policy": "compact"},
        dead_letter_topic("notify").name: {"max.message.bytes": "1000000", "retention.ms": str(90 * 86_400_000)},
    }
    async with administering(kafka) as admin:
        resources = [
            ConfigResource(ConfigResourceType.TOPIC, kafka_prefix + name, configs) for name, configs in changes.items()
        ]
        await admin.alter_configs(resources)
    found = await until(around(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix), lambda found: len(found) >= 5)
    said = {(finding.level, finding.name.removeprefix(kafka_prefix), finding.found.split(" ")[0]) for finding in found}
    assert said == {
        ("fault", COMMENTS.name, "retention.ms"),
        ("fault", COMMENTS.name, "min.insync.replicas"),
        ("warning", POSTS.name, "retention.ms"),
        ("fault", POSTS.name, "cleanup.policy"),
        ("fault", dead_letter_topic("notify").name, "max.message.bytes"),
    }
    assert any("3,600 s instead of 14 days" in finding.found for finding in found)


@pytest.mark.parametrize(
    ("least", "replicas", "variable", "mend"),
    [
        (1, 3, None, "Set it to 2: `rapport topics apply`."),
        (1, 3, 1, "Set KAFKA_MIN_INSYNC_REPLICAS to 2, then `rapport topics apply`."),
        (3, 2, None, "Set it to 1: `rapport topics apply`."),
        (3, 2, 3, "Set KAFKA_MIN_INSYNC_REPLICAS to 1, then `rapport topics apply`."),
    ],
)
def test_the_mend_of_replicas_is_what_the_command_does(
    least: int, replicas: int, variable: int | None, mend: str
) -> None:
    [found] = _in_sync("posts.events", least, replicas, variable)
    assert found.mend == mend
    if variable is None:
        assert wanted_settings(POSTS, replicas, variable)["min.insync.replicas"] in mend


async def test_a_dead_letter_that_waits(kafka: str, kafka_prefix: str) -> None:
    await create_topics(kafka, kafka_prefix)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    about = {
        "dlq_topic": COMMENTS.name,
        "dlq_partition": "0",
        "dlq_offset": "7",
        "dlq_error": "no",
        "dlq_attempts": "5",
    }
    headers = [(name, value.encode()) for name, value in about.items()]
    await producer.send_and_wait(kafka_prefix + dead_letter_topic("notify").name, b"{}", headers=headers)
    await producer.stop()
    [found] = wrong(await check_broker(around(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)))
    assert (found.level, found.name) == ("warning", "dead letters of notify")
    assert "rapport dead-letter list notify" in found.mend


async def test_a_broker_that_is_away() -> None:
    [found] = await check_broker(around(kafka_bootstrap_servers=f"127.0.0.1:{free_port()}"))
    assert (found.level, found.name) == ("fault", "Kafka")
    assert "KAFKA_BOOTSTRAP_SERVERS" in found.mend


@pytest.fixture(scope="module")
def strict_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker that asks for passwords and has access control lists."""
    accounts = {name: token_urlsafe(12) for name in (BROKER, *ACCOUNTS)}
    server = Kafka(tmp_path_factory.mktemp("kafka"), free_port(), free_port(), accounts=accounts)
    server.start()
    yield server
    server.stop()


def as_account(server: Kafka, account: str, password: str | None = None) -> Surroundings:
    return around(
        kafka_bootstrap_servers=server.bootstrap,
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism="PLAIN",
        kafka_username=account,
        kafka_password=password or server.accounts[account],
    )


async def test_a_wrong_password_and_missing_rights_at_the_broker(strict_broker: Kafka) -> None:
    [found] = await check_broker(as_account(strict_broker, "operator", "wrong"))
    assert (found.level, found.name) == ("fault", "Kafka")
    assert "does not let us in as operator" in found.found
    assert "KAFKA_PASSWORD" in found.mend
    [found] = await check_broker(around(kafka_bootstrap_servers=strict_broker.bootstrap))
    assert "does not let us in as nobody" in found.found

    admin = as_account(strict_broker, BROKER).settings
    await create_topics(strict_broker.bootstrap, credential=connection(admin))
    unseen = wrong(await check_broker(as_account(strict_broker, "operator")))
    assert {finding.name for finding in unseen} >= {topic.name for topic in TOPICS}
    older = [right for right in grants() if not right.operation.endswith("-configs")]  # alter implies describe
    await grant(admin, older)
    operator = as_account(strict_broker, "operator")
    [found] = await until(operator, lambda found: len(found) == 1)
    assert (found.level, found.name) == ("warning", "topics")
    assert "rapport kafka-access" in found.mend
    await grant(admin, grants())
    assert await until(operator, lambda found: not found) == []


async def test_valkey(servers: Servers) -> None:
    version, clock = await check_valkey(around(redis_url=servers.redis_url))
    assert (version.level, version.name, clock.level) == ("ok", "Valkey", "ok")
    assert "its version is 9" in version.found
    [found] = await check_valkey(around(redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    assert (found.level, found.name) == ("fault", "Valkey")
    assert "REDIS_URL" in found.mend
    [found] = await check_valkey(around(redis_url=servers.redis_url.replace("//", "//nobody:secret@")))
    assert found.level == "fault"
    assert "secret" not in found.found
    assert "password" in found.mend
    [found] = await check_valkey(around())
    assert found.level == "warning"


async def test_a_mail_server(smtp_sink: SmtpSink) -> None:
    here = {"smtp_host": "127.0.0.1", "smtp_port": smtp_sink.port}
    [found] = await check_mail_server(around(**here))
    assert (found.level, found.found) == ("ok", f"127.0.0.1:{smtp_sink.port} greets: 220 sink.test ESMTP")
    assert smtp_sink.messages == []
    [found] = await check_mail_server(around(**here, smtp_security="starttls"))
    assert (found.level, "STARTTLS" in found.found) == ("fault", True)
    smtp_sink.answers["connect"] = "554 no service here"
    [found] = await check_mail_server(around(**here))
    assert (found.level, "554" in found.found or "no service" in found.found) == ("fault", True)
    [found] = await check_mail_server(around(smtp_host="127.0.0.1", smtp_port=free_port()))
    assert (found.level, "fails at connect" in found.found) == ("fault", True)
    [found] = await check_mail_server(around())
    assert found.level == "warning"


async def test_a_name_and_password_that_the_mail_server_does_not_know(smtp_sink: SmtpSink) -> None:
    smtp_sink.offers.append("AUTH PLAIN")
    smtp_sink.answers["auth"] = "535 5.7.8 wrong"
    settings = {"smtp_host": "127.0.0.1", "smtp_port": smtp_sink.port, "smtp_username": "us", "smtp_password": "secret"}
    [found] = await check_mail_server(around(**settings))
    assert (found.level, "sign-in" in found.found, "SMTP_PASSWORD" in found.mend) == ("fault", True, True)
    assert "secret" not in found.found
