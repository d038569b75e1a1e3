"""`rapport topics apply` on a real broker: without accounts, and with accounts and access control lists."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from deploy.local.kafka import BROKER, Kafka
from services.chassis.messaging.broker_clients import administering
from services.chassis.messaging.broker_rights import grant
from services.chassis.messaging.connection import connection
from services.chassis.messaging.topic_settings import alter_settings, read_settings, wanted_settings
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.broker_rights import ACCOUNTS, grants
from services.contracts.topics import COMMENTS, NOTIFY, POSTS, TOPICS, Topic, dead_letter_topic
from tests.servers import free_port
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent.parent
LETTERS = dead_letter_topic("notify")


def rapport(around: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.operator", "topics", "apply", *arguments]
    environment = {"PATH": os.environ["PATH"], "RAPPORT_HOME": "/nowhere", "COLUMNS": "80"} | around
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)


def told(ended: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(ended.stdout)


async def change(bootstrap: str, prefix: str, topic: Topic, **values: str) -> None:
    """Change settings of a topic, and wait until the broker tells them."""
    settings = Settings(kafka_bootstrap_servers=bootstrap)
    name = prefix + topic.name
    wanted = {key.replace("_", "."): value for key, value in values.items()}
    async with administering(settings) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, wanted)])

        async def is_seen() -> bool:
            found = (await read_settings(admin, [name]))[0][name]
            return all(found[key] == value for key, value in wanted.items())

        await eventually(is_seen)


async def settings_of(bootstrap: str, prefix: str) -> dict[str, dict[str, str]]:
    async with administering(Settings(kafka_bootstrap_servers=bootstrap)) as admin:
        found, hidden = await read_settings(admin, [prefix + topic.name for topic in TOPICS])
    assert not hidden
    return {name.removeprefix(prefix): values for name, values in found.items()}


async def are_as_wanted(bootstrap: str, prefix: str) -> bool:
    found = await settings_of(bootstrap, prefix)
    wanted = {topic.name: wanted_settings(topic, 1, None) for topic in TOPICS}
    return all(found[name][key] == value for name, values in wanted.items() for key, value in values.items())


async def test_missing_topics_are_created_and_others_altered(kafka: str, kafka_prefix: str) -> None:
    around = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "KAFKA_PREFIX": kafka_prefix}
    await create_topics(kafka, kafka_prefix, topics=[topic for topic in TOPICS if topic != NOTIFY])
    await change(kafka, kafka_prefix, POSTS, cleanup_policy="compact")
    await change(kafka, kafka_prefix, COMMENTS, retention_ms="3600000", segment_ms="1234567", min_insync_replicas="2")
    await change(kafka, kafka_prefix, LETTERS, max_message_bytes="1000000", retention_ms=str(LETTERS.retention_ms))
    looked = rapport(around, "--dry-run", "--json")
    assert looked.returncode == 0, looked
    answer = told(looked)
    assert (answer["created"], answer["left"], answer["dry_run"]) == ([kafka_prefix + NOTIFY.name], [], True)
    assert [tuple(each.values()) for each in answer["changed"]] == [
        (kafka_prefix + name, setting, present, wanted)
        for name, setting, present, wanted in (
            # the older request of the protocol, by which the test changes topics, has reset what it does not name
            (POSTS.name, "retention.ms", "604800000", "1209600000"),
            (POSTS.name, "cleanup.policy", "compact", "delete"),
            (COMMENTS.name, "retention.ms", "3600000", "1209600000"),
            (COMMENTS.name, "min.insync.replicas", "2", "1"),
            (LETTERS.name, "max.message.bytes", "1000000", "2097152"),
        )
    ]
    assert not await are_named(kafka, kafka_prefix, NOTIFY)
    assert rapport(around, "--dry-run", "--json").stdout == looked.stdout  # nothing was changed

    done = rapport(around)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert f"{kafka_prefix}{NOTIFY.name}: created" in done.stdout
    assert f"{kafka_prefix}{COMMENTS.name}: retention.ms set from 3600000 to 1209600000" in done.stdout
    await eventually(lambda: are_as_wanted(kafka, kafka_prefix))
    assert (await settings_of(kafka, kafka_prefix))[COMMENTS.name]["segment.ms"] == "1234567"

    again = rapport(around)
    assert (again.returncode, again.stdout) == (0, "There is nothing to create and no setting to change.\n")


async def are_named(bootstrap: str, prefix: str, topic: Topic) -> bool:
    async with administering(Settings(kafka_bootstrap_servers=bootstrap)) as admin:
        return prefix + topic.name in await admin.list_topics()


async def test_partitions_stay_and_replicas_are_only_told(kafka: str, kafka_prefix: str) -> None:
    around = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "KAFKA_PREFIX": kafka_prefix}
    async with administering(Settings(kafka_bootstrap_servers=kafka)) as admin:
        await admin.create_topics(
            [NewTopic(kafka_prefix + NOTIFY.name, 3, 1), NewTopic(kafka_prefix + LETTERS.name, 2, 1)]
        )
    await create_topics(kafka, kafka_prefix)
    refused = rapport(around)
    assert refused.returncode == 1
    assert f"{kafka_prefix}{NOTIFY.name}: left as it is: 3 partitions instead of 12" in refused.stdout
    assert "delete the topic and run `rapport topics apply`; start them and resync" in refused.stdout
    assert "Redrive or drop its dead letters; then, while all services are stopped" in refused.stdout
    assert f"{kafka_prefix}{NOTIFY.name}: retention.ms set from" in refused.stdout  # the rest of it is mended
    await eventually(lambda: are_as_wanted(kafka, kafka_prefix))
    async with administering(Settings(kafka_bootstrap_servers=kafka)) as admin:
        [described] = await admin.describe_topics([kafka_prefix + NOTIFY.name])
        assert len(described["partitions"]) == 3
        await admin.delete_topics([kafka_prefix + NOTIFY.name, kafka_prefix + LETTERS.name])  # the mend that it names

    async def are_gone() -> bool:
        return not (await are_named(kafka, kafka_prefix, NOTIFY) or await are_named(kafka, kafka_prefix, LETTERS))

    await eventually(are_gone)
    assert rapport(around).returncode == 0

    more = rapport(around | {"KAFKA_REPLICATION_FACTOR": "3"}, "--json")
    assert more.returncode == 0, more
    assert {(each["level"], each["found"]) for each in told(more)["left"]} == {
        ("note", "1 replicas, where KAFKA_REPLICATION_FACTOR is 3")
    }
    assert told(more)["changed"] == []
    unwritable = rapport(around | {"KAFKA_REPLICATION_FACTOR": "3", "KAFKA_MIN_INSYNC_REPLICAS": "2"}, "--json")
    assert unwritable.returncode == 1
    assert {each["found"] for each in told(unwritable)["left"] if each["level"] == "fault"} == {
        "with KAFKA_MIN_INSYNC_REPLICAS=2 nobody could write to its 1 replicas"
    }
    assert await are_as_wanted(kafka, kafka_prefix)


@pytest.mark.parametrize(("replicas", "given", "wanted"), [(1, None, "1"), (2, None, "1"), (3, None, "2"), (3, 1, "1")])
def test_all_replicas_but_one_have_what_counts_as_written(replicas: int, given: int | None, wanted: str) -> None:
    assert wanted_settings(POSTS, replicas, given)["min.insync.replicas"] == wanted


def test_topics_that_nobody_could_write_are_refused() -> None:
    with pytest.raises(ValueError, match="KAFKA_MIN_INSYNC_REPLICAS is 2, but KAFKA_REPLICATION_FACTOR is 1"):
        Settings(kafka_min_insync_replicas=2)


async def test_a_broker_that_is_away() -> None:
    away = f"127.0.0.1:{free_port()}"
    ended = rapport({"KAFKA_BOOTSTRAP_SERVERS": away})
    assert ended.returncode == 1
    assert away in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def strict_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker that asks for passwords and has access control lists, from a release that did not alter topics."""
    accounts = {name: token_urlsafe(12) for name in (BROKER, *ACCOUNTS)}
    server = Kafka(tmp_path_factory.mktemp("kafka"), free_port(), free_port(), accounts=accounts)
    server.start()
    asyncio.run(_prepare(server))
    yield server
    server.stop()


async def _prepare(server: Kafka) -> None:
    await create_topics(server.bootstrap, credential=connection(as_account(server, BROKER)))
    await grant(as_account(server, BROKER), [right for right in grants() if right.operation != "alter-configs"])


def as_account(server: Kafka, account: str) -> Settings:
    return Settings.model_validate({name.lower(): value for name, value in variables(server, account).items()})


def variables(server: Kafka, account: str) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": server.bootstrap,
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_USERNAME": account,
        "KAFKA_PASSWORD": server.accounts[account],
    }


async def test_the_operator_s_account_may_alter_topics_and_nobody_else(strict_broker: Kafka) -> None:
    admin, operator = as_account(strict_broker, BROKER), variables(strict_broker, "operator")
    async with administering(admin) as client:
        await alter_settings(client, {COMMENTS.name: {"retention.ms": "3600000"}})

    async def is_told() -> bool:
        ended = rapport(operator, "--dry-run", "--json")
        return ended.returncode == 0 and len(told(ended)["changed"]) == 1

    await eventually(is_told, timeout=20)
    refused = rapport(operator)
    assert refused.returncode == 1
    assert f"does not let operator see and change the settings of {COMMENTS.name}" in refused.stderr
    assert "rapport kafka-access" in refused.stderr
    await grant(admin, grants())

    async def is_applied() -> bool:
        return rapport(operator).returncode == 0

    await eventually(is_applied, timeout=20)

    async def is_mended() -> bool:
        return bool(told(rapport(operator, "--json"))["changed"] == [])

    await eventually(is_mended, timeout=20)
    for account in set(ACCOUNTS) - {"operator"}:
        async with administering(as_account(strict_broker, account)) as client:
            with pytest.raises(TopicAuthorizationFailedError):
                await alter_settings(client, {COMMENTS.name: {"retention.ms": "1"}})
    wrong = rapport(variables(strict_broker, "posts"))
    assert (wrong.returncode, "does not let posts see and change" in wrong.stderr) == (1, True)


async def test_it_alters_these_topics_alone(strict_broker: Kafka) -> None:
    async with administering(as_account(strict_broker, BROKER)) as client:
        await client.create_topics([NewTopic("of.others", 1, 1)])
    await grant(as_account(strict_broker, BROKER), grants())
    async with administering(as_account(strict_broker, "operator")) as client:
        with pytest.raises(KafkaError):
            await alter_settings(client, {"of.others": {"retention.ms": "1"}})
        answer = await client.delete_topics([COMMENTS.name])
        assert [code for _, code in answer.topic_error_codes] == [TopicAuthorizationFailedError.errno]


def test_the_client_of_kafka_still_lacks_the_request() -> None:
    """When aiokafka has it, ours goes."""
    assert not hasattr(AIOKafkaAdminClient, "incremental_alter_configs")
