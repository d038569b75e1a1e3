"""The committed OpenAPI document."""

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI

from services.gateway import openapi
from services.gateway.apidocs import texts
from services.gateway.apidocs.document import describe
from services.gateway.apidocs.parameters import ANSWER_HEADER
from services.gateway.app import ROUTERS

ROOT = Path(__file__).parent.parent.parent
CAMEL_CASE = re.compile(r"[a-z]+([A-Z][a-z]+)*")
FORMATS = {"id": "uuid", "at": "date-time", "url": "uri", "email": "email"}  # by the last word of a field's name

Json = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Json:
    document: Json = json.loads(openapi.text())
    return document


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


def nodes(value: Any) -> Iterator[Json]:
    """Yield every object in a document."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(part)


def operations(document: Json) -> Iterator[Json]:
    for methods in document["paths"].values():
        yield from methods.values()


def validator(document: Json, schema: Json) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({"components": document["components"], **schema}, validate_formats=True)


def resolve(document: Json, reference: str) -> Any:
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_every_reference_resolves(document: Json) -> None:
    found = {node["$ref"] for node in nodes(document) if "$ref" in node}
    assert all(resolve(document, reference) for reference in found)
    names = {reference.rpartition("/")[2] for reference in found}
    assert {"Post", "Comment", "Problem", "CreateComment", "UseLink", "CommentState", "ETag", "not-found"} <= names
    for room in ("schemas", "headers", "examples"):
        assert document["components"][room].keys() <= names, "nothing stands there unused"


def test_every_operation_declares_its_responses_and_security(document: Any) -> None:
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            statuses = described["responses"].keys()
            assert any(status.startswith("2") for status in statuses), (method, path)
            assert {"429", "503"} <= statuses, (method, path)
            is_kept = method == "get" and path != "/v1/me/export"
            assert ("304" in statuses) == is_kept, (method, path)
            for status, answer in described["responses"].items():
                if status >= "400":
                    assert list(answer["content"]) == ["application/problem+json"]
            if described["tags"] != ["sign-in"] and method != "get":
                assert described["security"] == [{"token": []}], (method, path)


def test_the_document_says_whose_it_is(document: Json) -> None:
    info = document["info"]
    assert info["contact"]["name"]
    assert info["license"]["name"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]
    assert document["servers"]
    assert all(info[word].strip() for word in ("title", "summary", "description"))
    assert document["components"]["securitySchemes"]["token"]["description"]


@pytest.mark.parametrize("address", ["https://rapport.test", "https://rapport.test/"])
def test_the_server_is_the_address_of_the_site(address: str) -> None:
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    described = describe(app, address)
    assert described["servers"] == [{"url": "https://rapport.test"}]
    assert described["info"]["contact"]["url"] == "https://rapport.test/"
    assert describe(app, address) == described, "a second time changes nothing"


def test_operations_have_names_and_tags(document: Json) -> None:
    names = [operation["operationId"] for operation in operations(document)]
    assert len(names) == len(set(names)) >= 30
    assert {"listComments", "postComment", "createSession"} <= set(names)
    assert [name for name in names if not CAMEL_CASE.fullmatch(name)] == []
    assert set(names) == texts.OPERATIONS.keys()
    tags = [tag["name"] for tag in document["tags"]]
    assert tags == list(texts.TAGS)
    assert {tuple(operation["tags"]) for operation in operations(document)} == {(tag,) for tag in tags}
    shapes = [re.sub(r"{.*?}", "{}", path) for path in document["paths"]]
    assert len(shapes) == len(set(shapes)), "two paths that differ in the names of their parameters are the same"


def test_everything_is_described(document: Json) -> None:
    assert all(tag["description"] for tag in document["tags"])
    for operation in operations(document):
        name = operation["operationId"]
        assert operation["summary"], name
        assert operation["description"], name
        assert "security" in operation, name
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (name, parameter["name"])
            assert "example" in parameter, (name, parameter["name"])
        for status, answer in operation["responses"].items():
            assert answer["description"], (name, status)
            assert "X-Request-ID" in answer["headers"], (name, status)
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
        assert "Command:" not in schema["description"], name
        for field, inner in schema.get("properties", {}).items():
            assert inner.get("description"), (name, field)
    for name, header in ANSWER_HEADER.items():
        assert header["description"], name
        jsonschema_rs.validate(header["schema"], header["example"])


def test_every_way_to_make_a_call_is_told(document: Json) -> None:
    """A body of several forms: the text of the operation names the fields that tell them apart."""
    told = []
    for operation in operations(document):
        for media in operation.get("requestBody", {}).get("content", {}).values():
            schema = resolve(document, media["schema"]["$ref"])
            for option in schema.get("anyOf", ()):
                fields = resolve(document, option["$ref"])["required"]
                told.append(operation["operationId"])
                unsaid = [field for field in fields if f"`{field}`" not in operation["description"]]
                assert not unsaid, (operation["operationId"], option["$ref"], unsaid)
    assert told == ["createSession"] * 3


@pytest.mark.parametrize("name", ["register", "requestSignIn"])
def test_asking_for_a_mail_tells_of_its_code_and_of_the_request(document: Json, name: str) -> None:
    (described,) = (found for found in operations(document) if found["operationId"] == name)
    assert all(word in described["description"] for word in ("a code", "`request`", "createSession", "`return_to`"))


def test_what_has_a_form_says_so(document: Json) -> None:
    checked = set()
    for name, schema in document["components"]["schemas"].items():
        for field, inner in schema.get("properties", {}).items():
            wanted = FORMATS.get(field.rpartition("_")[2])
            if wanted is not None:
                forms = [option.get("format") for option in inner.get("anyOf", [inner])]
                assert wanted in forms, (name, field)
                checked.add(wanted)
            if "enum" in inner:
                assert len(inner["enum"]) == 1, f"{name}.{field}: give these values a name in vocabulary"
    assert checked == set(FORMATS.values())


def test_every_answer_has_the_headers_that_come_with_it(document: Json) -> None:
    for operation in operations(document):
        for status, answer in operation["responses"].items():
            headers = answer["headers"].keys()
            assert ("WWW-Authenticate" in headers) == (status == "401")
            assert ("Retry-After" in headers) == (status in ("429", "503") or "still-running" in answer["description"])
            assert status != "429" or {"RateLimit", "RateLimit-Policy"} <= headers
            assert status not in ("200", "304") or "304" not in operation["responses"] or "ETag" in headers
    created = document["paths"]["/v1/posts/{post_id}/comments"]["post"]["responses"]["201"]["headers"]
    assert {"Location", "ETag", "Idempotency-Replayed", "RateLimit"} <= created.keys()
    assert "Link" in document["paths"]["/v1/posts"]["get"]["responses"]["200"]["headers"]


def test_who_may_call_is_said_by_the_security_of_each_operation(document: Json) -> None:
    needed = {operation["operationId"]: operation["security"] for operation in operations(document)}
    assert needed["postComment"] == needed["getMe"] == needed["listCommentsByState"] == [{"token": []}]
    assert needed["listPosts"] == needed["getComment"] == [{}, {"token": []}]
    assert needed["createSession"] == needed["register"] == needed["refreshSession"] == []
    reads = {op["operationId"]: op for methods in document["paths"].values() for op in [methods.get("get")] if op}
    assert "`sign-in-required`" in reads["listPosts"]["responses"]["401"]["description"], "of drafts"
    assert all("cross-site" not in str(operation) for operation in reads.values())


def test_every_body_and_answer_has_examples_that_match_their_schemas(document: Json) -> None:
    for operation in operations(document):
        name = operation["operationId"]
        parts = {"body": operation["requestBody"]} if "requestBody" in operation else {}
        for where, part in (parts | operation["responses"]).items():
            for media_type, content in part.get("content", {}).items():
                if media_type.startswith("image/"):
                    continue  # a file is not shown
                check = validator(document, content["schema"])
                assert content["examples"], (name, where)
                for title, example in content["examples"].items():
                    shown = resolve(document, example["$ref"]) if "$ref" in example else example
                    assert shown["summary"], (name, where, title)
                    assert [error.message for error in check.iter_errors(shown["value"])] == [], (name, where, title)


def test_every_kind_of_problem_has_its_example(document: Json) -> None:
    for operation in operations(document):
        for status, answer in operation["responses"].items():
            for content_type, content in answer.get("content", {}).items():
                if content_type == "application/problem+json":
                    kinds = re.findall(r"`([a-z-]+)`: ", answer["description"])
                    assert kinds == list(content["examples"])
                    for kind in kinds:
                        value = resolve(document, content["examples"][kind]["$ref"])["value"]
                        assert (value["type"], value["status"]) == (f"/problems/{kind}", int(status))


def test_parameters_have_examples_that_are_valid(document: Json) -> None:
    for operation in operations(document):
        for parameter in operation.get("parameters", ()):
            example, schema = parameter["example"], parameter["schema"]
            if schema.get("type") == "integer":  # one with a vocabulary refers to it
                example = int(example)
            assert validator(document, schema).is_valid(example), (operation["operationId"], parameter["name"])
