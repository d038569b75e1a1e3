"""The API described: `/openapi.json` for machines, `/docs` for people. Nothing is fetched from elsewhere."""

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.apidocs.operations import describe
from services.gateway.gateway import gateway_of
from services.gateway.guards import Passer
from services.gateway.pages.render import PageRoute, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Json = dict[str, Any]
METHODS = ("get", "post", "patch", "delete")


def document_of(request: Request) -> Json:
    """The OpenAPI document, made once per process."""
    state = request.app.state
    if not hasattr(state, "document"):
        state.document = describe(request.app, gateway_of(request).settings.public_url)
    document: Json = state.document
    return document


@router.get("/openapi.json")
async def openapi(request: Request, _: Passer) -> Response:
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=60"}
    return Response(orjson.dumps(document_of(request)), 200, headers, "application/json")


@router.get("/docs")
async def docs(request: Request, _: Passer) -> Response:
    document = document_of(request)
    groups: dict[str, list[Json]] = {}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                groups.setdefault(methods[method].get("tags", ["other"])[0], []).append(
                    _operation(method, path, methods[method])
                )
    shapes = [
        (name, _fields(shape))
        for name, shape in sorted(document["components"]["schemas"].items())
        if "properties" in shape
    ]
    return page("docs.html", document=document, groups=list(groups.items()), shapes=shapes)


def _operation(method: str, path: str, raw: Json) -> Json:
    return {
        "id": f"{method}-{path.strip('/').replace('/', '-')}",
        "method": method.upper(),
        "path": path,
        "summary": raw.get("summary", ""),
        "body": _shape(raw.get("requestBody", {})),
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
            {"status": status, "text": answer.get("description", ""), "shape": _shape(answer)}
            for status, answer in sorted(raw["responses"].items())
        ],
    }


def _shape(raw: Json) -> str | None:
    for content in raw.get("content", {}).values():
        reference = content.get("schema", {}).get("$ref", "")
        if reference:
            return str(reference).rpartition("/")[2]
    return None


def _fields(shape: Json) -> list[Json]:
    return [
        {
            "name": name,
            "required": name in shape.get("required", ()),
            "type": _type(raw),
            "text": raw.get("description", ""),
        }
        for name, raw in shape["properties"].items()
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
