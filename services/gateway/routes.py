"""Routes of the public API."""

from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, unavailable
from services.chassis.requests import check_announced
from services.chassis.routes import Guard, StrictRoute

UNSURE = "rapport.unsure"  # in the scope of a request whose sender could not be found out

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PublicRoute(StrictRoute):
    """A strict route that says 404 only to somebody it knows, or who did not claim to be anybody.

    Who could not be checked in time is shown what strangers see. What strangers do not see may still be theirs, so
    they are asked to come back.
    """

    def get_route_handler(self) -> Handler:
        handle = self._called_directly() or super().get_route_handler()

        async def honest(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                if problem.kind == "not-found" and UNSURE in request.scope:
                    raise unavailable("Who you are could not be checked in time.") from None
                raise

        return honest

    def _called_directly(self) -> Handler | None:
        """Call an endpoint that takes the request, guards' values and parts of the path, and nothing else.

        It needs none of what FastAPI does to find out parameters, which costs 100 µs a request.
        """
        wanted = self.dependant
        guards = [(inner.name, inner.call) for inner in wanted.dependencies if isinstance(inner.call, Guard)]
        if self.body_field or wanted.query_params or wanted.header_params or wanted.cookie_params:
            return None
        if len(guards) < len(wanted.dependencies):
            return None
        endpoint, request_name = self.endpoint, wanted.request_param_name
        limit: int | None = getattr(endpoint, "body_limit", None)

        async def call(request: Request) -> Response:
            values: dict[str, Any] = dict(request.path_params)
            for name, guard in guards:
                values[str(name)] = await guard(request)
            check_announced(request, limit or request.app.state.body_limit)
            if request_name is not None:
                values[request_name] = request
            answer: Response = await endpoint(**values)
            return answer

        return call
