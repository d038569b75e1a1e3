"""Guard routes: find out who sends a request, count it, and build its context, before its body is read.

async def create(request: Request, context: SignedIn) -> Response: ...
"""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.client.client import within
from services.chassis.errors import Problem, unavailable
from services.chassis.http.client_networks import network_of
from services.chassis.http.direct_call import Handler
from services.chassis.http.guards import Guard
from services.chassis.http.routes import StrictRoute
from services.gateway.access.authentication import ANONYMOUS, SAFE_METHODS, Viewer
from services.gateway.access.counters import Policy
from services.gateway.access.rate_limits import (
    COMPARING,
    EXPORTING,
    POSTING,
    PREVIEWING,
    READ_FOR,
    READING,
    REFRESH,
    SESSION,
    SIGN_IN,
    UPLOADING,
)
from services.gateway.access.recent_writers import WRITER
from services.gateway.composition.moved import Moved
from services.gateway.composition.request_context import RequestContext
from services.gateway.gateway import Gateway, gateway_of
from services.gateway.response_headers import RATE_LIMIT_HEADERS

UPLOAD_SECONDS = 25.0  # to read a picture in, which begins before it, and to wait until it is re-encoded
EXPORT_SECONDS = 60.0
UNCHECKED = "rapport.unchecked"  # in the scope of a request whose credentials could not be checked


def rate_limit_headers(request: Request) -> dict[str, str]:
    """Return the `RateLimit` headers of this request's answer, to be added to; `ResponseHeaders` sends them."""
    headers: dict[str, str] = request.scope.setdefault(RATE_LIMIT_HEADERS, {})
    return headers


async def count(request: Request, gateway: Gateway, policy: Policy, identity: str) -> None:
    """Count a request; the headers are sent for writes, and for reads only when there were too many.

    Raises:
        Problem: `too-many-requests`.
    """
    headers: dict[str, str] = {}
    try:
        await gateway.rate_limits.spend(headers, (policy, identity))
    except Problem:
        rate_limit_headers(request).update(headers)
        raise
    if policy.strict:
        rate_limit_headers(request).update(headers)


async def count_network(request: Request, gateway: Gateway, policy: Policy) -> None:
    """Count a request under the network it comes from.

    Raises:
        Problem: `too-many-requests`.
    """
    await count(request, gateway, policy, network(request, gateway))


async def count_comparison(request: Request, context: RequestContext) -> None:
    """Count a request for the difference of two texts, under the person or the network it comes from.

    Raises:
        Problem: `too-many-requests`.
    """
    gateway, person_id = gateway_of(request), context.viewer.person_id
    identity = network(request, gateway) if person_id is None else str(person_id)
    await count(request, gateway, COMPARING, identity)


def network(request: Request, gateway: Gateway) -> str:
    """Return the network that a request comes from, behind the proxies."""
    peer = request.client.host if request.client else None
    return network_of(gateway.client_addresses.client(peer, request.headers.getlist("x-forwarded-for")))


async def find_viewer(request: Request, gateway: Gateway, policy: Policy, deadline: float) -> tuple[Viewer, bool]:
    """Return who sends the request, and whether it has been counted under its network.

    Credentials that are not known to be good are counted before people is asked, so that nobody makes the gateway ask
    more often than the policy allows by making up cookies.

    Raises:
        Problem: `invalid-token`, `too-many-requests`.
    """
    authentication = gateway.authentication
    try:
        viewer = authentication.recall(request)
    except Problem:
        await count_network(request, gateway, policy)
        raise
    if viewer is not None:
        return viewer, False
    counted = not authentication.was_confirmed(request)
    if counted:
        await count_network(request, gateway, policy)
    return await authentication.check(request, deadline), counted


class OptionalViewerGuard(Guard[RequestContext]):
    """Admits everybody, signed in or not."""

    kinds = ("invalid-token", "too-many-requests", "unavailable")

    async def admit(self, request: Request) -> RequestContext:
        """Return the context of the request."""
        gateway = gateway_of(request)
        deadline = within(gateway.settings.read_deadline_seconds)
        viewer, counted = await find_viewer(request, gateway, READING, deadline)
        if not viewer.sure:
            request.scope[UNCHECKED] = True
        person_id = viewer.person_id or request.scope.get(READ_FOR)
        if person_id is not None:
            await count(request, gateway, READING, str(person_id))
        elif not counted:
            await count_network(request, gateway, READING)
        return gateway.context(viewer, deadline)


class SignedInGuard(Guard[RequestContext]):
    """Admits people who are signed in; the others are counted before they are refused.

    Attributes:
        marks: whether what they change may stand in what gateways keep: who writes is marked (`access.recent_writers`).
    """

    marks = True

    kinds = ("sign-in-required", "invalid-token", "cross-site", "too-many-requests", "unavailable")

    async def admit(self, request: Request) -> RequestContext:
        """Return the context of the request."""
        gateway = gateway_of(request)
        settings = gateway.settings
        if request.method in SAFE_METHODS:
            policy, deadline = READING, within(settings.read_deadline_seconds)
        else:
            policy, deadline = POSTING, within(settings.write_deadline_seconds)
        viewer, counted = await find_viewer(request, gateway, policy, deadline)
        try:
            gateway.authentication.require_person(request, viewer)
        except Problem:
            if not counted:
                await count_network(request, gateway, policy)
            raise
        marked = None
        if self.marks and viewer.person_id is not None and request.method not in SAFE_METHODS:
            marked = gateway.recent_writers.begin(viewer.person_id)
            request.scope[WRITER] = viewer.person_id
        await count(request, gateway, policy, str(viewer.person_id))
        if marked is not None:
            await marked
        return gateway.context(viewer, deadline)


class CommentingGuard(SignedInGuard):
    """Admits people who are signed in and send a comment, which travels with those that others are about to send."""

    async def admit(self, request: Request) -> RequestContext:
        """Return the context of the request."""
        with gateway_of(request).posting.announced():
            return await super().admit(request)


class PrivateGuard(SignedInGuard):
    """Admits people who are signed in, where all that they change is shown to themselves alone."""

    marks = False


class UploadingGuard(SignedInGuard):
    """Admits people who are signed in and send a picture, which takes longer than other writes and counts twice."""

    async def admit(self, request: Request) -> RequestContext:
        """Return the context of the request."""
        context = await super().admit(request)
        await count(request, gateway_of(request), UPLOADING, str(context.viewer.person_id))
        context.deadline = within(UPLOAD_SECONDS)
        return context


class ExportingGuard(SignedInGuard):
    """Admits people who are signed in and want all that is kept of them, which takes long."""

    async def admit(self, request: Request) -> RequestContext:
        """Return the context of the request."""
        context = await super().admit(request)
        await count(request, gateway_of(request), EXPORTING, str(context.viewer.person_id))
        context.deadline = within(EXPORT_SECONDS)
        return context


class PreviewingGuard(SignedInGuard):
    """Admits people who are signed in and have a text rendered, which counts twice."""

    marks = False

    async def admit(self, request: Request) -> RequestContext:
        """Return the context of the request."""
        context = await super().admit(request)
        await count(request, gateway_of(request), PREVIEWING, str(context.viewer.person_id))
        return context


class UnauthenticatedGuard(Guard[RequestContext]):
    """Admits everybody as nobody: a token or cookie that came along is not looked at."""

    kinds = ("too-many-requests", "unavailable")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def admit(self, request: Request) -> RequestContext:
        """Return the context of the request."""
        gateway = gateway_of(request)
        await count_network(request, gateway, self._policy)
        return gateway.context(ANONYMOUS, within(gateway.settings.write_deadline_seconds))


def context_of(request: Request) -> RequestContext | None:
    """Return the context that a guard of this request made; None if it was refused before."""
    admitted: Mapping[object, object] = request.scope.get("admitted", {})
    return next((value for value in admitted.values() if isinstance(value, RequestContext)), None)


optional_viewer = OptionalViewerGuard()
OptionalViewer = Annotated[RequestContext, Depends(optional_viewer)]
SignedIn = Annotated[RequestContext, Depends(SignedInGuard())]
Commenting = Annotated[RequestContext, Depends(CommentingGuard())]
InPrivate = Annotated[RequestContext, Depends(PrivateGuard())]
Previewing = Annotated[RequestContext, Depends(PreviewingGuard())]
Uploading = Annotated[RequestContext, Depends(UploadingGuard())]
Exporting = Annotated[RequestContext, Depends(ExportingGuard())]
AskingForMail = Annotated[RequestContext, Depends(UnauthenticatedGuard(SIGN_IN))]
SigningIn = Annotated[RequestContext, Depends(UnauthenticatedGuard(SESSION))]
Refreshing = Annotated[RequestContext, Depends(UnauthenticatedGuard(REFRESH))]
Unauthenticated = Annotated[RequestContext, Depends(UnauthenticatedGuard(READING))]


class PublicRoute(StrictRoute):
    """A route of the public API: it refuses query parameters that it does not list, and says 404 only when it knows who
    asks.

    A viewer who could not be checked in time is shown what anonymous readers see. What those do not see may still be
    the viewer's own, so the answer is to come back.

    A slug that a post had before leads to the present one, with method and body (308).
    """

    def known_query(self) -> Mapping[str, bool]:
        """Return the query parameters that the route's description lists; one that takes a list may be repeated."""
        listed = (self.openapi_extra or {}).get("parameters", ())
        return {one["name"]: one["schema"].get("type") == "array" for one in listed if one["in"] == "query"}

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Moved as moved:
                return moved.redirect(request, 308)
            except Problem as problem:
                if problem.kind == "not-found" and UNCHECKED in request.scope:
                    raise unavailable("Who you are could not be checked in time.") from None
                raise

        return answer
