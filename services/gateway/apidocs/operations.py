"""Describe operations for `/openapi.json`, since their handlers take and return bytes."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.chassis.http.problems import SCHEMA, problems

MODELS: dict[str, type[BaseModel]] = {}  # every one that an operation names

QUERY: dict[str, dict[str, Any]] = {
    "cursor": {"schema": {"type": "string"}, "description": "`next` of the page before; empty for the first page."},
    "limit": {"schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}},
    "sort": {"schema": {"type": "string", "enum": ["oldest", "newest"], "default": "oldest"}},
    "status": {
        "schema": {
            "type": "string",
            "enum": ["draft", "scheduled", "published", "withdrawn"],
            "default": "published",
        },
        "description": "All but `published` need a sign-in (401), and list your own posts; to an admin, everybody's.",
    },
    "state": {"schema": {"type": "string", "enum": ["held"]}, "required": True},
    "comment": {"schema": {"type": "string", "format": "uuid"}, "required": True},
}
HEADER: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
        "description": "A request repeated with the same key within 24 hours is carried out once.",
    },
    "If-Match": {
        "schema": {"type": "string"},
        "description": "The `ETag` of the representation to change; only its version is compared.",
    },
    "If-None-Match": {"schema": {"type": "string"}, "description": "The `ETag` of a copy the client has."},
}
BODY_PROBLEMS = ("malformed-json", "too-large", "unsupported-media-type", "invalid")


def operation(
    summary: str,
    answer: type[BaseModel] | None = None,
    *,
    status: int = 200,
    body: type[BaseModel] | None = None,
    query: Sequence[str] = (),
    headers: Sequence[str] = (),
    kinds: Sequence[str] = (),
) -> dict[str, Any]:
    """Return keyword arguments for a route's decorator.

    Args:
        kinds: kinds of problems beyond those that its guards, path and body bring.
    """
    problem_kinds = ["invalid", *kinds]  # every call refuses query parameters that it does not know
    if "cursor" in query:
        problem_kinds.append("malformed-cursor")
    if body is not None:
        problem_kinds += BODY_PROBLEMS
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
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    return {
        "summary": summary,
        "status_code": status,
        "response_model": None,
        "responses": problems(*dict.fromkeys(problem_kinds)) | responses,
        "openapi_extra": extra,
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    MODELS[model.__name__] = model
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def describe(app: FastAPI, public_url: str) -> dict[str, Any]:
    """Return the OpenAPI document of the public API."""
    document = get_openapi(
        title="Rapport",
        version="1",
        summary="Posts, comments and notifications.",
        routes=app.routes,
        servers=[{"url": public_url}],
    )
    _, definitions = models_json_schema(
        [(MODELS[name], "validation") for name in sorted(MODELS)], ref_template="#/components/schemas/{model}"
    )
    components = document.setdefault("components", {})
    components["schemas"] = {**definitions["$defs"], "Problem": SCHEMA}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    for methods in document["paths"].values():
        for described in methods.values():
            if "HTTPValidationError" in str(described["responses"].get("422")):  # FastAPI's own, never answered
                del described["responses"]["422"]
            refused = described["responses"].get("401", {}).get("description", "")
            if "sign-in-required" in refused:
                described["security"] = [{"token": []}]
            elif "invalid-token" in refused:
                described["security"] = [{}, {"token": []}]
    return document
