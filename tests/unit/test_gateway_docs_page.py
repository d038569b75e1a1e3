"""The page `/docs`: a guide with contents and a reference whose links and commands hold."""

import json
import re
import subprocess
from html import unescape
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import pytest
from fastapi import FastAPI

from services.contracts.problems import MEANINGS
from services.gateway.apidocs import examples
from services.gateway.apidocs.document import describe
from services.gateway.app import ROUTERS
from services.gateway.pages import docs, reference

BASE = "https://rapport.test"
API = "https://api.test"
ANCHOR = re.compile(r'\sid="([^"]+)"')
LINK = re.compile(r'href="#([^"]+)"')


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    return describe(app, BASE)


@pytest.fixture(scope="module")
def page(document: dict[str, Any]) -> str:
    return bytes(docs._page(document, BASE, unfolded=False).body).decode()


def test_every_link_inside_the_page_leads_somewhere(page: str) -> None:
    anchors = ANCHOR.findall(page)
    assert len(anchors) == len(set(anchors))
    assert set(LINK.findall(page)) <= set(anchors)


def test_the_contents_list_every_section_operation_and_schema(page: str, document: dict[str, Any]) -> None:
    contents = page.partition('<nav class="contents"')[2].partition("</nav>")[0]
    named = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    sections = re.findall(r'<h2 id="([^"]+)"', page)
    assert set(LINK.findall(contents)) == {*named, *document["components"]["schemas"], *sections} - {"reference"}
    assert {"sign-in", "comment", "thread", "refusals", "limits", "caching", "events"} <= set(sections)


def test_nothing_comes_from_elsewhere(page: str) -> None:
    assert "<script" not in page
    assert " style=" not in page
    assert all(url.startswith(("/", "#", "data:")) for url in re.findall(r'(?:href|src)="([^"]*)"', page))


def test_the_reference_is_folded_and_can_be_unfolded(page: str, document: dict[str, Any]) -> None:
    assert len(re.findall(r'<details class="operation">', page)) >= 60
    unfolded = bytes(docs._page(document, BASE, unfolded=True).body).decode().partition('<nav class="contents"')[2]
    unfolded = unfolded.partition("</nav>")[2]
    assert "<details>" not in unfolded
    assert '<details class="operation">' not in unfolded


def test_every_kind_of_problem_is_explained(page: str) -> None:
    assert all(f'<a href="/problems/{kind}"><code>{kind}</code></a>' in page for kind in MEANINGS)


def arguments(command: str) -> list[str]:
    """Return what a shell gives to curl."""
    line = f"curl() {{ printf '%s\\0' \"$@\"; }}; API={API}; TOKEN=secret; {command}"
    printed = subprocess.run(["bash", "-euc", line], capture_output=True, check=True, timeout=10).stdout
    return printed.decode().split("\0")[:-1]


def test_every_command_of_the_reference_sends_the_recorded_request(page: str, document: dict[str, Any]) -> None:
    shown = [unescape(one) for one in re.findall(r'<pre class="command"><code>(.*?)</code></pre>', page, re.DOTALL)]
    operations = [
        (method, path, one["operationId"])
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    ]
    assert len(shown) == len(operations)
    for method, path, name in operations:
        exchange = examples.exchanges(name)[0]
        made = reference.command(method, path, exchange)
        assert made in shown, name
        sent = arguments(made)
        url = urlsplit(next(one for one in sent if one.startswith(API)))
        values = {key: quote(value, safe="") for key, value in exchange.get("path", {}).items()}
        assert url.path == path.format(**values), name
        query = {key: value if isinstance(value, list) else [value] for key, value in exchange.get("query", {}).items()}
        assert parse_qs(url.query) == query, name
        body = json.loads(sent[sent.index("-d") + 1]) if "-d" in sent else None
        assert body == exchange.get("body"), name
        assert (sent[sent.index("-X") + 1] if "-X" in sent else "POST" if body else "GET") == method.upper(), name
        headers = {sent[index + 1] for index, one in enumerate(sent) if one == "-H"}
        assert ("Authorization: Bearer secret" in headers) == exchange["signed_in"], name
        assert {f"{key}: {value}" for key, value in exchange.get("headers", {}).items()} <= headers, name


@pytest.mark.parametrize("text", ["it's", 'a "b"', "$HOME `id`", "ä\n\\n", "!x"])
def test_a_command_quotes_what_a_shell_would_read(text: str) -> None:
    exchange = {"signed_in": False, "path": {"ref": text}, "query": {"cursor": text}, "body": {"body": text}}
    sent = arguments(reference.command("patch", "/v1/posts/{ref}", exchange))
    url = urlsplit(next(one for one in sent if one.startswith(API)))
    assert url.path == f"/v1/posts/{quote(text, safe='')}"
    assert dict(parse_qsl(url.query)) == {"cursor": text}
    assert json.loads(sent[sent.index("-d") + 1]) == {"body": text}


def test_a_schema_of_several_ways_names_each() -> None:
    both = {
        "description": "Two ways.",
        "anyOf": [{"$ref": "#/components/schemas/A"}, {"$ref": "#/components/schemas/B"}],
    }
    open_list = {"description": "Open.", "anyOf": [{"type": "string", "enum": ["x"]}, {"type": "string"}]}
    shown = reference.schemas({"components": {"schemas": {"Both": both, "Open": open_list}}})
    assert [one["ways"] for one in shown] == ['<a href="#A">A</a> or <a href="#B">B</a>', ""]


def test_texts_are_escaped() -> None:
    assert reference.prose("a <b> `<i>`\n\n- `x`: 1\n- y") == (
        "<p>a &lt;b&gt; <code>&lt;i&gt;</code></p><ul><li><code>x</code>: 1</li><li>y</li></ul>"
    )
