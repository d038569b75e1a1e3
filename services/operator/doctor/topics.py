"""Compare the broker's topics and their settings with the list in the contracts."""

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAuthorizationFailedError

from services.chassis.messaging.topics import DEAD_LETTER_BYTES
from services.contracts.topics import DAY_MS, TOPICS, Topic
from services.operator.doctor.findings import Finding, fault, ok, warning
from services.operator.doctor.settings import DoctorSettings

APPLY = "rapport topics apply"


async def look_at_topics(admin: AIOKafkaAdminClient, settings: DoctorSettings) -> list[Finding]:
    """Return what differs from the contracts.

    Raises:
        KafkaError: the broker does not answer, or refuses.
    """
    described = {each["topic"]: each for each in await admin.describe_topics()}  # by name they might be created
    wanted = {settings.kafka_prefix + topic.name: topic for topic in TOPICS}
    present = {name: topic for name, topic in wanted.items() if name in described}
    found = [_missing(name) for name in wanted if name not in described]
    for name, topic in present.items():
        found += _partitions(name, topic, described[name]["partitions"])
    configured, hidden = await _configured(admin, present)
    for name, values in configured.items():
        found += _settings(name, present[name], values, len(described[name]["partitions"][0]["replicas"]))
    if hidden:
        mend = "Run `rapport kafka-access` as an account that may change access control lists."
        found.append(warning("topics", "this account may not see their settings, so they were not looked at", mend))
    if not found:
        found.append(ok("topics", f"all {len(wanted)} are there, with the settings they need"))
    return found


def _missing(name: str) -> Finding:
    return fault(name, "there is no such topic, or this account may not see it", f"Create it: {APPLY}")


def _partitions(name: str, topic: Topic, partitions: list[Mapping[str, Any]]) -> Iterable[Finding]:
    if len(partitions) != topic.partitions:
        mend = f"While all services are stopped, delete the topic; {APPLY}; then resync what it carried."
        yield fault(name, f"it has {len(partitions)} partitions instead of {topic.partitions}: order is lost", mend)
    without = sorted(each["partition"] for each in partitions if each["leader"] < 0)
    if without:
        mend = "Start the brokers that hold its replicas."
        yield fault(name, f"no broker leads partition {', '.join(map(str, without))}", mend)
    behind = sum(len(each["isr"]) < len(each["replicas"]) for each in partitions)
    if behind and not without:
        yield warning(name, f"{behind} of its partitions miss a replica", "Start the brokers that are away.")


async def _configured(admin: AIOKafkaAdminClient, names: Iterable[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the settings of each topic, and the topics whose settings we may not see."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configured: dict[str, dict[str, str]] = {}
    hidden: list[str] = []
    for answer in await admin.describe_configs(resources) if resources else ():
        for error, _, _, name, entries in answer.resources:
            if error == TopicAuthorizationFailedError.errno:
                hidden.append(name)
            elif not error:
                configured[name] = {entry[0]: entry[1] for entry in entries}
    return configured, hidden


def _settings(name: str, topic: Topic, values: Mapping[str, str], replicas: int) -> Iterable[Finding]:
    kept = int(values["retention.ms"])
    if 0 <= kept < topic.retention_ms:
        found = (
            f"retention.ms is {_time(kept)} instead of {_time(topic.retention_ms)}: who is away longer misses events"
        )
        yield fault(name, found, f"Set it back: {APPLY}")
    elif kept != topic.retention_ms:
        found = f"retention.ms is {_time(kept)} instead of {_time(topic.retention_ms)}"
        yield warning(name, found, f"Set it back, or keep an eye on the disk: {APPLY}")
    if values["cleanup.policy"] != "delete":
        found = f"cleanup.policy is {values['cleanup.policy']}: an edit deletes the publication before it"
        yield fault(name, found, f"Set it to delete: {APPLY}")
    if topic.name.endswith(".dead-letter") and int(values["max.message.bytes"]) < DEAD_LETTER_BYTES:
        found = f"max.message.bytes is {int(values['max.message.bytes']):,}: a large record cannot be put aside"
        yield fault(name, found, f"Set it to {DEAD_LETTER_BYTES:,}: {APPLY}")
    least = int(values["min.insync.replicas"])
    if least > replicas:
        found = f"min.insync.replicas is {least}, but it has {replicas} replicas: nobody can write"
        yield fault(name, found, f"Lower it, or add replicas: {APPLY}")
    elif replicas >= 3 and least == 1:
        found = (
            f"min.insync.replicas is 1 of {replicas} replicas: a broker that dies can take what was acknowledged along"
        )
        yield warning(name, found, f"Set it to {replicas - 1}: {APPLY}")


def _time(ms: int) -> str:
    if ms < 0:
        return "for ever"
    return f"{ms / DAY_MS:,.3g} days" if ms >= DAY_MS else f"{ms / 1000:,.0f} s"
