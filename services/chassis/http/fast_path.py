"""The route table of an app, and a fast path that calls handlers without FastAPI's middleware stack.

That stack serves features our routes do not use: `RequestMiddleware` turns exceptions into responses, and no endpoint
has dependencies to close. It costs more than all other work of a small request, so a request for a route that can be
called directly goes from `RequestMiddleware` to its handler.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.convertors import Convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from services.chassis.errors import Problem
from services.chassis.http.direct_call import Handler, is_callable_directly
from services.chassis.http.routes import StrictRoute

HANDLE = "rapport.handle"


@dataclass(frozen=True)
class RouteEntry:
    """One route of the table.

    Attributes:
        handle: its direct handler; None if FastAPI must call it.
    """

    template: str
    pattern: re.Pattern[str]
    convertors: Mapping[str, Convertor[Any]]
    methods: frozenset[str]
    route: BaseRoute
    handle: Handler | None


class RouteTable:
    """The routes of an app, with those of included routers; collected at the first request."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._collected: list[RouteEntry] = []
        self._templates: dict[int, str] = {}

    def _entries(self) -> list[RouteEntry]:
        if not self._collected:
            for context in iter_route_contexts(self._app.routes):
                if context.path is None:
                    continue
                route, handle = context.original_route, None
                bare = not getattr(context, "dependencies", None)
                if isinstance(route, StrictRoute) and bare and is_callable_directly(route):
                    handle = route.get_route_handler()
                pattern, _, convertors = compile_path(context.path)
                methods = frozenset(getattr(context, "methods", None) or ())
                self._collected.append(RouteEntry(context.path, pattern, convertors, methods, route, handle))
            self._templates = {id(entry.route): entry.template for entry in self._collected}
        return self._collected

    def template(self, route: BaseRoute | None) -> str:
        """Return the path template of a route, for metrics; `unmatched` without a route."""
        self._entries()
        return self._templates.get(id(route), "unmatched")

    def find(self, scope: Scope) -> tuple[RouteEntry, dict[str, Any]] | None:
        """Return the first matching route and its path parameters; None if FastAPI must handle the request."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        for entry in self._entries():
            if method in entry.methods and (match := entry.pattern.match(scope["path"])):
                if entry.handle is None:
                    return None
                return entry, {name: entry.convertors[name].convert(text) for name, text in match.groupdict().items()}
        return None

    def reads(self, path: str) -> bool:
        """Return whether some route answers a GET of this path."""
        return any("GET" in entry.methods and entry.pattern.match(path) for entry in self._entries())

    def method_not_allowed(self, path: str) -> Problem:
        """Return the 405 with all methods of the path in `Allow` (Starlette names only those of the first route)."""
        allowed: set[str] = set()
        for entry in self._entries():
            if entry.pattern.match(path):
                allowed |= entry.methods
        if "GET" in allowed:
            allowed.add("HEAD")
        return Problem("method-not-allowed", headers={"Allow": ", ".join(sorted(allowed))})


class FastPath(FastAPI):
    """FastAPI that sends requests for directly callable routes past its own layers.

    Attributes:
        routes_table: its routes, with those of included routers.
        fast: `RequestMiddleware` around `call_handler`.
    """

    routes_table: RouteTable
    fast: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.finds(scope):
            await self.fast(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def finds(self, scope: Scope) -> bool:
        """Return whether the request has a handler that can be called directly, and note it for `call_handler`."""
        if scope["type"] != "http" or scope.get("root_path"):
            return False
        found = self.routes_table.find(scope)
        if found is None:
            return False
        entry, scope["path_params"] = found
        scope["app"], scope["route"], scope[HANDLE] = self, entry.route, entry.handle
        return True


async def call_handler(scope: Scope, receive: Receive, send: Send) -> Response:
    """Return the response of the handler that `FastPath` has found."""
    response: Response = await scope[HANDLE](Request(scope, receive, send))
    return response
