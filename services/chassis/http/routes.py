"""Routes that check in a fixed order: caller, media type, size, JSON, fields."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import orjson
from fastapi import Depends, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.database.idempotency import CommandResult
from services.chassis.errors import Problem
from services.chassis.http.direct_call import Handler, direct_handler, is_callable_directly
from services.chassis.http.guards import Guard
from services.chassis.http.problems import merge_responses, problems
from services.chassis.http.requests import check_content_length, check_media_type, parse_json, read_body
from services.chassis.identity import Caller
from services.chassis.runtime import failpoint

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class InternalCaller(Guard[Caller]):
    """The guard of internal routes: a token for this service, signed by one of the accepted services."""

    kinds = ("invalid-token", "forbidden")

    def __init__(self, accepted: tuple[str, ...]) -> None:
        self.accepted = frozenset(accepted)

    async def admit(self, request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Problem("invalid-token", "An internal token is needed.")
        caller: Caller = request.app.state.verifier.verify(token.strip())
        if caller.issuer not in self.accepted:
            raise Problem("forbidden", "This route is not for that service.")
        return caller


def allow(*services: str) -> Any:
    """Return the dependency for the `Caller` of one of these services: `Annotated[Caller, allow("gateway")]`.

    Raises (while serving):
        Problem: `invalid-token` without a valid token; `forbidden` for another service.
    """
    return Depends(InternalCaller(services))


def body_limit(size: int) -> Callable[[Endpoint], Endpoint]:
    """Set another limit for the body of one endpoint; a decorator below that of the route."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.__dict__["body_limit"] = size
        return endpoint

    return mark


def json_response(data: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response. Times must be strings (`contracts.event.rfc3339`); UUIDs are encoded.

    Raises:
        TypeError: a value cannot be encoded.
    """
    content = orjson.dumps(data, option=orjson.OPT_PASSTHROUGH_DATETIME)
    return Response(content, status, headers, "application/json")


def command_response(result: CommandResult) -> Response:
    """Return the response of a command."""
    headers = {"Location": result.location} if result.location else {}
    if result.replayed:
        headers["Idempotency-Replayed"] = "true"
    if result.status == 204:
        return Response(status_code=204, headers=headers)
    return json_response(result.representation, result.status, headers)


def guards_of(dependant: Dependant) -> Iterator[Guard[Any]]:
    """Yield the guards among a route's dependencies, in order."""
    for inner in dependant.dependencies:
        yield from guards_of(inner)
        if isinstance(inner.call, Guard):
            yield inner.call


class StrictRoute(APIRoute):
    """A route that checks in this order: guards → 415 → 413 → 400 `malformed-json` → FastAPI's validation.

    Use it as `APIRouter(route_class=StrictRoute)`. The size of a form is checked here; its endpoint, or FastAPI, parses
    it. A body that no parameter takes is not read. In an app with a verifier a route without a guard (`allow`) fails at
    each request.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        kinds = ["unavailable", *(kind for guard in guards_of(self.dependant) for kind in guard.kinds)]
        if self.body_field is not None:
            kinds += ["malformed-json", "too-large", "unsupported-media-type", "invalid"]
        elif self.dependant.query_params or self.dependant.header_params:
            kinds.append("invalid")
        if any(parameter.name == "cursor" for parameter in self.dependant.query_params):
            kinds.append("malformed-cursor")
        if self.methods and not self.methods <= {"GET", "HEAD"}:
            kinds.append("too-large")
        if self.dependant.path_params:
            kinds.append("not-found")
        self.responses = merge_responses(problems(*dict.fromkeys(kinds)), self.responses)

    def known_query(self) -> Mapping[str, bool] | None:
        """Return the query parameters of the route, and whether each may be repeated; None ignores unknown ones.

        Overridden in an API that refuses what it does not know; its routes must be callable directly.
        """
        return None

    def get_route_handler(self) -> Handler:
        handle = direct_handler(self, self.known_query()) if is_callable_directly(self) else super().get_route_handler()
        guards = tuple(guards_of(self.dependant))
        field = self.body_field
        takes_form = field is not None and isinstance(field.field_info, params.Form)
        takes_json = field is not None and not takes_form
        optional = field is not None and not field.field_info.is_required()
        own_limit: int | None = getattr(self.endpoint, "body_limit", None)

        async def strict(request: Request) -> Response:
            state = request.app.state
            if state.verifier is not None and not guards:
                raise RuntimeError(f"{self.path} has no guard: name the services that may call it")
            for guard in guards:
                await guard(request)
            limit: int = state.body_limit if own_limit is None else own_limit
            if takes_json:
                await read_json(request, limit, optional)
            elif takes_form:
                await read_body(request, limit)
            else:
                check_content_length(request, limit)
            response = await handle(request)
            failpoint.reach("answer.ready")
            return response

        return strict


async def read_json(request: Request, limit: int, optional: bool) -> None:
    """Parse the body and store it where FastAPI reads it.

    A media type is checked before anything is read. A request without one may have no body, which is known only after
    reading; a body without a media type is refused then.

    Raises:
        Problem: `unsupported-media-type`, `too-large`, `malformed-json` or `invalid`, in this order.
    """
    named = "content-type" in request.headers
    if named:
        check_media_type(request)
    data = await read_body(request, limit)
    if data:
        if not named:
            check_media_type(request)
        request._json = parse_json(data)
    elif not optional:
        raise Problem("malformed-json", "A JSON body is needed.")
