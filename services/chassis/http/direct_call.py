"""Call an endpoint without FastAPI's dependency injection, which resolves its parameters anew for each request."""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import params
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.http.guards import Guard
from services.chassis.http.requests import query_errors

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def is_callable_directly(route: APIRoute) -> bool:
    """Return whether the endpoint takes only the request, values of guards, path and query parameters and at most one
    required JSON body, and returns a `Response`.
    """
    dependant, body = route.dependant, route.dependant.body_params
    others = (
        *(dependant.header_params, dependant.cookie_params),
        *(dependant.response_param_name, dependant.background_tasks_param_name, dependant.http_connection_param_name),
        *(dependant.security_scopes_param_name, dependant.websocket_param_name),
    )
    returned = inspect.signature(route.endpoint).return_annotation
    return (
        not any(others)
        and all(isinstance(inner.call, Guard) for inner in dependant.dependencies)
        and len(body) <= 1
        and not any(isinstance(field.field_info, params.Form) or not field.field_info.is_required() for field in body)
        and not (body and route._embed_body_fields)
        and inspect.iscoroutinefunction(route.endpoint)
        and isinstance(returned, type)
        and issubclass(returned, Response)
    )


def direct_handler(route: APIRoute, known_query: Mapping[str, bool] | None = None) -> Handler:
    """Return the handler of a route that `is_callable_directly`.

    `StrictRoute` has parsed the body before, and has called the guards, whose values `Guard` keeps in the scope.

    Args:
        known_query: the query parameters that the route takes, and whether each may be repeated; None ignores others.

    Raises (while serving):
        RequestValidationError: the path, the query or the body does not match the endpoint's parameters.
    """
    dependant, endpoint = route.dependant, route.endpoint
    guards = [(str(inner.name), inner.call) for inner in dependant.dependencies if inner.call]
    fields = [("path", field) for field in dependant.path_params] + [("body", field) for field in dependant.body_params]

    async def call(request: Request) -> Response:
        values: dict[str, Any] = {}
        errors: list[Any] = []
        for place, field in fields:
            raw = request.path_params[field.alias] if place == "path" else request._json
            loc = (place, field.alias) if place == "path" else (place,)
            values[field.name], invalid = field.validate(raw, values, loc=loc)
            errors += invalid or ()
        if dependant.query_params:
            query = request.query_params
            # FastAPI takes some 30 µs for each field, also for those that are not there.
            given = []
            for field in dependant.query_params:
                if field.alias in query or field.field_info.is_required():
                    given.append(field)
                else:
                    values[field.name] = field.get_default()
            read, invalid = request_params_to_args(given, query)
            values |= read
            errors += invalid
        if known_query is not None and request.scope["query_string"]:
            errors += query_errors(request.query_params, known_query)
        if errors:
            raise RequestValidationError(errors)
        for name, guard in guards:
            values[name] = request.scope["admitted"][guard]
        if dependant.request_param_name is not None:
            values[dependant.request_param_name] = request
        response: Response = await endpoint(**values)
        return response

    return call
