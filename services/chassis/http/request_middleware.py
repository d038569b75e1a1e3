"""ASGI request middleware: request id, context, HEAD, metrics, and a response to every exception.

Inside it is an app, or what only returns its response (`fast_path.call_handler`): that is sent here, with all its
headers, instead of by functions around functions that each add some.
"""

import random
import re
import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from services.chassis.errors import not_found
from services.chassis.http.access_log import note_path
from services.chassis.http.fast_path import RouteTable
from services.chassis.http.problems import Refuse, of_exception
from services.chassis.runtime.context import Context, bound, next_hop
from services.chassis.runtime.telemetry import HTTP_REQUESTS, HTTP_SECONDS

SECONDS = re.compile(rb"[0-9]{1,4}(\.[0-9]{1,6})?\Z")
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
Inner = Callable[[Scope, Receive, Send], Awaitable[Response | None]]
Complete = Callable[[Scope, int, list[tuple[bytes, bytes]]], None]
KNOWN_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestMiddleware:
    """The middleware around all handlers of an app; see the module.

    Args:
        complete: adds headers to an answer with this status, right before it is sent.
    """

    def __init__(self, app: Inner, *, routes: RouteTable, refuse: Refuse, complete: Complete = lambda *_: None) -> None:
        self._app = app
        self._routes = routes
        self._refuse = refuse
        self._complete = complete

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        hop = _context(scope)
        request_id = str(hop.correlation_id).encode()
        method, is_head = scope["method"], scope["method"] == "HEAD"
        if is_head:
            scope = dict(scope, method="GET")
        status = 0

        async def send_response(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
                self._complete(scope, status, headers)
            elif is_head and message["type"] == "http.response.body":
                message = {"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)}
            await send(message)

        with bound(hop):
            try:
                if "\0" in scope["path"]:
                    raise not_found()
                response = await self._app(scope, receive, send_response)
                if response is not None:
                    await response(scope, receive, send_response)
            except Exception as error:
                problem = of_exception(error)
                if status:
                    raise
                await self._refuse(Request(scope), problem)(scope, receive, send_response)
            finally:
                route = self._routes.template(scope.get("route"))
                note_path(scope, route)
                label = method if method in KNOWN_METHODS else "other"
                HTTP_REQUESTS.labels(label, route, status).inc()
                HTTP_SECONDS.labels(label, route).observe(time.perf_counter() - began)


def _context(scope: Scope) -> Context:
    request_id = traceparent = deadline = None
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.match(value):
            request_id = value.decode()
        elif name == b"traceparent":
            traceparent = value.decode("latin-1")
        elif name == b"x-deadline-seconds" and SECONDS.match(value):
            deadline = time.monotonic() + float(value)
    # No secret, as in `next_hop`: the kernel's random bytes cost ten times more.
    return Context(request_id or f"{random.getrandbits(128):032x}", None, next_hop(traceparent), deadline)
