"""Add headers to every answer (pure ASGI): CORS for `/v1`, rate limits, `nosniff`, and HSTS under https."""

import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis.http.request_middleware import REQUEST_ID

RATE_LIMIT_HEADERS = "rapport.rate-limit-headers"  # where guards put them into the request's scope
EXPOSED = b"ETag, Link, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-ID, Idempotency-Replayed"
CROSS_ORIGIN = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED)]
PREFLIGHT = [
    *CROSS_ORIGIN,
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID, traceparent",
    ),
    (b"access-control-max-age", b"86400"),
    (b"cache-control", b"public, max-age=86400"),
    (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
]
NONE: dict[str, str] = {}
ALWAYS = [(b"x-content-type-options", b"nosniff")]
# RFC 6797. Other hosts of the domain are not ours to bind, and a preload list cannot be left for months.
HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")


class ResponseHeaders:
    """Middleware around FastAPI's app, inside `CacheMiddleware`.

    Args:
        https_only: tell browsers for a year to come by https alone; for a site whose public address is https.
    """

    def __init__(self, app: ASGIApp, *, https_only: bool = False) -> None:
        self._app = app
        self._always = [*ALWAYS, HTTPS_ONLY] if https_only else ALWAYS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        api = scope["path"].startswith("/v1/")
        if api and scope["method"] == "OPTIONS":
            await preflight(scope, send, self._always)
            return
        scope[RATE_LIMIT_HEADERS] = {}  # guards may be given a copy of the scope

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": list(message.get("headers", ()))}
                self.add(scope, message["headers"])
            await send(message)

        await self._app(scope, receive, answer)

    def add(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> None:
        """Add what every answer has to the headers of one."""
        headers += self._always
        if scope["path"].startswith("/v1/"):
            headers += CROSS_ORIGIN
        for name, value in scope.get(RATE_LIMIT_HEADERS, NONE).items():
            headers.append((name.lower().encode(), value.encode()))


async def preflight(scope: Scope, send: Send, always: list[tuple[bytes, bytes]]) -> None:
    """Answer a preflight: every origin may send every request of the API, but no credentials of the browser."""
    headers = [*PREFLIGHT, *always, (b"x-request-id", request_id(scope))]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def request_id(scope: Scope) -> bytes:
    """Return the client's id of this request, if it is well formed, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.match(value):
            return bytes(value)
    return uuid.uuid4().hex.encode()
