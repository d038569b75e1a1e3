"""How the API answers: bytes, a strong entity tag, and who may keep them for how long."""

from typing import Any
from urllib.parse import quote, urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.client.client import ServiceResponse
from services.gateway.caching.cacheable import offer
from services.gateway.caching.etags import entity_tag, matches
from services.gateway.composition.compose import Composed, Look

VARY = "Authorization, Cookie, Accept-Encoding"
PUBLIC = "public, no-cache"
PRIVATE = "private, no-cache"
NO_STORE = "no-store"
MEDIA_TYPE = "application/json"
LIST_PARAMS = ("sort", "state", "limit")


def encoded(look: Look, data: Any) -> bytes:
    """The JSON of an answer; parts that are missing are named at its top."""
    if look.missing and "unavailable" not in data:
        data = {**data, "unavailable": look.missing}
    return orjson.dumps(data)


def read(request: Request, look: Look, composed: Composed) -> Response:
    """The answer to a GET: 200, or 304 when the client has these very bytes."""
    content = encoded(look, composed.data)
    tag = entity_tag(composed.version, content)
    headers = {"ETag": tag, "Vary": VARY, "Cache-Control": caching(look)}
    if "next" in composed.data and "items" in composed.data and composed.data["next"] is not None:
        headers["Link"] = link_to_next(request, composed.data["next"])
    if matches(request.headers.get("if-none-match"), tag):
        return Response(None, 304, headers)
    offer(request, look)
    return Response(content, 200, headers, MEDIA_TYPE)


def caching(look: Look) -> str:
    """`Cache-Control` of a 200: what is incomplete is not kept, what is for one person not shared."""
    if look.missing:
        return NO_STORE
    return PRIVATE if look.viewer.private else PUBLIC


def link_to_next(request: Request, cursor: str) -> str:
    """`Link` to the rest of this list (RFC 8288), an absolute path."""
    query = [(name, request.query_params[name]) for name in LIST_PARAMS if name in request.query_params]
    path = quote(request.url.path, safe="/")
    return f'<{path}?{urlencode([*query, ("cursor", cursor)])}>; rel="next"'


def written(look: Look, answer: ServiceResponse, composed: Composed) -> Response:
    """The answer to a write: the owner's status and `Location`, the thing with names and tag as of now."""
    content = encoded(look, composed.data)
    headers = {"ETag": entity_tag(composed.version, content), "Cache-Control": NO_STORE, **passed_on(answer)}
    return Response(content, answer.status, headers, MEDIA_TYPE)


def passed_on(answer: ServiceResponse) -> dict[str, str]:
    """What the owner says in headers that the public reads too."""
    names = ("Location", "Idempotency-Replayed")
    return {name: answer.headers[name] for name in names if name in answer.headers}


def unkept(data: Any, status: int = 200) -> Response:
    """JSON that nobody may keep: sessions, and what a write answers that has no version."""
    return Response(orjson.dumps(data), status, {"Cache-Control": NO_STORE}, MEDIA_TYPE)


def empty(answer: ServiceResponse | None = None) -> Response:
    """204."""
    return Response(None, 204, {"Cache-Control": NO_STORE, **(passed_on(answer) if answer else {})})
