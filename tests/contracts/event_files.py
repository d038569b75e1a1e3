"""The files of the published language: golden records, their digests, and every version of each schema.

After an addition to the contracts: `python -m tests.contracts.event_files` writes the next version of a schema, a first
golden file for a new type, and digests of new lines.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import jsoncompat

from services.contracts.event import registry

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
SCHEMAS = HERE / "schemas"
SEALED = GOLDEN / "sealed.json"
TYPES = sorted(registry())


@dataclass(frozen=True)
class Record:
    """A golden line as a consumer would get it."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def lines(name: str) -> list[str]:
    return (GOLDEN / f"{name}.jsonl").read_text().splitlines()


def golden(name: str) -> Iterator[tuple[Record, dict[str, Any]]]:
    for line in lines(name):
        entry = json.loads(line)
        headers = [(name, value.encode()) for name, value in entry["headers"].items()]
        yield Record(entry["key"].encode(), json.dumps(entry["value"]).encode(), headers), entry["value"]


def versions(name: str) -> list[dict[str, Any]]:
    """Return every committed schema of a type, oldest first."""
    files = sorted((SCHEMAS / name).glob("*.json"), key=lambda path: int(path.stem))
    assert [path.stem for path in files] == [str(number + 1) for number in range(len(files))]
    return [json.loads(path.read_text()) for path in files]


def current(name: str) -> dict[str, Any]:
    """Return the schema of a type without descriptions, which may change."""
    return dict(without_words(registry()[name].model_json_schema()))


def without_words(schema: Any) -> Any:
    if isinstance(schema, list):
        return [without_words(item) for item in schema]
    if isinstance(schema, dict):
        words = ("title", "description") if "type" in schema or "anyOf" in schema else ()
        return {name: without_words(value) for name, value in schema.items() if name not in words}
    return schema


def compatible(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Return whether each can read what the other writes. Readers ignore unknown fields."""
    reads = jsoncompat.check_compat(json.dumps(closed(old)), json.dumps(closed(new)), "deserializer")
    is_read = jsoncompat.check_compat(json.dumps(old), json.dumps(new), "serializer")
    return reads and is_read


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"additionalProperties": False}


def samples(name: str) -> list[dict[str, Any]]:
    """Return values for a type without a golden line: every field set, and the shortest."""
    event_type = registry()[name]
    schema = current(name)
    whole = {field: _sample(field, part) for field, part in schema["properties"].items()}
    shortest = {
        field: None if {"type": "null"} in part.get("anyOf", []) else whole[field]
        for field, part in schema["properties"].items()
        if field in schema["required"]
    }
    return [
        json.loads(event_type.model_validate(value).model_dump_json(exclude_unset=True)) for value in (whole, shortest)
    ]


def _sample(field: str, schema: dict[str, Any]) -> Any:
    option = schema.get("anyOf", [schema])[0]
    if option.get("format") == "uuid":
        digest = hashlib.sha256(field.encode()).digest()[:16]
        return str(UUID(bytes=digest[:6] + b"\x70" + digest[7:8] + b"\x80" + digest[9:]))
    if option.get("format") == "date-time":
        return "2026-11-23T04:35:00.000Z"
    if "enum" in option:
        return option["enum"][-1]
    return {"integer": 3, "boolean": True, "array": ["author"], "string": "unsubscribed"}[option["type"]]


def _write() -> None:
    """Add what is missing: a first golden file, the next version of a schema, digests of new lines."""
    for name in TYPES:
        event_type = registry()[name]
        path = GOLDEN / f"{name}.jsonl"
        if not path.exists():
            entries = []
            for number, value in enumerate(samples(name)):
                event = event_type.model_validate(value)
                headers = {
                    "ce_specversion": "1.0",
                    "ce_id": _sample(f"{name} {number}", {"format": "uuid"}),
                    "ce_source": "/services/" + event_type.topic.name.partition(".")[0],
                    "ce_type": name,
                    "ce_subject": str(event.subject),
                    "ce_time": "2026-11-23T04:35:00.125Z",
                    "content-type": "application/json",
                }
                if number == 0:
                    headers |= {
                        "ce_correlationid": "request-1",
                        "ce_causationid": _sample("cause", {"format": "uuid"}),
                        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                    }
                entries.append(json.dumps({"key": str(event.key), "headers": headers, "value": value}))
            path.write_text("\n".join(entries) + "\n")
        (SCHEMAS / name).mkdir(exist_ok=True)
        every = versions(name)
        if not every or every[-1] != current(name):
            assert all(compatible(old, current(name)) for old in every), f"{name} would break a reader or writer"
            (SCHEMAS / name / f"{len(every) + 1}.json").write_text(json.dumps(current(name), indent=2) + "\n")
    sealed = json.loads(SEALED.read_text()) if SEALED.exists() else {}
    for name in TYPES:
        known = sealed.setdefault(name, [])
        known += [hashlib.sha256(line.encode()).hexdigest() for line in lines(name)[len(known) :]]
    SEALED.write_text(json.dumps(dict(sorted(sealed.items())), indent=1) + "\n")


if __name__ == "__main__":
    _write()
