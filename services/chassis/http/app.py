"""The FastAPI application of a service, with health checks, request ids, metrics and problem details.

    router = APIRouter(route_class=StrictRoute)

    @router.post("/orders", status_code=201, responses=problems("idempotency-key-reused"))
    @body_limit(256 * 1024)
    async def create_order(request: Request, body: CreateOrder, caller: Gateway) -> Response:
        key = idempotency_key(request, caller)
        ...
        return json_response(order, 201, {"Location": f"/v1/orders/{order_id}"})

    app = create_internal_api("orders", router, verifier=verifier, ready=health.ready, republish=...)

An app without a verifier (the public one) has guards of its own: see `guards.Guard`.
"""

from datetime import datetime
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem
from services.chassis.http.fast_path import FastPath, RouteTable, call_handler
from services.chassis.http.monitoring import Ready, liveness, readiness
from services.chassis.http.partition_routes import PartitionOperator, add_partition_routes
from services.chassis.http.problems import SCHEMA, Refuse, of_exception, refuse
from services.chassis.http.request_middleware import RequestMiddleware
from services.chassis.http.routes import StrictRoute, allow, json_response
from services.chassis.http.stating_routes import Owner, ShowKnown, add_owner_routes, add_reader_route
from services.chassis.identity import Caller, Verifier
from services.contracts.body_sizes import BODY_BYTES
from services.contracts.services import Republish


class Republisher(Protocol):
    """Republishes a batch of the events published since a moment; returns what the route answers."""

    async def __call__(self, since: datetime, after: int, *, dry_run: bool) -> dict[str, Any]: ...


def create_app(
    service: str, *, verifier: Verifier | None, ready: Ready, body_limit: int = BODY_BYTES, refuse: Refuse = refuse
) -> FastPath:
    """Return an app with `/livez`, `/readyz` and problem details for all errors; include routers into it.

    Args:
        verifier: verifies internal tokens; None for an app that takes none.
        ready: the dependencies of the process and whether each works now.
        body_limit: the most bytes of a request body; `routes.body_limit` sets another limit for one route.
        refuse: answers a problem that no route of its own has answered.
    """

    async def handle(request: Request, error: Exception) -> Response:
        return refuse(request, of_exception(error))

    async def refuse_method(request: Request, _: Exception) -> Response:
        return refuse(request, routes.method_not_allowed(request.scope["path"]))

    app = FastPath(
        title=service,
        version="1",
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={Problem: handle, RequestValidationError: handle, HTTPException: handle},
    )
    app.router.route_class = StrictRoute
    app.state.verifier = verifier
    app.state.body_limit = body_limit
    app.routes_table = routes = RouteTable(app)
    app.fast = RequestMiddleware(call_handler, routes=routes, refuse=refuse)
    app.add_exception_handler(405, refuse_method)
    app.add_middleware(RequestMiddleware, routes=routes, refuse=refuse)

    async def livez(_: Request) -> Response:
        return await liveness()

    async def readyz(_: Request) -> Response:
        return await readiness(ready)

    app.add_route("/livez", livez, include_in_schema=False)
    app.add_route("/readyz", readyz, include_in_schema=False)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi_document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
    return app


def create_internal_api(
    service: str,
    router: APIRouter,
    *,
    verifier: Verifier,
    ready: Ready,
    republish: Republisher,
    consumer: PartitionOperator | None = None,
    owner: Owner | None = None,
    known: ShowKnown | None = None,
) -> FastAPI:
    """Return the app of a service's internal API: its own routes, and those common to all services.

    Args:
        republish: republishes the events published since a moment, a batch with each call.
        consumer: the partitions of the service's consumer group, for operators.
        owner: states the rows that other services read.
        known: shows the rows of the service's read model.
    """
    app = create_app(service, verifier=verifier, ready=ready)
    app.include_router(router)

    @app.post("/republish")
    async def republish_events(body: Republish, _: Annotated[Caller, allow("operator")]) -> Response:
        return json_response(await republish(body.since, body.after, dry_run=body.dry_run))

    if consumer is not None:
        add_partition_routes(app, consumer)
    if owner is not None:
        add_owner_routes(app, owner)
    if known is not None:
        add_reader_route(app, known)

    return app


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with problem details instead of FastAPI's validation errors."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["Problem"] = SCHEMA
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        responses = operation["responses"]
        if "HTTPValidationError" in str(responses.get("422")):
            del responses["422"]
    return document
