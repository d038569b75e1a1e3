"""Problem details (RFC 9457): the form of errors in responses and in the OpenAPI document."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import orjson
import structlog
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from services.chassis.errors import FieldError, Problem, not_found, sentence_of, unavailable
from services.chassis.runtime.context import Context, bound, current
from services.contracts.problems import KINDS

log = structlog.get_logger(__name__)

MAX_TEXT_LENGTH = 300
MEDIA_TYPE = "application/problem+json"
KIND_OF_STATUS = {
    400: "malformed-json",
    401: "sign-in-required",
    403: "forbidden",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
    422: "invalid",
    429: "too-many-requests",
    503: "unavailable",
}

UNNAMED = {"query": "The parameter without a name"}
OBJECT = "must be a JSON object"
WHOLE_NUMBER = "must be a whole number"
TIME = "must be a time with its offset, such as 2026-11-23T04:35:00.000Z"
MESSAGES = {  # of pydantic's errors by their type, for people; our own validators write theirs
    "missing": "is required",
    "extra_forbidden": "is not a field of this call",
    "model_type": OBJECT,
    "model_attributes_type": OBJECT,
    "dict_type": OBJECT,
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_long": "must have at most {max_length} entries",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": WHOLE_NUMBER,
    "int_from_float": WHOLE_NUMBER,
    "int_parsing": WHOLE_NUMBER,
    "int_parsing_size": WHOLE_NUMBER,
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "uuid_type": "must be an id",
    "uuid_parsing": "must be an id",
    "datetime_type": TIME,
    "datetime_parsing": TIME,
    "datetime_from_date_parsing": TIME,
    "datetime_object_invalid": TIME,
    "timezone_aware": TIME,
}

Model = TypeVar("Model", bound=BaseModel)
Responses = dict[int | str, dict[str, Any]]
Refuse = Callable[[Request, Problem], Response]

SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "description": "`/problems/` and the kind; a page that explains it"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "the request id"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def render(problem: Problem) -> Response:
    """Return the response of a problem. Its `instance` is the id of the current request."""
    body: dict[str, Any] = {
        "type": f"/problems/{problem.kind}",
        "title": problem.title,
        "status": problem.status,
        "detail": _encodable(problem.detail),
        "instance": current().correlation_id or "",
    }
    if problem.kind == "invalid":
        body["errors"] = [
            {"field": _encodable(error.field), "message": _encodable(error.message)} for error in problem.errors
        ] or [{"field": "", "message": _encodable(problem.detail)}]
    headers = {"Cache-Control": "no-store"} | problem.headers
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(orjson.dumps(body), problem.status, headers, MEDIA_TYPE)


def last_response(problem: Problem, default_headers: Iterable[tuple[bytes, bytes]], *, with_body: bool) -> bytes:
    """Return a problem as the bytes of the last response of a connection, for a request that reaches no app."""
    request_id = uuid.uuid4().hex
    with bound(Context(correlation_id=request_id)):
        log.debug("request refused", kind=problem.kind, detail=problem.detail)
        response = render(problem)
    own = ((b"x-request-id", request_id.encode()), (b"connection", b"close"))
    lines = [b"%s: %s\r\n" % header for header in (*default_headers, *response.raw_headers, *own)]
    return b"".join([STATUS_LINE[problem.status], *lines, b"\r\n", bytes(response.body) if with_body else b""])


def _encodable(text: str) -> str:
    """Return a text that may quote the client's input, cut and without lone surrogates, which UTF-8 cannot encode."""
    return text[:MAX_TEXT_LENGTH].encode("utf-8", "replace").decode()


def of_exception(error: Exception) -> Problem:
    """Return the problem of an exception. An unexpected exception is logged and becomes `internal`."""
    if isinstance(error, Problem):
        if error.status >= 500:
            log.warning("request not served", kind=error.kind, detail=error.detail, cause=repr(error.__cause__))
        return error
    if isinstance(error, RequestValidationError):
        return of_validation(error)
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            return not_found()
        kind = KIND_OF_STATUS.get(error.status_code, "internal")
        headers = {"Retry-After": "1"} if kind in ("unavailable", "too-many-requests") else {}
        return Problem(kind, headers=headers | dict(error.headers or {}))
    if isinstance(error, TimeoutError):
        log.warning("request timed out", error=repr(error))
        return unavailable("It took too long.")
    if isinstance(error, ClientDisconnect):
        return Problem("malformed-json", "The connection ended before the body did.")
    log.error("request failed", exc_info=error)
    return Problem("internal")


def of_validation(error: RequestValidationError) -> Problem:
    """Return the 422 with dotted field names, or the 404 if the path is invalid: no such resource can exist."""
    errors, statements = [], []
    for item in error.errors():
        source, *path = item["loc"]
        if source == "path":
            return not_found()
        wrong = FieldError(".".join(str(part) for part in path), _message(item))
        errors.append(wrong)
        statements.append(wrong.statement(UNNAMED.get(source, "The body")))
    return Problem("invalid", sentence_of(statements), errors=errors[:50])


def validated(model: type[Model], values: object) -> Model:
    """Return values that did not come as JSON, such as those of a form, as a body.

    Raises:
        Problem: `invalid`.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = [{**item, "loc": ("body", *item["loc"])} for item in error.errors()]
        raise of_validation(RequestValidationError(found)) from None


def _message(item: Mapping[str, Any]) -> str:
    """Return what is wrong with a field, as the predicate of a sentence about it."""
    if item["type"] == "value_error":
        return str(item["msg"]).removeprefix("Value error, ")
    return MESSAGES.get(item["type"], "is not valid").format_map(item.get("ctx", {}))


def refuse(_: Request, problem: Problem) -> Response:
    """Return the response to a request that no handler answers, such as one for an unknown path."""
    return render(problem)


def problems(*kinds: str) -> Responses:
    """Return the `responses` argument of a route's decorator for these kinds of problems."""
    by_status: dict[int | str, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(KINDS[kind].status, []).append(kind)
    return {
        status: {
            "description": ", ".join(f"`{kind}`: {KINDS[kind].title}" for kind in grouped),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, grouped in sorted(by_status.items(), key=lambda item: int(item[0]))
    }


def merge_responses(first: Responses, second: Responses) -> Responses:
    """Return the union; responses with the same status get both descriptions."""
    merged = first | second
    for status in first.keys() & second.keys():
        texts = [responses[status].get("description", "") for responses in (first, second)]
        merged[status] = second[status] | {"description": ", ".join(dict.fromkeys(filter(None, texts)))}
    return merged
