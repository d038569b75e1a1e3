"""AsyncAPI 3.0 documents, one for each service that uses Kafka, generated from the code.

    python -m services.operator.asyncapi            writes docs/asyncapi/
    python -m services.operator.asyncapi --check    lists differences and exits with status 1

The sent messages come from the contracts; the received ones from each service's registry of handlers; the examples are
golden records, the newest of each type, which every reader must understand.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from services.chassis.messaging.handlers import Handlers
from services.contracts.event import Event, registry
from services.contracts.topics import CONSUMER_GROUPS, EVENT_TOPICS, Topic, dead_letter_topic

FOLDER = Path("docs/asyncapi")
GOLDEN = Path(__file__).parent.parent.parent / "tests/contracts/golden"
JSON = dict[str, Any]

CONTEXT: JSON = {
    "type": "object",
    "description": "CloudEvents 1.0 in Kafka's binary content mode. `ce_source` and `ce_id` together are the identity.",
    "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "content-type"],
    "properties": {
        "ce_specversion": {"const": "1.0", "description": "The version of CloudEvents."},
        "ce_id": {"type": "string", "format": "uuid", "description": "By it readers know duplicates."},
        "ce_source": {"type": "string", "description": "`/services/<owner>`"},
        "ce_type": {"type": "string", "description": "The type of the event; a change that breaks is a new one."},
        "ce_subject": {"type": "string", "format": "uuid", "description": "The thing that `version` counts."},
        "ce_time": {"type": "string", "format": "date-time", "description": "When the event was recorded."},
        "content-type": {"const": "application/json", "description": "The form of the value."},
        "ce_correlationid": {"type": "string", "description": "The id of the request that began it."},
        "ce_causationid": {"type": "string", "format": "uuid", "description": "The event that led to this one."},
        "traceparent": {"type": "string", "description": "W3C Trace Context."},
        "ce_epoch": {
            "type": "string",
            "pattern": "^[0-9]{1,18}$",
            "description": "Raised when the owner was restored; absent is 0. The newer of two states has the greater "
            "(epoch, version).",
        },
    },
}

SERVER: JSON = {
    "host": "{bootstrap_servers}",
    "protocol": "kafka",
    "description": "The broker of `KAFKA_BOOTSTRAP_SERVERS`. `KAFKA_PREFIX` stands before every topic and group.",
    "variables": {
        "bootstrap_servers": {"default": "127.0.0.1:9092", "description": "Host and port of one or more brokers."}
    },
}
ROLES = {
    "posts": "Owns posts and their revisions.",
    "comments": "Owns discussions; learns of posts from their events.",
    "people": "Owns people and what they may do.",
    "notify": "Owns notifications; learns of posts and comments from their events.",
}
WORDS: Mapping[str, JSON] = {
    "send": {
        "summary": "What this service tells",
        "description": "Published from the outbox, in the order of the commits for each key, at least once: a reader "
        "drops what it has seen, by `ce_source` and `ce_id`.",
    },
    "receive": {
        "summary": "What this service listens to",
        "description": "Handled in order for each key; the id of each is written in the transaction of its effect.",
    },
}


def documents() -> dict[str, JSON]:
    """Return a document for each owner of a topic and each consumer group, by service."""
    services = sorted({_owner(topic) for topic in EVENT_TOPICS} | set(CONSUMER_GROUPS))
    return {service: _document(service) for service in services}


def _document(service: str) -> JSON:
    sent = [event for event in registry().values() if _owner(event.topic) == service]
    received = _received(service)
    topics = sorted({event.topic for event in (*sent, *received)}, key=lambda topic: topic.name)
    schemas: JSON = {"Context": CONTEXT}
    messages = {event.__name__: _message(event) for event in (*sent, *received)}
    for message in messages.values():
        schemas |= message["payload"].pop("$defs", {})
    operations = {}
    for topic in topics:
        if sends := [event for event in sent if event.topic == topic]:
            operations[f"send.{topic.name}"] = _operation("send", topic, sends)
        if receives := [event for event in received if event.topic == topic]:
            operations[f"receive.{topic.name}"] = _operation("receive", topic, receives)
    channels = {topic.name: _channel(topic, [e for e in (*sent, *received) if e.topic == topic]) for topic in topics}
    if received:
        aside = dead_letter_topic(service)
        channels[aside.name] = _channel(aside, [])
        channels[aside.name]["description"] = (
            "Records this service could not handle: the original key, value and headers, and `dlq_topic`, "
            "`dlq_partition`, `dlq_offset`, `dlq_error`, `dlq_attempts`. An operator's mark has `dlq_mark` alone."
        )
        operations[f"send.{aside.name}"] = {
            "action": "send",
            "summary": f"What {service} could not handle",
            "description": "Puts aside a record that failed again and again while others passed, for an operator.",
            "channel": {"$ref": _pointer("channels", aside.name)},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Rapport: {service}",
            "version": "1",
            "description": "Facts in the past tense, with ids, structure, flags, versions and times; never a text, a "
            "name or an address. New fields are optional, readers ignore those they do not know, and a change that "
            "breaks is a new type beside the old one.",
            "contact": {"name": "Those who run this system"},
            "license": {"name": "MIT", "url": "https://opensource.org/license/mit"},
            "tags": [{"name": service, "description": ROLES[service]}],
        },
        "servers": {"kafka": SERVER},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _owner(topic: Topic) -> str:
    return topic.name.partition(".")[0]


def _received(service: str) -> list[type[Event]]:
    """Return the event types with a handler. Imported by name: the operator depends on no service."""
    if service not in CONSUMER_GROUPS:
        return []
    module = importlib.import_module(f"services.{service}.handlers")
    handlers = getattr(module, "handlers", None) or module.build(0)
    assert isinstance(handlers, Handlers)
    return [registry()[name] for name in handlers.by_type]


def _channel(topic: Topic, events: Iterable[type[Event]]) -> JSON:
    return {
        "address": topic.name,
        "description": f"Key: {topic.key}. Records of one key keep their order.",
        "messages": {event.__name__: {"$ref": _pointer("components", "messages", event.__name__)} for event in events},
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": topic.retention_ms},
            }
        },
    }


def _operation(action: str, topic: Topic, events: Iterable[type[Event]]) -> JSON:
    return {
        "action": action,
        **WORDS[action],
        "channel": {"$ref": _pointer("channels", topic.name)},
        "messages": [{"$ref": _pointer("channels", topic.name, "messages", event.__name__)} for event in events],
    }


def _message(event: type[Event]) -> JSON:
    schema = event.model_json_schema(ref_template="#/components/schemas/{model}")
    return {
        "name": event.type,
        "title": event.__name__,
        "summary": " ".join((event.__doc__ or "").split()),
        "description": " ".join((event.__base__.__doc__ or "").split()) if event.__base__ else "",
        "contentType": "application/json",
        "headers": {"$ref": _pointer("components", "schemas", "Context")},
        "payload": schema,
        "examples": _examples(event),
        "bindings": {"kafka": {"key": {"type": "string", "format": "uuid", "description": event.topic.key}}},
    }


def _examples(event: type[Event]) -> list[JSON]:
    """Return the newest golden record of a type; none where the tests are not installed."""
    path = GOLDEN / f"{event.type}.jsonl"
    if not path.exists():
        return []
    record = json.loads(path.read_text().splitlines()[-1])
    return [{"name": "golden", "headers": record["headers"], "payload": record["value"]}]


def _pointer(*path: str) -> str:
    return "#/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in path)


def text(document: Mapping[str, Any]) -> str:
    """Return a document as written to its file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def differing(folder: Path) -> dict[Path, str]:
    """Return the files that differ from the code, with their expected text; empty for a superfluous file."""
    wanted = {folder / f"{service}.json": text(document) for service, document in documents().items()}
    found = {path: path.read_text() for path in folder.glob("*.json")}
    return {path: wanted.get(path, "") for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path)}


def main() -> None:
    """Write the documents, or check them."""
    parser = argparse.ArgumentParser(prog="python -m services.operator.asyncapi", description="AsyncAPI documents.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    changes = differing(arguments.folder)
    for path, content in sorted(changes.items()):
        sys.stdout.write(f"{path}\n")
        if arguments.check:
            continue
        if content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        else:
            path.unlink()
    sys.exit(1 if arguments.check and changes else 0)


if __name__ == "__main__":
    main()
