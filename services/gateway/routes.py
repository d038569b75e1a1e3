"""Routes of the public API."""

from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, unavailable
from services.chassis.http.direct_call import Handler
from services.chassis.http.routes import StrictRoute

UNSURE = "rapport.unsure"  # in the scope of a request whose sender could not be found out


class PublicRoute(StrictRoute):
    """A strict route that says 404 only to somebody it knows, or who did not claim to be anybody.

    Who could not be checked in time is shown what strangers see. What strangers do not see may still be theirs, so
    they are asked to come back.
    """

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def honest(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                if problem.kind == "not-found" and UNSURE in request.scope:
                    raise unavailable("Who you are could not be checked in time.") from None
                raise

        return honest
