"""The routes of an app by method and path, and the straight way to them.

FastAPI finds a route through its own layers, and its layers are for what our routes do not use: their problems become
answers at the edge, and they close nothing behind themselves. Together they cost more than all the rest of a small
request, so a request for a route that can be called directly goes there from the edge.
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
from services.chassis.http.problems import render
from services.chassis.http.routes import StrictRoute

HANDLE = "rapport.handle"


@dataclass(frozen=True)
class RouteEntry:
    """One route where it stands.

    Attributes:
        handle: None if it has to be called by FastAPI.
    """

    template: str
    pattern: re.Pattern[str]
    convertors: Mapping[str, Convertor[Any]]
    methods: frozenset[str]
    route: BaseRoute
    handle: Handler | None


class RouteTable:
    """The routes of an app as it was built, included routers too; looked up when the first request comes."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._paths: list[RouteEntry] = []
        self._templates: dict[int, str] = {}

    def _known(self) -> list[RouteEntry]:
        if not self._paths:
            for context in iter_route_contexts(self._app.routes):
                if context.path is None:
                    continue
                route, handle = context.original_route, None
                bare = not getattr(context, "dependencies", None)
                if isinstance(route, StrictRoute) and bare and is_callable_directly(route):
                    handle = route.get_route_handler()
                pattern, _, convertors = compile_path(context.path)
                methods = frozenset(getattr(context, "methods", None) or ())
                self._paths.append(RouteEntry(context.path, pattern, convertors, methods, route, handle))
            self._templates = {id(path.route): path.template for path in self._paths}
        return self._paths

    def template(self, route: BaseRoute | None) -> str:
        """The path of a route with its parameters' names, for metrics; `unmatched` when there is none."""
        self._known()
        return self._templates.get(id(route), "unmatched")

    def find(self, scope: Scope) -> tuple[RouteEntry, dict[str, Any]] | None:
        """The first route for a request, and what its path holds; None if FastAPI is to look itself."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        for path in self._known():
            if method in path.methods and (match := path.pattern.match(scope["path"])):
                if path.handle is None:
                    return None
                return path, {name: path.convertors[name].convert(text) for name, text in match.groupdict().items()}
        return None

    async def refuse_method(self, request: Request, _: Exception) -> Response:
        """405 with every method that the path has in `Allow` (Starlette names only the first route's)."""
        allowed: set[str] = set()
        for path in self._known():
            if path.pattern.match(request.scope["path"]):
                allowed |= path.methods
        if "GET" in allowed:
            allowed.add("HEAD")
        return render(Problem("method-not-allowed", headers={"Allow": ", ".join(sorted(allowed))}))


class FastPath:
    """Outermost: parts the requests for routes that are called directly from the others.

    Args:
        app: FastAPI with all its layers, and the edge among them.
        edge: the edge around `call`.
    """

    def __init__(self, app: ASGIApp, edge: ASGIApp, *, routes: RouteTable) -> None:
        self._app = app
        self._edge = edge
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            found = self._routes.find(scope)
            if found is not None:
                path, scope["path_params"] = found
                scope["route"], scope[HANDLE] = path.route, path.handle
                await self._edge(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def call(scope: Scope, receive: Receive, send: Send) -> None:
    """The handler that `Straight` found, as an ASGI app."""
    response: Response = await scope[HANDLE](Request(scope, receive, send))
    await response(scope, receive, send)
