"""Put the OpenAPI document together: what FastAPI reads from the routes, and the words and examples of this room."""

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from services.chassis.http.problems import MEDIA_TYPE
from services.contracts.problems import KINDS, MEANINGS
from services.gateway.apidocs import examples, texts, vocabulary
from services.gateway.apidocs.operations import MODELS
from services.gateway.apidocs.parameters import ANSWER_HEADER, PATH

Json = dict[str, Any]

LICENSE = {"name": "MIT", "url": "https://opensource.org/license/mit"}
BEARER = (
    "An access token, from `createSession` or `refreshSession`: `Authorization: Bearer TOKEN`. It is refused after "
    "`expires_in` seconds; get a new one with the refresh token. The cookie of our own pages is no way to sign in here."
)
KIND = re.compile(r"`([a-z-]+)`: ")  # as `problems` names the kinds of a status
OF_A_POST = re.compile(r"/v1/posts/\{")
VERSIONED = ("Post", "Comment", "Me")  # answers to writes that have an `ETag`
NOT_KEPT = ("Export",)  # answers to reads that are strictly counted and that nobody stores
LOCATED = ("Post", "Comment", "Image")  # what is created, and has an address of its own
DESCRIPTIONS = {
    200: "Done.",
    201: "Created.",
    202: "Accepted.",
    204: "Done; there is nothing to say.",
    308: "The post has another slug now; `Location` is the same path below that one.",
    304: "The copy that you have is still the same.",
}


def describe(app: FastAPI, public_url: str) -> Json:
    """Return the OpenAPI document of the public API."""
    document: Json = get_openapi(
        title=texts.TITLE,
        version="1",
        summary=texts.SUMMARY,
        description=texts.INTRODUCTION,
        contact={"name": texts.CONTACT} | ({"url": public_url} if "://" in public_url else {}),
        license_info=LICENSE,
        tags=[{"name": name, "description": text} for name, text in texts.TAGS.items()],
        routes=app.routes,
        servers=[{"url": public_url.rstrip("/") or "/"}],
    )
    components = document.setdefault("components", {})
    components["schemas"] = _schemas()
    components["headers"] = ANSWER_HEADER
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": BEARER}
    }
    kinds: set[str] = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if OF_A_POST.match(path):
                operation["responses"]["308"] = {"description": ""}
            kinds |= _complete(method, operation)
    components["examples"] = {kind: examples.problem(kind) for kind in sorted(kinds)}
    document["paths"] = vocabulary.with_names(document["paths"])
    return document


def _schemas() -> Json:
    _, definitions = models_json_schema(
        [(MODELS[name], "validation") for name in sorted(MODELS)], ref_template="#/components/schemas/{model}"
    )
    schemas: Json = vocabulary.with_names(definitions["$defs"])
    for schema in schemas.values():
        text = schema["description"].removeprefix("Command: ")
        schema["description"] = text[0].upper() + text[1:]
        for field in schema.get("properties", {}).values():
            field.pop("title", None)  # the name of the field once more
    return dict(sorted((schemas | {name: vocabulary.schema(name) for name in vocabulary.VOCABULARIES}).items()))


def _complete(method: str, operation: Json) -> set[str]:
    """Add to an operation what its route does not say: texts, headers, security, problems, examples.

    Returns the kinds of problems that it may answer with.
    """
    name = operation["operationId"]
    operation["description"] = texts.OPERATIONS.get(name, "")
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["description"] = PATH.get(parameter["name"], "")
        parameter["schema"].pop("title", None)
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):  # FastAPI's own, never answered
        del responses["422"]
    kinds = {status: KIND.findall(response["description"]) for status, response in responses.items()}
    operation["security"] = _security({kind for found in kinds.values() for kind in found})
    if method == "get" and "cross-site" in kinds.get("403", ()):  # the guard refuses only writes for that
        kinds["403"].remove("cross-site")
        if not kinds["403"]:
            del responses["403"]
    for status, response in responses.items():
        if kinds[status]:
            response["description"] = "\n".join(f"- `{kind}`: {MEANINGS[kind]}" for kind in kinds[status])
            response["content"][MEDIA_TYPE]["examples"] = {
                kind: {"$ref": f"#/components/examples/{kind}"} for kind in kinds[status]
            }
        else:
            response["description"] = DESCRIPTIONS[int(status)]
        names = _headers(method, int(status), kinds[status], operation)
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    examples.add(name, operation)
    return {kind for found in kinds.values() for kind in found}


def _security(kinds: set[str]) -> list[Json]:
    """Return what a caller has to be, told by the kinds of problems that its guard brings."""
    if {"sign-in-required", "cross-site"} <= kinds:
        return [{"token": []}]
    return [{}, {"token": []}] if "invalid-token" in kinds else []


def _headers(method: str, status: int, kinds: list[str], operation: Json) -> list[str]:
    """Return the headers of one answer that a client may want to read."""
    names = ["X-Request-ID"]
    taken = {parameter["name"] for parameter in operation.get("parameters", ())}
    model = model_of(operation["responses"][str(status)])
    if model in NOT_KEPT:
        names += ["Cache-Control"]
    elif method == "get" and status in (200, 304):
        names += ["ETag", "Cache-Control", "Vary"]
        names += ["Link"] if status == 200 and "cursor" in taken else []
    elif status < 300:
        names += ["ETag"] if model in VERSIONED else []
        names += ["Location"] if status == 201 and model in LOCATED else []
        names += ["Idempotency-Replayed"] if "Idempotency-Key" in taken and operation["security"] else []
    if method != "get" or status == 429 or model in NOT_KEPT:
        names += ["RateLimit", "RateLimit-Policy"]
    if any(KINDS[kind].status in (429, 503) or kind == "still-running" for kind in kinds):
        names.append("Retry-After")
    names += ["Location", "Cache-Control"] if status == 308 else []
    return names + (["WWW-Authenticate"] if status == 401 else [])


def model_of(content: Json) -> str | None:
    """Return the name of the schema of a body or an answer; None if it has none."""
    for one in content.get("content", {}).values():
        return str(one["schema"]["$ref"]).rpartition("/")[2]
    return None
