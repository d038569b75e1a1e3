"""People: oneself, and what others see of somebody."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.contracts.people import EditMe
from services.gateway import responses
from services.gateway.apidocs import schemas
from services.gateway.apidocs.operations import operation
from services.gateway.composition import profile_views, representations
from services.gateway.composition.compose import Composed, Look
from services.gateway.composition.forwarding import body_of, forward
from services.gateway.gateway import gateway_of
from services.gateway.guards import Anybody, SignedIn
from services.gateway.routes import PublicRoute

router = APIRouter(prefix="/v1", tags=["people"], route_class=PublicRoute)

CACHED = ("If-None-Match",)


@router.get("/people/{person_id}", **operation("What anybody sees of somebody.", schemas.Profile, headers=CACHED))
async def profile(request: Request, look: Anybody, person_id: str) -> Response:
    return responses.read(request, look, await profile_views.profile(gateway_of(request).sources, look, person_id))


@router.get("/me", **operation("Who I am.", schemas.Me, headers=CACHED))
async def me(request: Request, look: SignedIn) -> Response:
    raw = await gateway_of(request).sources.upstreams.people.get("/me", look.viewer.caller, look.deadline)
    return responses.read(request, look, Composed(representations.me(raw)))


@router.patch("/me", **operation("Be called differently.", schemas.Me, body=EditMe, headers=["Idempotency-Key"]))
async def rename(request: Request, look: SignedIn) -> Response:
    gateway = gateway_of(request)
    body = await body_of(request)
    answer = await forward(request, look, gateway.sources.upstreams.people, "/me", body=body)
    _forget(request, look)
    return responses.written(look, answer, Composed(representations.me(answer.json())))


@router.delete("/me", **operation("Be forgotten.", status=202))
async def erase(request: Request, look: SignedIn) -> Response:
    gateway = gateway_of(request)
    answer = await forward(request, look, gateway.sources.upstreams.people, "/me", headers={})
    _forget(request, look)
    return responses.unkept(answer.json() if answer.data else {"status": "accepted"}, 202)


def _forget(request: Request, look: Look) -> None:
    gateway = gateway_of(request)
    gateway.changed.person(str(look.viewer.person_id))
    cookie = gateway.viewers.cookie(request)
    if cookie is not None:
        gateway.viewers.forget(cookie)
