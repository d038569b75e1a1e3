"""Call an endpoint without FastAPI, which works out for each request what the endpoint's parameters are."""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import params
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.http.guards import Guard

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def is_callable_directly(route: APIRoute) -> bool:
    """Whether the endpoint takes only the request, what guards found, parts of the path, query parameters, and one JSON
    body that must be there, and makes its response itself.
    """
    wanted, body = route.dependant, route.dependant.body_params
    others = (
        *(wanted.header_params, wanted.cookie_params),
        *(wanted.response_param_name, wanted.background_tasks_param_name, wanted.http_connection_param_name),
        *(wanted.security_scopes_param_name, wanted.websocket_param_name),
    )
    made = inspect.signature(route.endpoint).return_annotation
    return (
        not any(others)
        and all(isinstance(inner.call, Guard) for inner in wanted.dependencies)
        and len(body) <= 1
        and not any(isinstance(field.field_info, params.Form) or not field.field_info.is_required() for field in body)
        and not (body and route._embed_body_fields)
        and inspect.iscoroutinefunction(route.endpoint)
        and isinstance(made, type)
        and issubclass(made, Response)
    )


def direct(route: APIRoute) -> Handler:
    """The handler of a route that `is_callable_directly`; its body was parsed already (`StrictRoute`).

    Raises (while serving):
        RequestValidationError: parts of the path, the query or the body are not what the endpoint takes.
    """
    wanted, endpoint = route.dependant, route.endpoint
    guards = [(str(inner.name), inner.call) for inner in wanted.dependencies if inner.call]
    fields = [("path", field) for field in wanted.path_params] + [("body", field) for field in wanted.body_params]

    async def call(request: Request) -> Response:
        values: dict[str, Any] = {}
        errors: list[Any] = []
        for place, field in fields:
            given = request.path_params[field.alias] if place == "path" else request._json
            loc = (place, field.alias) if place == "path" else (place,)
            values[field.name], wrong = field.validate(given, values, loc=loc)
            errors += wrong or ()
        if wanted.query_params:
            asked, wrong = request_params_to_args(wanted.query_params, request.query_params)
            values |= asked
            errors += wrong
        if errors:
            raise RequestValidationError(errors)
        for name, guard in guards:
            values[name] = await guard(request)
        if wanted.request_param_name is not None:
            values[wanted.request_param_name] = request
        answer: Response = await endpoint(**values)
        return answer

    return call
