"""Serve the description of the API: `/openapi.json` for programs, `/docs` for people; nothing comes from elsewhere."""

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.apidocs.document import describe
from services.gateway.guards import Unauthenticated
from services.gateway.pages.render import PageRoute, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Json = dict[str, Any]
METHODS = ("get", "post", "patch", "delete")


def document_of(request: Request, public_url: str) -> Json:
    """Return the OpenAPI document, made once per process."""
    state = request.app.state
    if not hasattr(state, "document"):
        state.document = describe(request.app, public_url)
    document: Json = state.document
    return document


@router.get("/openapi.json")
async def openapi(request: Request, context: Unauthenticated) -> Response:
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=60"}
    return Response(orjson.dumps(document_of(request, context.public_url)), 200, headers, "application/json")


@router.get("/docs")
async def docs(request: Request, context: Unauthenticated) -> Response:
    document = document_of(request, context.public_url)
    groups: dict[str, list[Json]] = {}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                groups.setdefault(methods[method].get("tags", ["other"])[0], []).append(
                    _operation(method, path, methods[method])
                )
    schemas = [
        (name, _fields(schema))
        for name, schema in sorted(document["components"]["schemas"].items())
        if "properties" in schema
    ]
    return page("docs.html", document=document, groups=list(groups.items()), schemas=schemas)


def _operation(method: str, path: str, raw: Json) -> Json:
    return {
        "id": f"{method}-{path.strip('/').replace('/', '-')}",
        "method": method.upper(),
        "path": path,
        "summary": raw.get("summary", ""),
        "body": _schema_name(raw.get("requestBody", {})),
        "parameters": [
            {
                "name": parameter["name"],
                "in": parameter["in"],
                "required": parameter.get("required", False),
                "text": parameter.get("description", ""),
            }
            for parameter in raw.get("parameters", [])
        ],
        "answers": [
            {"status": status, "text": answer.get("description", ""), "schema": _schema_name(answer)}
            for status, answer in sorted(raw["responses"].items())
        ],
    }


def _schema_name(raw: Json) -> str | None:
    for content in raw.get("content", {}).values():
        reference = content.get("schema", {}).get("$ref", "")
        if reference:
            return str(reference).rpartition("/")[2]
    return None


def _fields(schema: Json) -> list[Json]:
    return [
        {
            "name": name,
            "required": name in schema.get("required", ()),
            "type": _type(raw),
            "text": raw.get("description", ""),
        }
        for name, raw in schema["properties"].items()
    ]


def _type(raw: Json) -> str:
    if "$ref" in raw:
        return str(raw["$ref"]).rpartition("/")[2]
    if "enum" in raw:
        return " | ".join(f'"{value}"' for value in raw["enum"])
    if "anyOf" in raw or "allOf" in raw:
        return " | ".join(_type(one) for one in raw.get("anyOf") or raw["allOf"])
    if raw.get("type") == "array":
        return f"list of {_type(raw.get('items', {}))}"
    return str(raw.get("format") or raw.get("const") or raw.get("type", "anything"))
