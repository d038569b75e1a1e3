"""HTTP to command or query. Every route names the services that may call it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Query
from pydantic import AfterValidator, AwareDatetime, Field
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.database.pool import Database
from services.chassis.errors import Problem, invalid
from services.chassis.http.app import create_app
from services.chassis.http.monitoring import Ready
from services.chassis.http.requests import idempotency_key
from services.chassis.http.routes import StrictRoute, allow, json_response
from services.chassis.identity import Caller, Signer, Verifier
from services.contracts.people import EditMe, GrantRole, ImportPerson, RefreshSession, Register, SignIn, StartSession
from services.contracts.text import Body, Opaque
from services.people import queries
from services.people.commands import operator, profile, sessions, sign_in
from services.people.commands.sessions import Started
from services.people.domain import ACCESS_LIFE, Address, parse_address

Gateway = Annotated[Caller, allow("gateway")]
Notify = Annotated[Caller, allow("notify")]
Reader = Annotated[Caller, allow("gateway", "notify")]
Operator = Annotated[Caller, allow("operator")]

router = APIRouter(route_class=StrictRoute)


@dataclass(frozen=True)
class Parts:
    """What the routes work with.

    Attributes:
        signer: signs the access tokens of people.
        admins: addresses, as they are looked up, whose owners become admins when they confirm.
    """

    database: Database
    signer: Signer
    admins: Collection[str]


def create(parts: Parts, verifier: Verifier, ready: Ready) -> FastAPI:
    """The app of the `api` role."""
    app = create_app(title="People", service="people", verifier=verifier, ready=ready)
    app.state.parts = parts
    app.include_router(router)
    return app


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Here = Annotated[Parts, Depends(_parts)]


EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


def _usable(moment: datetime) -> datetime:
    """The moment in UTC, not so early that nothing could be subtracted from it."""
    try:
        return max(moment.astimezone(UTC), EARLIEST)
    except OverflowError:
        raise ValueError("must be a time between the years 1 and 9999") from None


Since = Annotated[AwareDatetime, AfterValidator(_usable)]


class Ids(Body):
    """Whom a look-up asks for."""

    ids: Annotated[list[UUID], Field(max_length=200)]


class SessionRef(Body):
    """A session by what its holder has of it: the `sid` of an access token, or the opaque id of a cookie."""

    session_id: Opaque


class Republish(Body):
    """Command of an operator: send again what was sent since then."""

    since: Since


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise invalid("email", str(error)) from None


def _person(caller: Caller) -> UUID:
    if caller.person_id is None:
        raise Problem("sign-in-required")
    return caller.person_id


def _pair(parts: Parts, started: Started) -> dict[str, Any]:
    life = int(ACCESS_LIFE.total_seconds())
    token = parts.signer.token("rapport", started.person.id, started.person.roles, life, started.session_id)
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": life,
        "refresh_token": started.secret,
        "person": queries.me(started.person),
    }


CHECK_YOUR_MAIL = {"status": "check_your_mail"}


@router.post("/people", status_code=202)
async def register(body: Register, parts: Here, _: Gateway) -> Response:
    await sign_in.request_link(parts.database, _address(body.email), body.name)
    return json_response(CHECK_YOUR_MAIL, 202)


@router.post("/sign-in", status_code=202)
async def ask_for_link(body: SignIn, parts: Here, _: Gateway) -> Response:
    await sign_in.request_link(parts.database, _address(body.email), None)
    return json_response(CHECK_YOUR_MAIL, 202)


@router.post("/sessions", status_code=201)
async def start_session(body: StartSession, parts: Here, _: Gateway) -> Response:
    started = await sign_in.start_session(parts.database, body.token, parts.admins, cookie=body.cookie)
    if body.cookie:
        return json_response({"session_id": started.secret, "person": queries.me(started.person)}, 201)
    return json_response(_pair(parts, started), 201)


@router.post("/sessions/refresh")
async def refresh_session(request: Request, body: RefreshSession, parts: Here, caller: Gateway) -> Response:
    idempotency_key(request, caller)  # its form; what it means here is not a replay
    key = request.headers.get("idempotency-key")
    return json_response(_pair(parts, await sessions.refresh_session(parts.database, body.refresh_token, key)))


@router.delete("/sessions/current", status_code=204)
async def end_session(body: SessionRef, parts: Here, caller: Gateway) -> Response:
    await sessions.end_session(parts.database, _person(caller), body.session_id)
    return Response(status_code=204)


@router.post("/sessions/check")
async def check_session(body: SessionRef, parts: Here, _: Gateway) -> Response:
    return json_response(await queries.session_of_cookie(parts.database, body.session_id))


@router.get("/me")
async def own_profile(parts: Here, caller: Gateway) -> Response:
    return json_response(await queries.own_profile(parts.database, _person(caller)))


@router.patch("/me")
async def rename(request: Request, body: EditMe, parts: Here, caller: Gateway) -> Response:
    key = idempotency_key(request, caller)
    person, replayed = await profile.rename(parts.database, _person(caller), body.name, key)
    return json_response(queries.me(person), headers={"Idempotency-Replayed": "true"} if replayed else None)


@router.delete("/me", status_code=202)
async def erase(parts: Here, caller: Gateway) -> Response:
    await profile.erase(parts.database, _person(caller))
    return json_response({"status": "accepted"}, 202)


@router.get("/people/{person_id}")
async def profile_of(person_id: UUID, parts: Here, _: Gateway) -> Response:
    return json_response(await queries.profile(parts.database, person_id))


@router.post("/people/lookup")
async def look_up_authors(body: Ids, parts: Here, _: Reader) -> Response:
    return json_response({"items": await queries.authors(parts.database, body.ids)})


@router.post("/contacts/lookup")
async def look_up_contacts(body: Ids, parts: Here, _: Notify) -> Response:
    return json_response({"items": await queries.contacts(parts.database, body.ids)})


@router.get("/changes")
async def changes(parts: Here, _: Gateway, since: Annotated[Since | None, Query()] = None) -> Response:
    return json_response(await queries.changes(parts.database, since))


@router.post("/grants")
async def grant_role(body: GrantRole, parts: Here, _: Operator) -> Response:
    person = await operator.grant_role(parts.database, _address(body.email), body.role)
    return json_response({"id": str(person.id), "roles": list(person.roles)})


@router.post("/import/people")
async def import_person(body: ImportPerson, parts: Here, _: Operator) -> Response:
    person_id, created = await operator.import_person(parts.database, body)
    return json_response({"id": str(person_id), "created": created}, 201 if created else 200)


@router.post("/republish")
async def republish(body: Republish, parts: Here, _: Operator) -> Response:
    return json_response({"count": await operator.republish(parts.database, body.since)})
