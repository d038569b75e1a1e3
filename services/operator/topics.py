"""Make the broker's topics what the contracts say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from services.chassis.messaging.broker_clients import administering
from services.chassis.messaging.connection import connection
from services.chassis.messaging.topic_settings import alter_settings, read_settings, wanted_settings
from services.chassis.messaging.topics import create_topics
from services.chassis.messaging.unreachable import Unreachable
from services.chassis.runtime.settings import Settings
from services.contracts.topics import TOPICS, Topic
from services.operator.failures import Failed

APPLY = "`rapport topics apply`"


@dataclass(frozen=True)
class Change:
    """A setting of a topic that differs."""

    topic: str
    setting: str
    present: str
    wanted: str


@dataclass(frozen=True)
class Left:
    """What differs and is not changed by the command.

    Attributes:
        is_fault: whether it does harm.
    """

    topic: str
    found: str
    mend: str
    is_fault: bool


@dataclass(frozen=True)
class Plan:
    """What is to be done with the topics, by their names at the broker."""

    missing: tuple[str, ...]
    changes: tuple[Change, ...]
    left: tuple[Left, ...]


async def plan(settings: Settings) -> Plan:
    """Compare the broker's topics with the contracts.

    Raises:
        Failed: the broker does not answer, or does not let this account see them.
    """
    try:
        async with administering(settings) as admin:
            return await _compare(admin, settings)
    except (KafkaError, OSError, TimeoutError) as error:
        raise _failed(settings, error) from error


async def apply(settings: Settings, todo: Plan) -> None:
    """Create what is missing and alter what differs. It may be repeated.

    Raises:
        Failed: the broker does not answer, or refuses.
    """
    changes: dict[str, dict[str, str]] = {}
    for change in todo.changes:
        changes.setdefault(change.topic, {})[change.setting] = change.wanted
    try:
        if todo.missing:
            await create_topics(
                settings.kafka_bootstrap_servers,
                settings.kafka_prefix,
                replication_factor=settings.kafka_replication_factor,
                min_insync_replicas=settings.kafka_min_insync_replicas,
                credential=connection(settings),
            )
        if changes:
            async with administering(settings) as admin:
                await alter_settings(admin, changes)
    except (KafkaError, OSError, TimeoutError) as error:
        raise _failed(settings, error) from error


async def _compare(admin: AIOKafkaAdminClient, settings: Settings) -> Plan:
    described = {each["topic"]: each for each in await admin.describe_topics()}  # by name they might be created
    wanted = {settings.kafka_prefix + topic.name: topic for topic in TOPICS}
    present = {name: topic for name, topic in wanted.items() if name in described}
    configured, hidden = await read_settings(admin, present)
    if hidden:
        raise TopicAuthorizationFailedError(hidden[0])
    changes: list[Change] = []
    left: list[Left] = []
    for name, topic in present.items():
        partitions = described[name]["partitions"]
        left += _fixed(name, topic, partitions, settings)
        replicas, least = len(partitions[0]["replicas"]), settings.kafka_min_insync_replicas
        target = wanted_settings(topic, replicas, least)
        if least is not None and least > replicas:
            del target["min.insync.replicas"]
            mend = f"Set KAFKA_MIN_INSYNC_REPLICAS to {max(1, replicas - 1)}, or add replicas; then {APPLY}."
            found = f"with KAFKA_MIN_INSYNC_REPLICAS={least} nobody could write to its {replicas} replicas"
            left.append(Left(name, found, mend, is_fault=True))
        values = configured.get(name, {})
        changes += [Change(name, key, values.get(key, ""), to) for key, to in target.items() if values.get(key) != to]
    missing = tuple(name for name in wanted if name not in described)
    return Plan(missing, tuple(changes), tuple(left))


def _fixed(name: str, topic: Topic, partitions: list[Mapping[str, Any]], settings: Settings) -> list[Left]:
    left = []
    if len(partitions) != topic.partitions:
        found = f"{len(partitions)} partitions instead of {topic.partitions}: {MEANING}"
        left.append(Left(name, found, partitions_mend(topic), is_fault=True))
    replicas, factor = len(partitions[0]["replicas"]), settings.kafka_replication_factor
    if replicas != factor:
        found = f"{replicas} replicas, where KAFKA_REPLICATION_FACTOR is {factor}"
        mend = "Move them with Kafka's own kafka-reassign-partitions, or set the variable to what they are."
        left.append(Left(name, found, mend, is_fault=False))
    return left


MEANING = "the key decides the partition, so another number mixes the order of what is there with what comes"


def partitions_mend(topic: Topic) -> str:
    """Return what to do about a topic with another number of partitions, which nobody can change without harm."""
    kept = "redrive or drop its dead letters; then, " if topic.is_dead_letter else ""
    after = "" if topic.is_dead_letter else "; start them and resync what it carried"
    text = f"{kept}while all services are stopped, delete the topic and run {APPLY}{after}."
    return text[0].upper() + text[1:]


def _failed(settings: Settings, error: Exception) -> Failed:
    if isinstance(error, Unreachable):
        return Failed(f"{error}.")
    servers = settings.kafka_bootstrap_servers
    if isinstance(error, TopicAuthorizationFailedError):
        who = settings.kafka_username or "nobody"
        return Failed(
            f"Kafka at {servers} does not let {who} see and change the settings of {str(error).split()[-1]}: "
            "run `rapport kafka-access` as an account that may change access control lists, then repeat this."
        )
    if isinstance(error, (TimeoutError, OSError)):
        return Failed(f"Kafka at {servers} did not answer in time: repeat this; what is done already stays.")
    return Failed(f"Kafka at {servers} refused ({type(error).__name__}: {error}). What is done already stays.")


def as_json(todo: Plan, *, dry_run: bool) -> dict[str, Any]:
    """Return the result for a program."""
    changes = [
        {"topic": each.topic, "setting": each.setting, "from": each.present, "to": each.wanted} for each in todo.changes
    ]
    left = [
        {"topic": each.topic, "found": each.found, "mend": each.mend, "level": "fault" if each.is_fault else "note"}
        for each in todo.left
    ]
    return {"created": list(todo.missing), "changed": changes, "left": left, "dry_run": dry_run}


def lines(todo: Plan, *, dry_run: bool) -> list[str]:
    """Return the result in lines, each value whole."""
    would = "would be " if dry_run else ""
    said = [f"{name}: {would}created" for name in todo.missing]
    said += [f"{one.topic}: {one.setting} {would}set from {one.present} to {one.wanted}" for one in todo.changes]
    for one in todo.left:
        said += [f"{one.topic}: left as it is: {one.found}.", f"    {one.mend}"]
    if not (todo.missing or todo.changes):
        said.append("There is nothing to create and no setting to change.")
    return said
