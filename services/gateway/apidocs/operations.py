"""Describe operations where their routes stand, since their handlers take and return bytes.

The tables of this room say the rest by name: `texts`, `parameters`, `schemas`, `vocabulary`, `examples.json`.
`document` puts it all together.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from services.chassis.http.problems import problems
from services.gateway.apidocs.parameters import HEADER, QUERY
from services.gateway.apidocs.schemas.problems import Problem

MODELS: dict[str, type[BaseModel]] = {  # and every one that an operation names
    "Problem": Problem,
}
JSON = "application/json"
BODY_PROBLEMS = ("malformed-json", "too-large", "unsupported-media-type", "invalid")


def operation(
    name: str,
    summary: str,
    answer: type[BaseModel] | None = None,
    *,
    status: int = 200,
    body: type[BaseModel] | None = None,
    media_types: Sequence[str] = (JSON,),
    query: Sequence[str] = (),
    headers: Sequence[str] = (),
    kinds: Sequence[str] = (),
) -> dict[str, Any]:
    """Return keyword arguments for a route's decorator.

    Args:
        name: the operation's id, by which `texts` and the examples know it, and clients that are generated.
        media_types: of the body.
        kinds: kinds of problems beyond those that its guards, path and body bring.
    """
    problem_kinds = ["invalid", *kinds]  # every call refuses query parameters that it does not know
    if "cursor" in query:
        problem_kinds.append("malformed-cursor")
    if body is not None:
        problem_kinds += [kind for kind in BODY_PROBLEMS if kind != "malformed-json" or JSON in media_types]
    if "Idempotency-Key" in headers:
        problem_kinds += ["malformed-idempotency-key", "idempotency-key-reused", "still-running"]
    if "If-Match" in headers:
        problem_kinds.append("stale")
    responses: dict[int | str, dict[str, Any]] = {status: {"description": HTTPStatus(status).phrase}}
    if answer is not None:
        responses[status]["content"] = {"application/json": {"schema": _ref(answer)}}
    if "If-None-Match" in headers:
        responses[304] = {"description": HTTPStatus(304).phrase}
    extra: dict[str, Any] = {
        "parameters": [
            *({"name": name, "in": "query", **QUERY[name]} for name in query),
            *({"name": name, "in": "header", **HEADER[name]} for name in headers),
        ]
    }
    if body is not None:
        extra["requestBody"] = {"required": True, "content": {one: {"schema": _ref(body)} for one in media_types}}
    return {
        "operation_id": name,
        "summary": summary,
        "status_code": status,
        "response_model": None,
        "responses": problems(*dict.fromkeys(problem_kinds)) | responses,
        "openapi_extra": extra,
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    MODELS[model.__name__] = model
    return {"$ref": f"#/components/schemas/{model.__name__}"}
