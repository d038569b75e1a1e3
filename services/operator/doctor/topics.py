"""Compare the broker's topics and their settings with the list in the contracts."""

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from services.chassis.messaging.topic_settings import DEAD_LETTER_BYTES, read_settings
from services.contracts.topics import DAY_MS, TOPICS, Topic
from services.operator.doctor.findings import Finding, fault, ok, warning
from services.operator.doctor.settings import DoctorSettings
from services.operator.topics import APPLY, partitions_mend


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
    configured, hidden = await read_settings(admin, present)
    for name, values in configured.items():
        replicas = len(described[name]["partitions"][0]["replicas"])
        found += _settings(name, present[name], values)
        found += _in_sync(name, int(values["min.insync.replicas"]), replicas, settings.kafka_min_insync_replicas)
    if hidden:
        mend = "Run `rapport kafka-access` as an account that may change access control lists."
        found.append(warning("topics", "this account may not see their settings, so they were not looked at", mend))
    if not found:
        found.append(ok("topics", f"all {len(wanted)} are there, with the settings they need"))
    return found


def _missing(name: str) -> Finding:
    return fault(name, "there is no such topic, or this account may not see it", f"Create it: {APPLY}.")


def _partitions(name: str, topic: Topic, partitions: list[Mapping[str, Any]]) -> Iterable[Finding]:
    if len(partitions) != topic.partitions:
        found = f"it has {len(partitions)} partitions instead of {topic.partitions}: order is lost"
        yield fault(name, found, partitions_mend(topic))
    without = sorted(each["partition"] for each in partitions if each["leader"] < 0)
    if without:
        mend = "Start the brokers that hold its replicas."
        yield fault(name, f"no broker leads partition {', '.join(map(str, without))}", mend)
    behind = sum(len(each["isr"]) < len(each["replicas"]) for each in partitions)
    if behind and not without:
        yield warning(name, f"{behind} of its partitions miss a replica", "Start the brokers that are away.")


def _settings(name: str, topic: Topic, values: Mapping[str, str]) -> Iterable[Finding]:
    kept = int(values["retention.ms"])
    if 0 <= kept < topic.retention_ms:
        found = (
            f"retention.ms is {_time(kept)} instead of {_time(topic.retention_ms)}: who is away longer misses events"
        )
        yield fault(name, found, f"Set it back: {APPLY}.")
    elif kept != topic.retention_ms:
        found = f"retention.ms is {_time(kept)} instead of {_time(topic.retention_ms)}"
        yield warning(name, found, f"Set it back, or keep an eye on the disk: {APPLY}.")
    if values["cleanup.policy"] != "delete":
        found = f"cleanup.policy is {values['cleanup.policy']}: an edit deletes the publication before it"
        yield fault(name, found, f"Set it to delete: {APPLY}.")
    if topic.is_dead_letter and int(values["max.message.bytes"]) < DEAD_LETTER_BYTES:
        found = f"max.message.bytes is {int(values['max.message.bytes']):,}: a large record cannot be put aside"
        yield fault(name, found, f"Set it to {DEAD_LETTER_BYTES:,}: {APPLY}.")


def _in_sync(name: str, least: int, replicas: int, variable: int | None) -> Iterable[Finding]:
    """Judge `min.insync.replicas`; `variable` is what the command would set it to, None for all replicas but one."""
    better = max(1, replicas - 1)
    mend = f"Set it to {better}: {APPLY}."
    if variable not in (None, better):
        mend = f"Set KAFKA_MIN_INSYNC_REPLICAS to {better}, then {APPLY}."
    if least > replicas:
        yield fault(name, f"min.insync.replicas is {least}, but it has {replicas} replicas: nobody can write", mend)
    elif replicas >= 3 and least == 1:
        found = (
            f"min.insync.replicas is 1 of {replicas} replicas: a broker that dies can take what was acknowledged along"
        )
        yield warning(name, found, mend)


def _time(ms: int) -> str:
    if ms < 0:
        return "for ever"
    return f"{ms / DAY_MS:,.3g} days" if ms >= DAY_MS else f"{ms / 1000:,.0f} s"
