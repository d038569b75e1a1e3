"""Forward requests to the service that owns a resource, with the body's own bytes and the headers of safe writing."""

from collections.abc import Mapping, Sequence

from starlette.requests import Request

from services.chassis.client.client import ServiceResponse
from services.chassis.errors import Problem
from services.chassis.http.routes import read_json
from services.contracts.body_sizes import BODY_BYTES
from services.gateway.composition.request_context import RequestContext
from services.gateway.composition.upstreams import Upstream

SAFE_WRITING = ("Idempotency-Key", "If-Match")


def query_of(request: Request, *names: str) -> dict[str, str]:
    """Return the query parameters of these names; `PublicRoute` refuses others."""
    return {name: request.query_params[name] for name in names if name in request.query_params}


def key_of(request: Request) -> str | None:
    """Return the idempotency key, in any form.

    Raises:
        Problem: `malformed-idempotency-key` for two of them, because which one counts could be read in two ways.
    """
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1:
        raise Problem("malformed-idempotency-key", "Send one key.")
    return keys[0] if keys else None


def headers_of(request: Request, names: Sequence[str] = SAFE_WRITING) -> dict[str, str]:
    """Return the headers that are forwarded.

    Raises:
        Problem: see `key_of`.
    """
    key_of(request)
    return {name: ", ".join(request.headers.getlist(name)) for name in names if name in request.headers}


async def body_of(request: Request, limit: int = BODY_BYTES) -> bytes:
    """Return the JSON of a request as the bytes that came.

    Raises:
        Problem: `unsupported-media-type`, `too-large`, `malformed-json`; `invalid` for NUL and lone surrogates.
    """
    await read_json(request, limit, optional=False)
    return await request.body()


async def forward(
    request: Request,
    context: RequestContext,
    upstream: Upstream,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> ServiceResponse:
    """Send the request's method and headers to a path of an upstream, on behalf of the viewer.

    Raises:
        Problem: what the upstream refused with, or `unavailable`.
    """
    return await upstream.send(
        request.method,
        path,
        context.viewer.caller,
        context.deadline,
        body=body,
        headers=headers_of(request) if headers is None else headers,
    )
