"""Signing in and out. What is answered here is kept by nobody."""

from uuid import UUID

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem
from services.contracts.people import RefreshSession, Register, SignIn
from services.gateway import responses
from services.gateway.access.rate_limits import SIGN_IN_ADDRESS
from services.gateway.apidocs import schemas
from services.gateway.apidocs.operations import operation
from services.gateway.composition.compose import Look
from services.gateway.composition.forwarding import body_of, forward
from services.gateway.gateway import gateway_of
from services.gateway.guards import SignedIn, Stranger, standing
from services.gateway.routes import PublicRoute

router = APIRouter(prefix="/v1", tags=["people"], route_class=PublicRoute)


@router.post("/people", **operation("Register by name and address.", schemas.CheckYourMail, status=202, body=Register))
async def register(request: Request, look: Stranger) -> Response:
    return await _ask_for_mail(request, look, "/people")


@router.post("/sign-in", **operation("Ask for a link to sign in.", schemas.CheckYourMail, status=202, body=SignIn))
async def sign_in(request: Request, look: Stranger) -> Response:
    return await _ask_for_mail(request, look, "/sign-in")


@router.post(
    "/sessions",
    **operation(
        "Sign in with the token of a link.",
        schemas.Session,
        status=201,
        kinds=["not-found", "link-used-or-expired"],
    ),
)
async def start(request: Request, look: Stranger, body: schemas.UseLink) -> Response:
    people = gateway_of(request).sources.upstreams.people
    answer = await people.send(
        "POST", "/sessions", look.viewer.caller, look.deadline, body={"token": body.token, "cookie": False}
    )
    return responses.unkept(answer.json(), 201)


@router.post(
    "/sessions/refresh",
    **operation(
        "Exchange a refresh token for a new pair.",
        schemas.Session,
        body=RefreshSession,
        headers=["Idempotency-Key"],
        kinds=["invalid-refresh-token"],
    ),
)
async def refresh(request: Request, look: Stranger) -> Response:
    body = await body_of(request)
    return responses.unkept(
        (
            await forward(request, look, gateway_of(request).sources.upstreams.people, "/sessions/refresh", body=body)
        ).json()
    )


@router.delete("/sessions/current", **operation("Sign out.", status=204))
async def end(request: Request, look: SignedIn) -> Response:
    gateway = gateway_of(request)
    session_id = look.viewer.session_id
    if session_id is None:
        raise Problem("invalid-token")
    await gateway.sources.upstreams.people.send(
        "DELETE", "/sessions/current", look.viewer.caller, look.deadline, body={"session_id": session_id}
    )
    gateway.changes.end(UUID(session_id))
    return responses.empty()


async def _ask_for_mail(request: Request, look: Look, path: str) -> Response:
    body = await body_of(request)
    address = _address(body)
    if address is not None:
        limits = gateway_of(request).limits
        await limits.spend(standing(request), (SIGN_IN_ADDRESS, address))
    answer = await forward(request, look, gateway_of(request).sources.upstreams.people, path, body=body, headers={})
    return responses.unkept(answer.json(), 202)


def _address(body: bytes) -> str | None:
    """What the address is counted by, if there is one; whether it is known plays no part."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    email = value.get("email") if isinstance(value, dict) else None
    return email.strip().casefold()[:254] if isinstance(email, str) else None
