"""Requests that go on to their owner as they came: the body's own bytes and the headers that make writing safe."""

from collections.abc import Mapping, Sequence

from starlette.requests import Request

from services.chassis.client.client import ServiceResponse
from services.chassis.errors import Problem
from services.chassis.http.routes import read_json
from services.gateway.composition.compose import Look
from services.gateway.composition.upstreams import Upstream

SAFE_WRITING = ("Idempotency-Key", "If-Match")
COMMENT_BYTES = 64 * 1024
POST_BYTES = 256 * 1024


def chosen(request: Request, *names: str) -> dict[str, str]:
    """The query parameters that the owner knows; others are ignored."""
    return {name: request.query_params[name] for name in names if name in request.query_params}


def careful(request: Request, names: Sequence[str] = SAFE_WRITING) -> dict[str, str]:
    """The headers that go on.

    Raises:
        Problem: `malformed-idempotency-key` for two of them: which one counts could be read in two ways.
    """
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise Problem("malformed-idempotency-key", "Send one key.")
    return {name: ", ".join(request.headers.getlist(name)) for name in names if name in request.headers}


async def body_of(request: Request, limit: int = COMMENT_BYTES) -> bytes:
    """The JSON of a request, as it came.

    Raises:
        Problem: `unsupported-media-type`, `too-large`, `malformed-json`; `invalid` for NUL and lone surrogates.
    """
    await read_json(request, limit, optional=False)
    return await request.body()


async def forward(
    request: Request,
    look: Look,
    owner: Upstream,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> ServiceResponse:
    """The request's method and safety headers to `path` of the owner, in the viewer's name.

    Raises:
        Problem: what the owner refused with, or `unavailable`.
    """
    return await owner.send(
        request.method,
        path,
        look.viewer.caller,
        look.deadline,
        body=body,
        headers=careful(request) if headers is None else headers,
    )
