"""Examples of requests and answers; `tests/contracts/test_public_api_documentation.py` records them from a system.

The file holds, by operation, the requests that were sent and the answers that came, with ids, times and secrets made
fixed; and by kind the problems that came. Problems that a test cannot provoke are written here.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from services.contracts.problems import KINDS

Json = dict[str, Any]

FILE = files("services.gateway.apidocs") / "examples.json"
TOLD = {"unavailable": "It took too long."}  # the detail of problems that are not recorded, if not their title
REQUEST_ID = "8d7f3a0c2b9e4f61"


@cache
def recorded() -> Json:
    """Return the recorded examples; read when the document is made, not when the process starts."""
    found: Json = json.loads(FILE.read_text())
    return found


def exchanges(name: str) -> list[Json]:
    """Return the recorded requests of an operation with their answers, the most usual one first."""
    found: list[Json] = recorded()["operations"].get(name, [])
    return found


def problem(kind: str) -> Json:
    """Return the example of a kind of problem."""
    told = {
        "type": f"/problems/{kind}",
        "title": KINDS[kind].title,
        "status": KINDS[kind].status,
        "detail": TOLD.get(kind, KINDS[kind].title + "."),
        "instance": REQUEST_ID,
    }
    return {"summary": KINDS[kind].title, "value": recorded()["problems"].get(kind, told)}


def add(name: str, operation: Json) -> None:
    """Add the examples of an operation to its parameters, its body and its answers."""
    for exchange in exchanges(name):
        sent = exchange.get("path", {}) | exchange.get("query", {}) | exchange.get("headers", {})
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in sent:
                parameter.setdefault("example", sent[parameter["name"]])
        key, title = _key(exchange["title"]), exchange["title"]
        if "body" in exchange:
            _examples(operation["requestBody"])[key] = {"summary": title, "value": exchange["body"]}
        if "answer" in exchange:
            answered = operation["responses"][str(exchange["status"])]
            _examples(answered)[key] = {"summary": title, "value": exchange["answer"]}


def _examples(part: Json) -> Json:
    found: Json = part["content"]["application/json"].setdefault("examples", {})
    return found


def _key(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower()).strip("-")
