"""Make the answers of the API: bytes, a strong entity tag, and who may keep them for how long."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.chassis.client.client import ServiceResponse
from services.gateway.caching.cacheable import offer_to_cache
from services.gateway.caching.etags import entity_tag, matches
from services.gateway.caching.invalidation import Invalidation
from services.gateway.composition.export import Export
from services.gateway.composition.request_context import Composed, RequestContext
from services.gateway.gateway import gateway_of

VARY = "Authorization, Cookie, Accept-Encoding"
PUBLIC = "public, no-cache"
PRIVATE = "private, no-cache"
NO_STORE = "no-store"
MEDIA_TYPE = "application/json"
LIST_PARAMS = ("sort", "state", "status", "tag", "author", "kind", "limit")


def read(request: Request, context: RequestContext, composed: Composed) -> Response:
    """Answer a GET: 200, or 304 when the client has these very bytes."""
    content = composed.content or encoded(context, composed.data)
    tag = entity_tag(composed.version, content, composed.epoch)
    headers = {"ETag": tag, "Vary": VARY, "Cache-Control": cache_control(context)}
    if "next" in composed.data and "items" in composed.data and composed.data["next"] is not None:
        headers["Link"] = link_to_next(request, composed.data["next"])
    if matches(request.headers.get("if-none-match"), tag):
        return Response(None, 304, headers)
    offer_to_cache(request, context)
    return Response(content, 200, headers, MEDIA_TYPE)


def document(request: Request, context: RequestContext, content: bytes, media_type: str) -> Response:
    """Answer a GET of a document that is the same for everybody: 200, or 304 when the client has these very bytes."""
    tag = entity_tag(0, content)
    headers = {"ETag": tag, "Vary": "Accept-Encoding", "Cache-Control": cache_control(context)}
    if matches(request.headers.get("if-none-match"), tag):
        return Response(None, 304, headers)
    offer_to_cache(request, context)
    return Response(content, 200, headers, media_type)


def written(context: RequestContext, answer: ServiceResponse, composed: Composed) -> Response:
    """Answer a write: the service's status and `Location`, the resource with names and tag as of now."""
    content = encoded(context, composed.data)
    headers = {
        "ETag": entity_tag(composed.version, content, composed.epoch),
        "Cache-Control": NO_STORE,
        **passed_on(answer),
    }
    return Response(content, answer.status, headers, MEDIA_TYPE)


def not_stored(
    data: Any, status: int = 200, headers: Mapping[str, str] | None = None, *, answer: ServiceResponse | None = None
) -> Response:
    """Answer with JSON that nobody may keep: sessions, and the answer to a write that has no version.

    Args:
        answer: that of a service to a write with an idempotency key.
    """
    added = {**(passed_on(answer) if answer else {}), **(headers or {})}
    return Response(orjson.dumps(data), status, {"Cache-Control": NO_STORE, **added}, MEDIA_TYPE)


class ExportResponse(Response):
    """Sends everything that is kept of a person, and gives back the file that holds it, however the sending ends."""

    def __init__(self, export: Export) -> None:
        name = 'attachment; filename="rapport-export.json"'
        headers = {"Cache-Control": NO_STORE, "Content-Disposition": name, "Content-Length": str(export.size)}
        super().__init__(None, 200, headers, MEDIA_TYPE)
        self._export = export

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it in pieces."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for chunk in self._export.chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._export.close()


def empty(answer: ServiceResponse | None = None) -> Response:
    """Answer 204."""
    return Response(None, 204, {"Cache-Control": NO_STORE, **(passed_on(answer) if answer else {})})


def invalidation(request: Request) -> Invalidation:
    """Return what evicts from this gateway's cache, to be told of each write at once."""
    return gateway_of(request).invalidation


def encoded(context: RequestContext, data: Any) -> bytes:
    """Return the JSON of an answer; parts that are missing are named at its top."""
    if context.missing and "unavailable" not in data:
        data = {**data, "unavailable": context.missing}
    return orjson.dumps(data)


def cache_control(context: RequestContext) -> str:
    """Return `Cache-Control` of a 200: an incomplete answer is not kept, one for one person not shared."""
    if context.missing:
        return NO_STORE
    return PRIVATE if context.viewer.private else PUBLIC


def link_to_next(request: Request, cursor: str) -> str:
    """Return `Link` to the rest of this list (RFC 8288), an absolute path."""
    query = [(name, request.query_params[name]) for name in LIST_PARAMS if name in request.query_params]
    path = quote(request.url.path, safe="/")
    return f'<{path}?{urlencode([*query, ("cursor", cursor)])}>; rel="next"'


def passed_on(answer: ServiceResponse) -> dict[str, str]:
    """Return the headers of a service's answer that the public reads too."""
    names = ("Location", "Idempotency-Replayed")
    return {name: answer.headers[name] for name in names if name in answer.headers}
