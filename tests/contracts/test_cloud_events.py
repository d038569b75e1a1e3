"""Our codec of CloudEvents on Kafka, compared with the SDK of the CloudEvents project."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event, to_binary_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.messaging.cloudevents import Headers, Undecodable, from_record, to_headers, to_key, type_of
from services.contracts.event import Envelope, rfc3339
from tests.contracts.event_files import TYPES, golden


@dataclass(frozen=True)
class Record:
    key: bytes | None
    value: bytes | None
    headers: Headers


visible = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
envelopes = st.builds(
    Envelope,
    id=st.uuids(),
    source=visible.map(lambda text: "/services/" + text),
    type=st.sampled_from(TYPES),
    subject=st.uuids(),
    time=st.datetimes(datetime(1970, 1, 2), datetime(2999, 1, 1)).map(  # noqa: DTZ001  # the zone is added
        lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
    ),
    key=st.uuids(),
    data=st.dictionaries(st.text(max_size=5), st.integers(), max_size=3).map(lambda value: json.dumps(value).encode()),
    correlation_id=st.none() | visible,
    causation_id=st.none() | st.uuids(),
    traceparent=st.none() | st.just("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    epoch=st.integers(0, 10**18 - 1),
)


@given(envelopes)
def test_decoding_reverses_encoding(envelope: Envelope) -> None:
    assert from_record(Record(to_key(envelope), envelope.data, to_headers(envelope))) == envelope


@given(envelopes)
def test_the_sdk_reads_what_we_write(envelope: Envelope) -> None:
    event = from_binary_event(KafkaMessage(dict(to_headers(envelope)), to_key(envelope), envelope.data))
    assert event.get_specversion() == "1.0"
    assert event.get_id() == str(envelope.id)
    assert event.get_source() == envelope.source
    assert event.get_type() == envelope.type
    assert event.get_subject() == str(envelope.subject)
    assert event.get_time() == envelope.time
    assert event.get_datacontenttype() == "application/json"
    assert event.get_extension("correlationid") == envelope.correlation_id
    assert event.get_extension("causationid") == (str(envelope.causation_id) if envelope.causation_id else None)
    assert event.get_extension("epoch") == (str(envelope.epoch) if envelope.epoch else None)
    assert event.get_data() == json.loads(envelope.data)


@given(envelopes)
def test_we_read_what_the_sdk_writes(envelope: Envelope) -> None:
    attributes: dict[str, Any] = {
        "id": str(envelope.id),
        "source": envelope.source,
        "type": envelope.type,
        "specversion": "1.0",
        "subject": str(envelope.subject),
        "time": envelope.time,
        "datacontenttype": "application/json",
        "partitionkey": str(envelope.key),
    }
    if envelope.correlation_id:
        attributes["correlationid"] = envelope.correlation_id
    if envelope.causation_id:
        attributes["causationid"] = str(envelope.causation_id)
    message = to_binary_event(CloudEvent(attributes, json.loads(envelope.data)))
    key = message.key.encode() if isinstance(message.key, str) else message.key
    read = from_record(Record(key, message.value, list(message.headers.items())))
    assert (read.id, read.source, read.type, read.subject) == (
        envelope.id,
        envelope.source,
        envelope.type,
        envelope.subject,
    )
    assert (read.time, read.key) == (envelope.time, envelope.key)
    assert (read.correlation_id, read.causation_id) == (envelope.correlation_id, envelope.causation_id)
    assert json.loads(read.data) == json.loads(envelope.data)


@pytest.mark.parametrize("name", TYPES)
def test_the_sdk_reads_every_golden_record(name: str) -> None:
    for record, value in golden(name):
        event = from_binary_event(KafkaMessage(dict(record.headers), record.key, record.value))
        assert event.get_type() == name
        assert event.get_data() == value


GOOD = to_headers(
    Envelope(
        UUID(int=1), "/services/posts", TYPES[0], UUID(int=2), datetime(2026, 1, 1, tzinfo=UTC), UUID(int=3), b"{}"
    )
)


@pytest.mark.parametrize("value", [b"", b"-1", b"1_0", b" 1", b"1.5", b"9" * 19, "\u0663".encode()])
def test_an_epoch_that_is_no_number_is_undecodable(value: bytes) -> None:
    with pytest.raises(Undecodable, match="ce_epoch"):
        from_record(Record(str(UUID(int=3)).encode(), b"{}", [*GOOD, ("ce_epoch", value)]))


def test_an_event_of_the_first_epoch_has_the_headers_of_before() -> None:
    assert "ce_epoch" not in dict(GOOD)


@pytest.mark.parametrize("missing", ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time"])
def test_a_missing_attribute_is_named(missing: str) -> None:
    headers = [entry for entry in GOOD if entry[0] != missing]
    with pytest.raises(Undecodable, match=missing):
        from_record(Record(str(UUID(int=3)).encode(), b"{}", headers))


@given(
    st.lists(
        st.tuples(st.sampled_from([*dict(GOOD), "ce_causationid", "x"]), st.none() | st.binary(max_size=40)),
        max_size=12,
    ),
    st.none() | st.binary(max_size=40),
    st.none() | st.binary(max_size=40),
)
def test_malformed_input_raises_undecodable_only(headers: Any, key: bytes | None, value: bytes | None) -> None:
    for tried in (headers, [*GOOD, *headers]):
        record = Record(key, value, tried)
        for read in (from_record, type_of):
            try:
                read(record)
            except Undecodable as error:
                assert str(error)


def test_times_have_one_form() -> None:
    moment = datetime.fromisoformat("2026-11-23T05:35:00.123456+01:00")
    assert rfc3339(moment) == "2026-11-23T04:35:00.123Z"
    assert rfc3339(moment - timedelta(microseconds=123456)) == "2026-11-23T04:35:00.000Z"
