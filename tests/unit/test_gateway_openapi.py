"""The committed OpenAPI document."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from services.gateway import openapi

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(openapi.text())


def test_the_committed_document_is_up_to_date() -> None:
    assert (ROOT / openapi.FILE).read_text() == openapi.text(), "run `make docs`"


def test_check_reports_a_difference_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "docs" / "gateway.json"
    monkeypatch.setattr(sys, "argv", ["openapi", "--check", "--file", str(file)])
    with pytest.raises(SystemExit) as ended:
        openapi.main()
    assert ended.value.code == 1
    assert not file.exists()
    monkeypatch.setattr(sys, "argv", ["openapi", "--file", str(file)])
    openapi.main()
    assert file.read_text() == openapi.text()
    monkeypatch.setattr(sys, "argv", ["openapi", "--check", "--file", str(file)])
    openapi.main()


def test_every_reference_resolves(document: Any) -> None:
    schemas = document["components"]["schemas"]
    waiting, found = [document], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "$ref" in value:
                found.add(value["$ref"].removeprefix("#/components/schemas/"))
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    assert found <= schemas.keys()
    assert {"Post", "Comment", "Problem", "CreateComment", "UseLink"} <= found


def test_every_operation_declares_its_responses_and_security(document: Any) -> None:
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            statuses = described["responses"].keys()
            assert any(status.startswith("2") for status in statuses), (method, path)
            assert {"429", "503"} <= statuses, (method, path)
            assert ("304" in statuses) == (method == "get"), (method, path)
            for status, answer in described["responses"].items():
                if status >= "400":
                    assert list(answer["content"]) == ["application/problem+json"]
            if described["tags"] != ["people"] and method != "get":
                assert described["security"] == [{"token": []}], (method, path)
