"""Register, sign in and sign out, here and elsewhere. Nobody may keep what signs in."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem
from services.chassis.http.problems import validated
from services.contracts.people import RefreshSession
from services.gateway import responses
from services.gateway.api.references import PathId
from services.gateway.apidocs.operations import operation
from services.gateway.apidocs.schemas import people as people_schemas
from services.gateway.apidocs.schemas import sign_in as schemas
from services.gateway.composition import open_sessions, representations
from services.gateway.composition.forwarding import body_of, forward, query_of
from services.gateway.composition.request_context import Composed
from services.gateway.gateway import gateway_of
from services.gateway.guards import AskingForMail, PublicRoute, Refreshing, SignedIn, SigningIn
from services.gateway.mail_requests import Register, SignIn
from services.gateway.sessions import ask_for_mail, client_headers, end_session, forget_session

# the ways to start a session, by the field that tells them apart: the internal path, and the command
WAYS: dict[str, tuple[str, type[BaseModel]]] = {
    "token": ("/sessions", schemas.UseLink),
    "verifier": ("/sessions/fetch", schemas.FetchSession),
    "request": ("/sessions/by-code", schemas.UseCode),
    "code": ("/sessions/by-code", schemas.UseCode),
}

CACHED = ("If-None-Match",)

router = APIRouter(prefix="/v1", tags=["sign-in"], route_class=PublicRoute)


@router.post(
    "/people",
    **operation("register", "Register by name and e-mail address", schemas.CheckYourMail, status=202, body=Register),
)
async def register(request: Request, context: AskingForMail, body: Register) -> Response:
    answer = await ask_for_mail(request, context, "/people", body)
    return responses.not_stored(answer.json(), 202)


@router.post(
    "/sign-in",
    **operation("requestSignIn", "Request a sign-in link by mail", schemas.CheckYourMail, status=202, body=SignIn),
)
async def sign_in(request: Request, context: AskingForMail, body: SignIn) -> Response:
    answer = await ask_for_mail(request, context, "/sign-in", body)
    return responses.not_stored(answer.json(), 202)


@router.post(
    "/sessions",
    **operation(
        "createSession",
        "Sign in with a link, a code, or what a link led back with",
        schemas.Session,
        status=201,
        body=schemas.StartSession,
        kinds=["not-found", "link-used-or-expired", "invalid-code"],
    ),
)
async def start(request: Request, context: SigningIn) -> Response:
    await body_of(request)
    path, command = _way_to_start(await request.json())
    answer = await context.upstreams.people.send(
        "POST",
        path,
        context.viewer.caller,
        context.deadline,
        body=command.model_dump(),
        headers=client_headers(request),
    )
    return responses.not_stored(representations.session(answer.json(), context.public_url), 201)


def _way_to_start(body: Any) -> tuple[str, BaseModel]:
    """Return the internal path and the command of a way to start a session; its fields tell which one it is.

    Raises:
        Problem: `invalid`: a field is missing, unknown or wrong for that way.
    """
    fields = body if isinstance(body, dict) else {}
    path, kind = next((way for field, way in WAYS.items() if field in fields), WAYS["token"])
    return path, validated(kind, body)


@router.post(
    "/sessions/refresh",
    **operation(
        "refreshSession",
        "Exchange a refresh token for new tokens",
        schemas.Session,
        body=RefreshSession,
        headers=["Idempotency-Key"],
        kinds=["invalid-refresh-token"],
    ),
)
async def refresh(request: Request, context: Refreshing) -> Response:
    body = await body_of(request)
    answer = await forward(request, context, context.upstreams.people, "/sessions/refresh", body=body)
    return responses.not_stored(representations.session(answer.json(), context.public_url))


@router.delete("/sessions/current", **operation("endSession", "Sign out", status=204))
async def end(request: Request, context: SignedIn) -> Response:
    session_id = context.viewer.session_id
    if session_id is None:
        raise Problem("invalid-token")
    await context.upstreams.people.send(
        "DELETE", "/sessions/current", context.viewer.caller, context.deadline, body={"session_id": session_id}
    )
    end_session(request, session_id)
    return responses.empty()


@router.get(
    "/me/sessions",
    **operation(
        "listSessions", "List my open sessions", people_schemas.OpenSessions, query=["cursor", "limit"], headers=CACHED
    ),
)
async def listed(request: Request, context: SignedIn) -> Response:
    params = query_of(request, "cursor", "limit")
    return responses.read(request, context, Composed(await open_sessions.listed(context, params)))


@router.delete("/me/sessions/{session_id}", **operation("endOneSession", "Sign out elsewhere", status=204))
async def end_one(request: Request, context: SignedIn, session_id: PathId) -> Response:
    await open_sessions.end_one(context, gateway_of(request).revocations, session_id)
    if session_id == context.viewer.session_id:
        forget_session(request)
    return responses.empty()


@router.delete("/me/sessions", **operation("endOtherSessions", "Sign out everywhere else", status=204))
async def end_others(request: Request, context: SignedIn) -> Response:
    await open_sessions.end_others(context, gateway_of(request).revocations)
    return responses.empty()
