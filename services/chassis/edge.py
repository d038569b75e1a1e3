"""Outermost layer of every app, pure ASGI: request id, context, HEAD, metrics, and an answer whatever happens."""

import re
import time
import uuid

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis.context import Context, bound, next_hop
from services.chassis.errors import Problem, not_found
from services.chassis.problems import of_exception, render
from services.chassis.telemetry import HTTP_REQUESTS, HTTP_SECONDS

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
DEADLINE_HEADER = "X-Deadline-Seconds"
KNOWN_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Routes:
    """The paths of an app as it was built, included routers too; looked up when the first request comes."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._templates: dict[int, str] = {}
        self._methods: list[tuple[re.Pattern[str], set[str]]] = []

    def _learn(self) -> None:
        for context in iter_route_contexts(self._app.routes):
            path, methods = context.path, getattr(context, "methods", None)
            if path is None:
                continue
            self._templates[id(context.original_route)] = path
            self._methods.append((compile_path(path)[0], set(methods or ())))

    def template(self, route: BaseRoute | None) -> str:
        """The path of a route with its parameters' names, for metrics; `unmatched` when there is none."""
        if not self._templates:
            self._learn()
        return self._templates.get(id(route), "unmatched")

    async def refuse_method(self, request: Request, _: Exception) -> Response:
        """405 with every method that the path has in `Allow` (Starlette names only the first route's)."""
        if not self._templates:
            self._learn()
        allowed: set[str] = set()
        for pattern, methods in self._methods:
            if pattern.match(request.scope["path"]):
                allowed |= methods
        if "GET" in allowed:
            allowed.add("HEAD")
        return render(Problem("method-not-allowed", headers={"Allow": ", ".join(sorted(allowed))}))


class Edge:
    """Middleware around everything; see the module's text."""

    def __init__(self, app: ASGIApp, *, routes: Routes) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id, traceparent = _ids(scope)
        method, bodiless = scope["method"], scope["method"] == "HEAD"
        if bodiless:
            scope = dict(scope, method="GET")
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            elif bodiless and message["type"] == "http.response.body":
                message = {"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)}
            await send(message)

        with bound(Context(correlation_id=request_id, traceparent=next_hop(traceparent))):
            try:
                if "\0" in scope["path"]:
                    raise not_found()
                await self._app(scope, receive, answer)
            except Exception as error:
                problem = of_exception(error)
                if status:
                    raise
                await render(problem)(scope, receive, answer)
            finally:
                route = self._routes.template(scope.get("route"))
                known = method if method in KNOWN_METHODS else "other"
                HTTP_REQUESTS.labels(known, route, status).inc()
                HTTP_SECONDS.labels(known, route).observe(time.perf_counter() - began)


def _ids(scope: Scope) -> tuple[str, str | None]:
    request_id = traceparent = None
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.match(value):
            request_id = value.decode()
        elif name == b"traceparent":
            traceparent = value.decode("latin-1")
    return request_id or uuid.uuid4().hex, traceparent


def deadline_of(request: Request, seconds: float) -> float:
    """The moment on `time.monotonic()` until which an answer is of use: `seconds` from now, or sooner if the service
    that calls announced that it waits for less. What a stranger announces does not count.
    """
    announced = request.headers.get(DEADLINE_HEADER) if request.app.state.verifier is not None else None
    try:
        left = float(announced) if announced else seconds
    except ValueError:
        left = seconds
    return time.monotonic() + min(seconds, left)
