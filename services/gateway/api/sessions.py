"""Register, sign in and sign out. Nobody may keep these answers."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem
from services.contracts.people import RefreshSession, Register, SignIn
from services.gateway import responses
from services.gateway.apidocs import schemas
from services.gateway.apidocs.operations import operation
from services.gateway.composition.forwarding import body_of, forward
from services.gateway.guards import PublicRoute, SignedIn, SigningIn, ask_for_mail, end_session

router = APIRouter(prefix="/v1", tags=["people"], route_class=PublicRoute)


@router.post(
    "/people", **operation("Register by name and e-mail address", schemas.CheckYourMail, status=202, body=Register)
)
async def register(request: Request, context: SigningIn, body: Register) -> Response:
    answer = await ask_for_mail(request, context, "/people", body)
    return responses.not_stored(answer.json(), 202)


@router.post("/sign-in", **operation("Request a sign-in link by mail", schemas.CheckYourMail, status=202, body=SignIn))
async def sign_in(request: Request, context: SigningIn, body: SignIn) -> Response:
    answer = await ask_for_mail(request, context, "/sign-in", body)
    return responses.not_stored(answer.json(), 202)


@router.post(
    "/sessions",
    **operation(
        "Sign in with the token of a link",
        schemas.Session,
        status=201,
        kinds=["not-found", "link-used-or-expired"],
    ),
)
async def start(request: Request, context: SigningIn, body: schemas.UseLink) -> Response:
    command = {"token": body.token, "cookie": False}
    answer = await context.upstreams.people.send(
        "POST", "/sessions", context.viewer.caller, context.deadline, body=command
    )
    return responses.not_stored(answer.json(), 201)


@router.post(
    "/sessions/refresh",
    **operation(
        "Exchange a refresh token for new tokens",
        schemas.Session,
        body=RefreshSession,
        headers=["Idempotency-Key"],
        kinds=["invalid-refresh-token"],
    ),
)
async def refresh(request: Request, context: SigningIn) -> Response:
    body = await body_of(request)
    answer = await forward(request, context, context.upstreams.people, "/sessions/refresh", body=body)
    return responses.not_stored(answer.json())


@router.delete("/sessions/current", **operation("Sign out", status=204))
async def end(request: Request, context: SignedIn) -> Response:
    session_id = context.viewer.session_id
    if session_id is None:
        raise Problem("invalid-token")
    await context.upstreams.people.send(
        "DELETE", "/sessions/current", context.viewer.caller, context.deadline, body={"session_id": session_id}
    )
    end_session(request, session_id)
    return responses.empty()
