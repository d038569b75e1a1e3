"""Shape the OpenAPI document for the reference of `/docs`: operations by tag, with a command for each, and schemas."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup, escape

from services.gateway.apidocs import examples
from services.gateway.apidocs.document import model_of

Json = dict[str, Any]

METHODS = ("get", "put", "post", "patch", "delete")
CODE = re.compile(r"`([^`]+)`")
KIND = re.compile(r"^- `([a-z-]+)`: ", re.MULTILINE)


def operations_by_tag(document: Json) -> list[Json]:
    """Return the tags in their order, each with its operations."""
    groups = {tag["name"]: {**tag, "operations": []} for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                groups[methods[method]["tags"][0]]["operations"].append(_operation(document, method, path))
    return list(groups.values())


def schemas(document: Json) -> list[Json]:
    """Return every schema: its fields, or the values of a vocabulary, which its text lists."""
    return [
        {"name": name, "text": prose(schema["description"]), "fields": _fields(schema), "ways": _ways(schema)}
        for name, schema in document["components"]["schemas"].items()
    ]


def _operation(document: Json, method: str, path: str) -> Json:
    raw = document["paths"][path][method]
    name, body = raw["operationId"], model_of(raw.get("requestBody", {}))
    answers = [_answer(document, status, answer) for status, answer in sorted(raw["responses"].items())]
    return {
        "id": name,
        "method": method.upper(),
        "path": path,
        "summary": raw["summary"],
        "text": prose(raw["description"]),
        "sign_in": {"[{'token': []}]": "needed", "[]": "not needed"}.get(str(raw["security"]), "optional"),
        "parameters": [
            {
                "name": parameter["name"],
                "in": parameter["in"],
                "required": parameter.get("required", False),
                "type": _type(parameter["schema"]),
                "text": prose(parameter["description"]),
            }
            for parameter in raw.get("parameters", ())
        ],
        "body": body,
        "fields": _fields(document["components"]["schemas"][body]) if body else [],
        "ways": _ways(document["components"]["schemas"][body]) if body else "",
        "command": command(method, path, exchanges[0]) if (exchanges := examples.exchanges(name)) else "",
        "answers": [answer for answer in answers if not answer["kinds"]],
        "problems": [answer for answer in answers if answer["kinds"]],
    }


def _answer(document: Json, status: str, raw: Json) -> Json:
    content = raw.get("content", {}).get("application/json", {})
    return {
        "status": status,
        "text": prose(raw["description"]),
        "schema": model_of(raw),
        "kinds": KIND.findall(raw["description"]),
        "headers": list(raw["headers"]),
        "examples": [
            {"title": one["summary"], "json": json.dumps(one["value"], indent=2, ensure_ascii=False)}
            for one in content.get("examples", {}).values()
        ],
    }


def _fields(schema: Json) -> list[Json]:
    return [
        {
            "name": name,
            "required": name in schema.get("required", ()),
            "type": _type(raw),
            "text": prose(raw["description"]),
        }
        for name, raw in schema.get("properties", {}).items()
    ]


def _ways(schema: Json) -> Markup | str:
    """Return the schemas of which a value has one, if there are several."""
    return _type(schema) if all("$ref" in one for one in schema.get("anyOf", [{}])) else ""


def _type(raw: Json) -> Markup:
    """Return the type of a field in a few words, with a link to its schema."""
    default = f", {json.dumps(raw['default'])} unless given" if raw.get("default") not in (None, "", []) else ""
    if "$ref" in raw:
        name = str(raw["$ref"]).rpartition("/")[2]
        return Markup('<a href="#{0}">{0}</a>').format(name) + default
    if "enum" in raw:
        return Markup(" | ").join(f'"{value}"' for value in raw["enum"]) + default
    if "anyOf" in raw:
        return Markup(" or ").join(_type(one) for one in raw["anyOf"])
    if raw.get("type") == "array":
        return Markup("list of ") + _type(raw["items"])
    lengths = f", {raw['minLength']} to {raw['maxLength']:,} characters" if "maxLength" in raw else ""
    numbers = f", {raw['minimum']} to {raw['maximum']}" if "maximum" in raw else ""
    return escape(f"{raw.get('format') or raw.get('type', 'anything')}{lengths}{numbers}{default}")


def command(method: str, path: str, exchange: Json) -> str:
    """Return the curl command that sends a recorded request; `$API` and `$TOKEN` are set in the guide."""
    target = path
    for name, value in exchange.get("path", {}).items():
        target = target.replace(f"{{{name}}}", quote(value, safe=""))
    target += f"?{urlencode(exchange['query'], doseq=True)}" if "query" in exchange else ""
    parts = [f'curl -sS "$API{target}"']
    if method != ("post" if "body" in exchange else "get"):  # which curl takes by itself
        parts.append(f"-X {method.upper()}")
    if exchange["signed_in"]:
        parts.append('-H "Authorization: Bearer $TOKEN"')
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in exchange.get("headers", {}).items()]
    if exchange.get("headers", {}).get("Content-Type", "").startswith("image/"):
        parts.append("--data-binary @picture.png")
    if "body" in exchange:
        body = json.dumps(exchange["body"], ensure_ascii=False)
        parts += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    return " \\\n  ".join(parts)


def prose(text: str) -> Markup:
    """Return a text of our own tables as HTML: paragraphs, lists with `- `, and code in backticks."""
    return Markup("").join(_blocks(text))


def _blocks(text: str) -> Iterator[Markup]:
    for block in text.split("\n\n"):
        if block.startswith("- "):
            items = Markup("").join(Markup("<li>{}</li>").format(_inline(item)) for item in block[2:].split("\n- "))
            yield Markup("<ul>{}</ul>").format(items)
        else:
            yield Markup("<p>{}</p>").format(_inline(block))


def _inline(text: str) -> Markup:
    parts = CODE.split(text)  # every second one stood in backticks
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )
