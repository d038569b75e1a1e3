"""Kafka as Rapport uses it: CloudEvents 1.0 in binary mode, and topics made from the contracts' list.

A record's key is the text of the event's key, its value the event as JSON, and its headers the context: `ce_*` for
attributes and extensions, `content-type`, `traceparent` (CloudEvents Kafka protocol binding 1.0.2, section 3.2).
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from services.contracts.event import Envelope, rfc3339
from services.contracts.topics import TOPICS, Topic

log = structlog.get_logger(__name__)

JSON = b"application/json"
Headers = list[tuple[str, bytes]]


class Undecodable(Exception):
    """A record that is not one of our CloudEvents; trying again will not help."""


def to_headers(envelope: Envelope) -> Headers:
    """The context of an event as record headers."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(envelope.id).encode()),
        ("ce_source", envelope.source.encode()),
        ("ce_type", envelope.type.encode()),
        ("ce_subject", str(envelope.subject).encode()),
        ("ce_time", rfc3339(envelope.time).encode()),
        ("content-type", JSON),
    ]
    if envelope.correlation_id is not None:
        headers.append(("ce_correlationid", envelope.correlation_id.encode()))
    if envelope.causation_id is not None:
        headers.append(("ce_causationid", str(envelope.causation_id).encode()))
    if envelope.traceparent is not None:
        headers.append(("traceparent", envelope.traceparent.encode()))
    return headers


def to_key(envelope: Envelope) -> bytes:
    """What decides the partition."""
    return str(envelope.key).encode()


def type_of(record: Any) -> str:
    """The event type of a record, from its headers alone.

    Raises:
        Undecodable: there is none.
    """
    value = dict(record.headers).get("ce_type")
    if not value:
        raise Undecodable("there is no ce_type header")
    return str(value, "utf-8", "replace")


def from_record(record: Any) -> Envelope:
    """The envelope of a consumed record. Its data are not looked into.

    Raises:
        Undecodable: a required attribute is missing or malformed, or the record has no value.
    """
    try:
        headers = {name: value.decode() for name, value in record.headers}
        if headers["ce_specversion"] != "1.0":
            raise Undecodable(f"specversion {headers['ce_specversion']} is not known")
        if not headers.get("content-type", "application/json").startswith("application/json"):
            raise Undecodable("the content type is not JSON")
        if record.value is None:
            raise Undecodable("there is no value")
        causation = headers.get("ce_causationid")
        moment = datetime.fromisoformat(headers["ce_time"])
        if moment.tzinfo is None:
            raise Undecodable("ce_time has no time zone")
        return Envelope(
            id=UUID(headers["ce_id"]),
            source=headers["ce_source"],
            type=headers["ce_type"],
            subject=UUID(headers["ce_subject"]),
            time=moment,
            key=UUID(record.key.decode()),
            data=bytes(record.value),
            correlation_id=headers.get("ce_correlationid"),
            causation_id=UUID(causation) if causation else None,
            traceparent=headers.get("traceparent"),
        )
    except KeyError as error:
        raise Undecodable(f"there is no {error.args[0]} header") from None
    except (ValueError, AttributeError) as error:  # not UTF-8, not a UUID, not a time; None where bytes belong
        raise Undecodable(f"the headers or the key are malformed: {error}") from None


DEAD_LETTER_BYTES = 2 * 1024 * 1024  # the original record, which may have 1 MiB, and what is said about it


async def create_topics(
    bootstrap: str,
    prefix: str = "",
    *,
    replication_factor: int = 1,
    topics: Iterable[Topic] = TOPICS,
    seconds: float = 30.0,
) -> list[str]:
    """Make the topics that do not exist yet and wait until the broker shows all of them; returns the new ones.

    Raises:
        KafkaError: the broker does not answer or refuses.
        TimeoutError: they did not show up within `seconds`.
    """
    wanted = {prefix + topic.name: topic for topic in topics}
    async with asyncio.timeout(seconds):
        # each request has less time than all together: aiokafka loses a connection whose making is cancelled
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=int(seconds * 500))
        try:
            await admin.start()
            missing = wanted.keys() - set(await admin.list_topics())
            if missing:
                answer = await admin.create_topics(
                    [_new_topic(name, wanted[name], replication_factor) for name in sorted(missing)]
                )
                for name, code, *_ in answer.topic_errors:
                    if for_code(code) not in (for_code(0), TopicAlreadyExistsError):
                        raise for_code(code)(name)
                while not await _have_leaders(admin, missing):  # noqa: ASYNC110  # the broker tells nobody
                    await asyncio.sleep(0.05)
                log.info("topics created", topics=sorted(missing))
            return sorted(missing)
        finally:
            await admin.close()


async def _have_leaders(admin: AIOKafkaAdminClient, names: Iterable[str]) -> bool:
    """Whether every partition has a leader. A topic is listed a moment before that."""
    found = await admin.describe_topics(sorted(names))
    return all(
        topic["error_code"] == 0
        and all(part["error_code"] == 0 and part["leader"] >= 0 for part in topic["partitions"])
        for topic in found
    )


def _new_topic(name: str, topic: Topic, replication_factor: int) -> NewTopic:
    configs = {"retention.ms": str(topic.retention_ms), "cleanup.policy": "delete"}
    if topic.name.endswith(".dead-letter"):
        configs["max.message.bytes"] = str(DEAD_LETTER_BYTES)
    return NewTopic(name, topic.partitions, replication_factor, topic_configs=configs)
