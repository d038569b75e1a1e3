"""The FastAPI app of a service, with health, request ids, metrics and problem details.

    router = APIRouter(route_class=StrictRoute)

    @router.post("/orders", status_code=201, responses=problems("idempotency-key-reused"))
    @body_limit(256 * 1024)
    async def create_order(request: Request, body: CreateOrder, caller: Gateway) -> Response:
        key = idempotency_key(request, caller)
        ...
        return json_response(order, 201, {"Location": f"/v1/orders/{order_id}"})

    app = create_internal_api("orders", router, verifier=verifier, ready=health.ready, republish=...)

An app without a verifier (one that faces the public) brings its own guards: see `guards.Guard`.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from services.chassis.errors import Problem
from services.chassis.http.fast_path import FastPath, RouteTable, call
from services.chassis.http.monitoring import Ready, liveness, readiness
from services.chassis.http.problems import SCHEMA, handle
from services.chassis.http.request_middleware import RequestMiddleware
from services.chassis.http.routes import StrictRoute, allow, json_response
from services.chassis.identity import Caller, Verifier
from services.contracts.services import Republish

Republisher = Callable[[datetime], Awaitable[int]]


class App(FastAPI):
    """FastAPI, which is passed by where a route needs none of it."""

    def build_middleware_stack(self) -> ASGIApp:
        routes: RouteTable = self.state.routes
        return FastPath(super().build_middleware_stack(), RequestMiddleware(call, routes=routes), routes=routes)


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
    app.state.routes = routes = RouteTable(app)
    app.add_exception_handler(405, routes.refuse_method)
    app.add_middleware(RequestMiddleware, routes=routes)

    async def livez(_: Request) -> Response:
        return await liveness()

    async def readyz(_: Request) -> Response:
        return await readiness(ready)

    app.add_route("/livez", livez, include_in_schema=False)
    app.add_route("/readyz", readyz, include_in_schema=False)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
    return app


def create_internal_api(
    service: str, router: APIRouter, *, verifier: Verifier, ready: Ready, republish: Republisher
) -> FastAPI:
    """Return the app of a service's internal API: its own routes, and those that every service has.

    Args:
        service: its name, which is also the audience of the tokens it takes.
        republish: sends every event published since a moment once more; returns how many.
    """
    app = create_app(title=service.capitalize(), service=service, verifier=verifier, ready=ready)
    app.include_router(router)

    @app.post("/republish")
    async def republish_events(body: Republish, _: Annotated[Caller, allow("operator")]) -> Response:
        return json_response({"count": await republish(body.since)})

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
