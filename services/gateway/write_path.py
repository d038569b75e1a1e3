"""Lead writes past the layers that are there for pages and reads.

A write of the API, such as a comment, goes from the server to its handler and back like this:

    LimitedHttpProtocol → CacheMiddleware → WritePath → RequestMiddleware → PublicRoute: guards, body, handler
                                                ↑ `complete`: all headers, the end of the write ↓
    LimitedHttpProtocol ←───────────────────────── RequestMiddleware: one head, one body

Whatever has no handler that can be called directly, and every page's form, goes the way of a read: language,
`ResponseHeaders`, and FastAPI (`app.create_app`). Its answers are the same.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis.http.fast_path import FastPath, call_handler
from services.chassis.http.problems import Refuse
from services.chassis.http.request_middleware import RequestMiddleware
from services.gateway.access.recent_writers import WRITER, RecentWriters
from services.gateway.response_headers import ResponseHeaders

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class WritePath:
    """Serves what is no GET.

    Args:
        app: the way of a read, around `api`.
        api: FastAPI's app, whose routes are looked at.
        recent_writers: is told how each write ends.
    """

    def __init__(
        self, app: ASGIApp, api: FastPath, responses: ResponseHeaders, refuse: Refuse, recent_writers: RecentWriters
    ) -> None:
        self._app = app
        self._api = api
        self._responses = responses
        self._recent_writers = recent_writers
        self._direct = RequestMiddleware(call_handler, routes=api.routes_table, refuse=refuse, complete=self._complete)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_write = scope["type"] == "http" and scope["method"] in WRITES
        if is_write and scope["path"].startswith("/v1/") and self._api.finds(scope):
            await self._direct(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._end(scope, message["status"])
            await send(message)

        await self._app(scope, receive, answer)

    def _complete(self, scope: Scope, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._responses.add(scope, headers)
        self._end(scope, status)

    def _end(self, scope: Scope, status: int) -> None:
        """End the write of who is marked for it, unless its answer leaves open what it did."""
        if status < 500 and WRITER in scope:
            self._recent_writers.end(scope[WRITER])
