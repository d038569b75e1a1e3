"""What is asked before a body is read: who it is, and whether it is not too often.

async def create(request: Request, look: SignedIn) -> Response: ...
"""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from services.chassis.client.client import within
from services.chassis.errors import Problem
from services.chassis.http.guards import Guard
from services.gateway.access.authentication import SAFE_METHODS, Viewer
from services.gateway.access.rate_limits import POSTING, READING, SIGN_IN, Policy, network
from services.gateway.composition.compose import Look
from services.gateway.gateway import gateway_of
from services.gateway.routes import UNSURE


def standing(request: Request) -> dict[str, str]:
    """The `RateLimit` headers of this request's answer, whatever it will be; `edge.Public` sends them."""
    headers: dict[str, str] = request.scope.setdefault("rapport.standing", {})
    return headers


def client_network(request: Request) -> str:
    """What a client without a name is counted by."""
    peer = request.client.host if request.client else None
    return network(gateway_of(request).proxies.client(peer, request.headers.getlist("x-forwarded-for")))


def identity(request: Request, viewer: Viewer) -> str:
    """Whom a request is counted for."""
    return str(viewer.person_id) if viewer.person_id else client_network(request)


async def count(request: Request, policy: Policy, whom: str) -> None:
    """Count a request; writes are told their standing, reads only when it is over.

    Raises:
        Problem: `too-many-requests`.
    """
    told: dict[str, str] = {}
    try:
        await gateway_of(request).limits.spend(told, (policy, whom))
    except Problem:
        standing(request).update(told)
        raise
    if policy.strict:
        standing(request).update(told)


class AnybodyGuard(Guard[Look]):
    """Whoever looks, signed in or not."""

    kinds = ("invalid-token", "too-many-requests", "unavailable")

    async def admit(self, request: Request) -> Look:
        gateway = gateway_of(request)
        deadline = within(gateway.settings.read_deadline_seconds)
        viewer = await gateway.viewers.of(request, deadline)
        if not viewer.sure:
            request.scope[UNSURE] = True
        await count(request, READING, identity(request, viewer))
        return Look(viewer, deadline)


class SignedInGuard(Guard[Look]):
    """Somebody who is signed in. A request is counted before it is refused for being nobody's."""

    kinds = ("sign-in-required", "invalid-token", "cross-site", "too-many-requests", "unavailable")

    async def admit(self, request: Request) -> Look:
        gateway = gateway_of(request)
        safe = request.method in SAFE_METHODS
        seconds = gateway.settings.read_deadline_seconds if safe else gateway.settings.write_deadline_seconds
        deadline = within(seconds)
        policy = READING if safe else POSTING
        try:
            viewer = await gateway.viewers.person(request, deadline)
        except Problem:
            await count(request, policy, client_network(request))
            raise
        await count(request, policy, identity(request, viewer))
        return Look(viewer, deadline)


class StrangerGuard(Guard[Look]):
    """Whoever is about to sign in, or needs no name: a token or cookie that came along is not looked at."""

    kinds = ("too-many-requests", "unavailable")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def admit(self, request: Request) -> Look:
        gateway = gateway_of(request)
        await count(request, self._policy, client_network(request))
        return Look(Viewer(), within(gateway.settings.write_deadline_seconds))


Anybody = Annotated[Look, Depends(AnybodyGuard())]
SignedIn = Annotated[Look, Depends(SignedInGuard())]
Stranger = Annotated[Look, Depends(StrangerGuard(SIGN_IN))]
Passer = Annotated[Look, Depends(StrangerGuard(READING))]
