"""The AsyncAPI documents: up to date, complete, and consistent with the golden records."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest

from services.contracts.event import registry
from services.contracts.topics import CONSUMER_GROUPS, TOPICS
from services.operator import asyncapi
from tests.contracts.event_files import golden

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = asyncapi.documents()


def test_the_committed_documents_match_the_code() -> None:
    changed = asyncapi.differing(ROOT / asyncapi.FOLDER)
    assert changed == {}, "run `python -m services.operator.asyncapi`"


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for part in value.values() for found in references(part)]
    if isinstance(value, list):
        return [found for part in value for found in references(part)]
    return []


def resolve(document: Any, pointer: str) -> Any:
    assert pointer.startswith("#/")
    for step in pointer[2:].split("/"):
        document = document[step.replace("~1", "/").replace("~0", "~")]
    return document


@pytest.mark.parametrize("service", sorted(DOCUMENTS))
def test_every_reference_resolves(service: str) -> None:
    document = DOCUMENTS[service]
    assert document["asyncapi"] == "3.0.0"
    found = references(document)
    assert found
    for pointer in found:
        assert resolve(document, pointer)
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        channel = resolve(document, operation["channel"]["$ref"])
        for message in operation.get("messages", []):
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")
            assert resolve(document, message["$ref"]) in channel["messages"].values()


def test_every_message_has_a_summary() -> None:
    for document in DOCUMENTS.values():
        assert all(message["summary"] for message in document["components"]["messages"].values())


def test_everything_is_described() -> None:
    for document in DOCUMENTS.values():
        assert document["info"]["contact"]["name"]
        assert all(tag["description"] for tag in document["info"]["tags"])
        assert all(server["description"] for server in document["servers"].values())
        for part in (*document["channels"].values(), *document["operations"].values()):
            assert part["description"]
        for message in document["components"]["messages"].values():
            assert message["description"], message["name"]
            for name, field in message["payload"]["properties"].items():
                assert field["description"], (message["name"], name)
        for name, header in document["components"]["schemas"]["Context"]["properties"].items():
            assert header["description"], name


def test_every_message_has_an_example_that_matches_its_schema() -> None:
    for document in DOCUMENTS.values():
        for message in document["components"]["messages"].values():
            assert message["examples"], message["name"]
            for example in message["examples"]:
                jsonschema_rs.validate(message["payload"], example["payload"], validate_formats=True)
                headers = resolve(document, message["headers"]["$ref"])
                jsonschema_rs.validate(headers, example["headers"], validate_formats=True)
                assert example["headers"]["ce_type"] == message["name"]
                assert registry()[message["name"]].model_validate(example["payload"]).subject == UUID(
                    example["headers"]["ce_subject"]
                )


def test_the_licence_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {document["info"]["license"]["name"] for document in DOCUMENTS.values()} == {project["license"]}


def messages_by_service(action: str) -> dict[str, set[str]]:
    """Return the event types by service that sends or receives them."""
    return {
        service: {
            resolve(document, resolve(document, message["$ref"])["$ref"])["name"]
            for operation in document["operations"].values()
            if operation["action"] == action
            for message in operation.get("messages", [])
        }
        for service, document in DOCUMENTS.items()
    }


def test_every_event_is_sent_by_its_owner_only() -> None:
    sent = messages_by_service("send")
    assert set().union(*sent.values()) == set(registry())
    for service, names in sent.items():
        assert all(name.startswith(f"dev.rapport.{service}.") for name in names)


def test_received_messages_are_those_with_handlers() -> None:
    received = messages_by_service("receive")
    assert {service for service, names in received.items() if names} == set(CONSUMER_GROUPS)
    assert "dev.rapport.posts.published.v1" in received["comments"]
    assert "dev.rapport.comments.posted.v1" in received["notify"]


def test_every_topic_is_a_channel() -> None:
    channels = {channel["address"] for document in DOCUMENTS.values() for channel in document["channels"].values()}
    assert channels == {topic.name for topic in TOPICS}


@pytest.mark.parametrize("name", sorted(registry()))
def test_golden_records_match_the_documents(name: str) -> None:
    document = DOCUMENTS[name.split(".")[2]]
    [message] = [message for message in document["components"]["messages"].values() if message["name"] == name]
    assert message["summary"] or message["title"]
    headers = resolve(document, message["headers"]["$ref"])
    for record, value in golden(name):
        jsonschema_rs.validate(message["payload"], value)
        jsonschema_rs.validate(headers, {key: header.decode() for key, header in record.headers})


def test_the_command_writes_and_checks(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "services.operator.asyncapi", "--folder", str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    assert run("--check").returncode == 1
    (tmp_path / "gone.json").write_text("{}")
    written = run()
    assert written.returncode == 0
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == sorted(DOCUMENTS)
    assert run("--check").returncode == 0
    changed = tmp_path / "posts.json"
    changed.write_text(changed.read_text().replace("PostPublished", "PostPublicised"))
    checked = run("--check")
    assert (checked.returncode, checked.stdout) == (1, f"{changed}\n")
    assert "PostPublicised" in json.dumps(json.loads(changed.read_text()))
