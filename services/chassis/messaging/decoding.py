"""Decoding: a record of Kafka becomes an event with its handler, or says why it cannot."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from services.chassis.messaging.cloudevents import Undecodable, from_record, type_of
from services.chassis.messaging.handlers import Handler
from services.contracts.event import Envelope, Event, registry


@dataclass(frozen=True)
class DecodedRecord:
    """A record with its event and handler, or with the error of its decoding."""

    record: Any
    envelope: Envelope | None = None
    event: Event | None = None
    handler: Handler[Any] | None = None
    error: Undecodable | None = None


def decode(
    records: Sequence[Any], handlers: Mapping[str, Handler[Any]], passed_over: Callable[[tuple[Any, str]], None]
) -> Iterator[DecodedRecord]:
    """Yield the records that have a handler, decoded.

    Args:
        passed_over: called with each other record, and `ignored` or `unknown`.
    """
    types = registry()
    for record in records:
        try:
            kind = type_of(record)
            handler = handlers.get(kind)
            if handler is None:
                passed_over((record, "ignored" if kind in types else "unknown"))
                continue
            envelope = from_record(record)
            event = types[kind].model_validate_json(envelope.data)
        except ValidationError as error:
            fields = {".".join(map(str, item["loc"])): item["type"] for item in error.errors(include_input=False)}
            yield DecodedRecord(record, error=Undecodable(f"the value does not fit its type: {fields}"))
        except Undecodable as error:
            yield DecodedRecord(record, error=error)
        else:
            yield DecodedRecord(record, envelope, event, handler)
