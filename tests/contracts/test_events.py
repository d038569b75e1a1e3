"""The published language: every event ever published must stay readable by every consumer.

`golden/` contains records as they were published, one JSON object a line, a file for each event type. Lines are only
ever added; `golden/sealed.json` stores the SHA-256 of each line, so that a change is noticed. `schemas/` contains every
version of each type's JSON Schema: the newest equals the code, and all are compatible with each other in both
directions: a new reader understands every old writer, an old reader every new writer.
"""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from services.chassis.messaging.cloudevents import from_record, to_headers, to_key
from services.contracts.event import Event, published, registry
from services.contracts.topics import EVENT_TOPICS
from tests.contracts.event_files import GOLDEN, SEALED, TYPES, compatible, current, golden, lines, versions


@pytest.mark.parametrize("name", TYPES)
def test_every_golden_line_is_decoded(name: str) -> None:
    found = list(golden(name))
    assert found
    for record, value in found:
        envelope = from_record(record)
        assert envelope.type == name
        event = registry()[name].model_validate_json(envelope.data)
        assert event.subject == envelope.subject
        assert event.key == envelope.key
        written = json.loads(event.model_dump_json())
        assert {field: written[field] for field in value} == value
        assert to_headers(envelope) == record.headers
        assert to_key(envelope) == record.key


def test_every_golden_line_has_an_event_type() -> None:
    """A type that was deleted from the code is still in a topic."""
    assert sorted(path.stem for path in GOLDEN.glob("*.jsonl")) == TYPES


def test_golden_lines_are_only_added() -> None:
    sealed: dict[str, list[str]] = json.loads(SEALED.read_text())
    assert sorted(sealed) == TYPES
    for name, digests in sealed.items():
        assert [hashlib.sha256(line.encode()).hexdigest() for line in lines(name)] == digests, name


@pytest.mark.parametrize("name", TYPES)
def test_the_newest_schema_matches_the_code(name: str) -> None:
    assert versions(name)[-1] == current(name), "write its next version: python -m tests.contracts.event_files"


@pytest.mark.parametrize("name", TYPES)
def test_every_two_versions_of_a_schema_are_compatible(name: str) -> None:
    every = versions(name)
    for position, old in enumerate(every):
        for new in every[position:]:
            assert compatible(old, new)


BASE = current("dev.rapport.comments.posted.v1")


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(json.dumps(BASE))
    change(schema)
    return schema


def test_an_optional_addition_is_compatible() -> None:
    optional = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    assert compatible(BASE, changed(lambda schema: schema["properties"].update(language=optional)))


@pytest.mark.parametrize(
    "change",
    [
        lambda schema: schema["required"].remove("depth"),
        lambda schema: (schema["properties"].pop("depth"), schema["required"].remove("depth")),
        lambda schema: (
            schema["properties"].update(language={"type": "string"}),
            schema["required"].append("language"),
        ),
        lambda schema: schema["properties"]["state"]["enum"].append("locked"),
        lambda schema: schema["properties"]["state"]["enum"].remove("held"),
        lambda schema: schema["properties"]["depth"].update(type="string"),
        lambda schema: schema["properties"].update(parent_id={"type": "string", "format": "uuid"}),
    ],
    ids=["made optional", "removed", "required", "value added", "value removed", "other type", "null refused"],
)
def test_a_breaking_change_is_detected(change: Callable[[dict[str, Any]], object]) -> None:
    """Test the comparison itself: if it accepted these changes it would prove nothing."""
    assert not compatible(BASE, changed(change))


@pytest.mark.parametrize("name", TYPES)
def test_readers_ignore_unknown_fields_and_require_known_ones(name: str) -> None:
    record, value = next(golden(name))
    event_type = registry()[name]
    assert event_type.model_validate(value | {"a_later_field": {"deep": 1}}) == event_type.model_validate(value)
    for field in current(name)["required"]:
        with pytest.raises(ValidationError):
            event_type.model_validate({known: value[known] for known in value if known != field})
    assert record.value


NAME = r"dev\.rapport\.(posts|comments|people|notify)\.[a-z]+(-[a-z]+)*\.v[1-9]"
WORDS = {"title", "body", "body_html", "name", "email", "address", "ip", "text", "excerpt", "slug", "avatar_url"}


@pytest.mark.parametrize("name", TYPES)
def test_an_event_is_thin_and_named_by_its_owner(name: str) -> None:
    """Events carry no text and no name; strings are ids, times, or come from a list."""
    event_type = registry()[name]
    assert re.fullmatch(NAME, name)
    assert event_type.topic in EVENT_TOPICS
    assert event_type.topic.name == name.split(".")[2] + ".events"
    properties = event_type.model_json_schema()["properties"]
    assert not WORDS & set(properties)
    assert {"version", "occurred_at"} <= set(properties)
    for field, schema in properties.items():
        for option in schema.get("anyOf", [schema]):
            if option.get("type") == "string" and field != "why":  # an open list of reasons
                assert option.get("format") in ("uuid", "date-time") or "enum" in option, field


def test_two_events_cannot_have_one_type() -> None:
    class Again(Event):
        type = TYPES[0]

    with pytest.raises(ValueError, match="two events are called"):
        published(Again)
