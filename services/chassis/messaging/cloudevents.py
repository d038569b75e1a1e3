"""CloudEvents 1.0 on Kafka, in binary content mode.

A record's key is the text of the event's key, its value the event as JSON, and its headers the context: `ce_*` for
attributes and extensions, `content-type`, `traceparent` (CloudEvents Kafka protocol binding 1.0.2, section 3.2).
"""

import re
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from services.contracts.event import Envelope, rfc3339

JSON = b"application/json"
EPOCH = re.compile(r"[0-9]{1,18}")  # fits into PostgreSQL's bigint
Headers = list[tuple[str, bytes]]
read_id = lru_cache(maxsize=4096)(UUID)  # of posts and people, which come again and again


class Undecodable(Exception):
    """A record that is not one of our CloudEvents. A retry does not help."""


def to_headers(envelope: Envelope) -> Headers:
    """Return the context of an event as record headers."""
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
    if envelope.epoch:
        headers.append(("ce_epoch", str(envelope.epoch).encode()))
    return headers


def to_key(envelope: Envelope) -> bytes:
    """Return the record's key, which determines its partition."""
    return str(envelope.key).encode()


def type_of(record: Any) -> str:
    """Return the event type of a record, from its headers alone.

    Raises:
        Undecodable: the header is missing.
    """
    value = dict(record.headers).get("ce_type")
    if not value:
        raise Undecodable("there is no ce_type header")
    return str(value, "utf-8", "replace")


def from_record(record: Any) -> Envelope:
    """Return the envelope of a consumed record. Its data are not decoded.

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
            subject=read_id(headers["ce_subject"]),
            time=moment,
            key=read_id(record.key.decode()),
            data=bytes(record.value),
            correlation_id=headers.get("ce_correlationid"),
            causation_id=UUID(causation) if causation else None,
            traceparent=headers.get("traceparent"),
            epoch=_epoch(headers.get("ce_epoch", "0")),
        )
    except KeyError as error:
        raise Undecodable(f"there is no {error.args[0]} header") from None
    except (ValueError, AttributeError) as error:  # not UTF-8, not a UUID, not a time; None where bytes belong
        raise Undecodable(f"the headers or the key are malformed: {error}") from None


def _epoch(text: str) -> int:
    if not EPOCH.fullmatch(text):
        raise Undecodable("ce_epoch is not a number")
    return int(text)
