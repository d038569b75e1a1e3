"""The HTTP side of a service: one app with health, request ids, metrics and problem details.

    app = create_app(title="Posts", service="posts", verifier=verifier, ready=ready)
    router = APIRouter(route_class=StrictRoute)

    @router.post("/posts", status_code=201, responses=problems("idempotency-key-reused"))
    @body_limit(256 * 1024)
    async def create(request: Request, body: CreatePost, caller: Annotated[Caller, allow("gateway")]) -> Response:
        key = idempotency_key(request, caller)
        ...
        return json_response(post, 201, {"Location": f"/v1/posts/{post_id}"})

An app without a verifier (the gateway) brings its own guards: see `calling.Guard`.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from services.chassis.calling import Guard
from services.chassis.edge import Edge, deadline_of
from services.chassis.errors import Problem
from services.chassis.identity import Verifier
from services.chassis.paths import Routes, Straight, call
from services.chassis.problems import SCHEMA, handle, problems, render
from services.chassis.requests import check_if_match, idempotency_key, parse_json, read_body
from services.chassis.routes import StrictRoute, allow, body_limit, json_response

__all__ = [
    "Guard",
    "StrictRoute",
    "allow",
    "body_limit",
    "check_if_match",
    "create_app",
    "deadline_of",
    "idempotency_key",
    "json_response",
    "parse_json",
    "problems",
    "read_body",
    "render",
]

Ready = Callable[[], Awaitable[Mapping[str, bool]]]


class App(FastAPI):
    """FastAPI, which is passed by where a route needs none of it."""

    def build_middleware_stack(self) -> ASGIApp:
        routes: Routes = self.state.routes
        return Straight(super().build_middleware_stack(), Edge(call, routes=routes), routes=routes)


def create_app(
    *,
    title: str,
    service: str,
    verifier: Verifier | None,
    ready: Ready,
    body_limit: int = 64 * 1024,
    public: bool = False,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[Any]] | None = None,
) -> FastAPI:
    """An app that answers `/livez` and `/readyz` and refuses everything else properly; include routers into it.

    Args:
        verifier: checks internal tokens; None for an app that does not take them.
        ready: the parts this process needs and whether each works now.
        body_limit: bytes of a request body; `routes.body_limit` sets another for one route.
        public: serve `/openapi.json` and `/docs`.
    """
    app = App(
        title=title,
        description=f"The HTTP API of {service}.",
        version="1",
        openapi_url="/openapi.json" if public else None,
        docs_url="/docs" if public else None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers={Problem: handle, RequestValidationError: handle, HTTPException: handle},
    )
    app.router.route_class = StrictRoute
    app.state.verifier = verifier
    app.state.body_limit = body_limit
    app.state.routes = routes = Routes(app)
    app.add_exception_handler(405, routes.refuse_method)
    app.add_middleware(Edge, routes=routes)

    async def livez(_: Request) -> Response:
        return json_response({"status": "ok"})

    async def readyz(_: Request) -> Response:
        parts = dict(await ready())
        well = all(parts.values())
        return json_response({"status": "ok" if well else "not ready", "parts": parts}, 200 if well else 503)

    app.add_route("/livez", livez, include_in_schema=False)
    app.add_route("/readyz", readyz, include_in_schema=False)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
    return app


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document with our problem details in the place of FastAPI's own errors."""
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["Problem"] = SCHEMA
    for operation in (operation for path in made["paths"].values() for operation in path.values()):
        responses = operation["responses"]
        if "HTTPValidationError" in str(responses.get("422")):
            del responses["422"]
    return made
