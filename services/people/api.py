"""The internal HTTP API of people: one route, one command or query."""

from collections.abc import Collection
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query
from pydantic import AfterValidator, AwareDatetime
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.database.pool import Database
from services.chassis.errors import invalid
from services.chassis.http.app import create_internal_api
from services.chassis.http.cursors import Limit
from services.chassis.http.monitoring import Ready
from services.chassis.http.requests import idempotency_key
from services.chassis.http.routes import StrictRoute, allow, json_response
from services.chassis.identity import Caller, Signer, Verifier
from services.chassis.mail.addresses import Address, parse_address
from services.chassis.messaging import outbox
from services.contracts.people import (
    ACCESS_TOKEN_LIFE,
    LONGEST_USER_AGENT,
    REQUESTER,
    USER_AGENT,
    EditMe,
    EndOtherSessions,
    EndSessions,
    FetchSession,
    GrantRole,
    ImportPerson,
    LinkReference,
    ListPeople,
    RefreshSession,
    Register,
    RevokeRole,
    SessionReference,
    ShowPerson,
    SignIn,
    StartSession,
    StartSessionByCode,
)
from services.contracts.services import LookUp
from services.people import operator_queries, queries
from services.people.avatar_api import add_avatar_routes
from services.people.commands import operator, profile, sessions, sign_in, starting
from services.people.commands.sessions import Started
from services.people.commands.starting import SignInRules
from services.people.commands.stating import stating
from services.people.domain import Asked, Browser, FrontEnd, HandedOver

Gateway = Annotated[Caller, allow("gateway")]
Notify = Annotated[Caller, allow("notify")]
GatewayOrNotify = Annotated[Caller, allow("gateway", "notify")]
GatewayOrOperator = Annotated[Caller, allow("gateway", "operator")]
Operator = Annotated[Caller, allow("operator")]

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_REQUESTER = 64


def _usable(moment: datetime) -> datetime:
    """Return the moment in UTC, bounded so that a time span can be subtracted from it."""
    try:
        return max(moment.astimezone(UTC), EARLIEST)
    except OverflowError:
        raise ValueError("must be a time between the years 1 and 9999") from None


Since = Annotated[AwareDatetime, AfterValidator(_usable)]


def create_api(db: Database, signer: Signer, rules: SignInRules, *, verifier: Verifier, ready: Ready) -> FastAPI:
    """Return the internal API of people over one database.

    Args:
        signer: signs the access tokens of people.
    """
    router = APIRouter(route_class=StrictRoute)
    add_avatar_routes(router, db)
    admins = rules.admins

    @router.post("/people", status_code=202)
    async def register(request: Request, body: Register, caller: GatewayOrOperator) -> Response:
        return _check_your_mail(await sign_in.request_mail(db, asked(request, body, body.name)))

    @router.post("/sign-in", status_code=202)
    async def request_mail(request: Request, body: SignIn, caller: Gateway) -> Response:
        return _check_your_mail(await sign_in.request_mail(db, asked(request, body, None)))

    def asked(request: Request, body: Register | SignIn, name: str | None) -> Asked:
        front_end = _front_end(body, rules.return_urls)
        return Asked(_address(body.email), name, front_end, _form(request), _requester(request))

    @router.post("/sign-in/lookup")
    async def look_up_link(body: LinkReference, caller: Gateway) -> Response:
        return json_response({"return_to": await queries.return_address(db, body.token, rules.return_urls)})

    @router.post("/sessions", status_code=201)
    async def start_session(request: Request, body: StartSession, caller: Gateway) -> Response:
        return _started(
            signer, await starting.start_session(db, rules, body.token, _browser(body), _user_agent(request))
        )

    @router.post("/sessions/by-code", status_code=201)
    async def start_session_by_code(request: Request, body: StartSessionByCode, caller: Gateway) -> Response:
        browser = _browser(body)
        started = await starting.start_session_by_code(
            db, rules, body.request, body.code, browser, _user_agent(request)
        )
        return _started(signer, started)

    @router.post("/sessions/fetch", status_code=201)
    async def fetch_session(request: Request, body: FetchSession, caller: Gateway) -> Response:
        return _started(signer, await starting.fetch_session(db, body.code, body.verifier, _user_agent(request)))

    @router.post("/sessions/refresh")
    async def refresh_session(request: Request, body: RefreshSession, caller: Gateway) -> Response:
        idempotency_key(request, caller)  # checks the form only: here the key does not mean a replay
        key = request.headers.get("idempotency-key")
        return json_response(_token_pair(signer, await sessions.refresh_session(db, body.refresh_token, key)))

    @router.delete("/sessions/current", status_code=204)
    async def end_session(body: SessionReference, caller: Gateway) -> Response:
        await sessions.end_session(db, caller.require_person(), body.session_id)
        return Response(status_code=204)

    @router.post("/sessions/check")
    async def check_session(body: SessionReference, caller: Gateway) -> Response:
        session, is_marked = await queries.session_of_cookie(db, body.session_id)
        if not is_marked:
            await sessions.mark_used(db, UUID(session["sid"]))
        return json_response(session)

    @router.get("/me/sessions")
    async def open_sessions(caller: Gateway, cursor: str | None = None, limit: Limit = 50) -> Response:
        return json_response(await queries.open_sessions(db, caller.require_person(), cursor, limit))

    @router.delete("/me/sessions/{session_id}", status_code=204)
    async def end_listed(session_id: UUID, caller: Gateway) -> Response:
        await sessions.end_listed(db, caller.require_person(), session_id)
        return Response(status_code=204)

    @router.delete("/me/sessions")
    async def end_others(body: EndOtherSessions, caller: Gateway) -> Response:
        ended = await sessions.end_others(db, caller.require_person(), body.but)
        return json_response({"ended": [str(one) for one in ended]})

    @router.get("/me")
    async def own_profile(caller: Gateway) -> Response:
        return json_response(await queries.own_profile(db, caller.require_person()))

    @router.patch("/me")
    async def edit(request: Request, body: EditMe, caller: Gateway) -> Response:
        key = idempotency_key(request, caller)
        person, replayed = await profile.edit(db, caller.require_person(), body, key)
        return json_response(queries.me(person), headers={"Idempotency-Replayed": "true"} if replayed else None)

    @router.delete("/me", status_code=202)
    async def erase(caller: Gateway) -> Response:
        await profile.erase(db, caller.require_person())
        return json_response({"status": "accepted"}, 202)

    @router.get("/people/{person_id}")
    async def profile_of(person_id: UUID, caller: Gateway) -> Response:
        return json_response(await queries.profile(db, person_id))

    @router.post("/people/lookup")
    async def look_up_authors(body: LookUp, caller: GatewayOrNotify) -> Response:
        return json_response({"items": await queries.authors(db, body.ids)})

    @router.post("/contacts/lookup")
    async def look_up_contacts(body: LookUp, caller: Notify) -> Response:
        return json_response({"items": await queries.contacts(db, body.ids)})

    @router.get("/moderators")
    async def moderators(caller: Notify) -> Response:
        return json_response({"ids": await queries.moderators(db)})

    @router.get("/changes")
    async def changes(caller: Gateway, since: Annotated[Since | None, Query()] = None) -> Response:
        return json_response(await queries.changes(db, since))

    @router.post("/grants")
    async def grant_role(body: GrantRole, caller: Operator) -> Response:
        change = await operator.grant_role(db, _address(body.email), body.role, admins, dry_run=body.dry_run)
        return json_response(change.as_json())

    @router.post("/grants/revoke")
    async def revoke_role(body: RevokeRole, caller: Operator) -> Response:
        change = await operator.revoke_role(db, _address(body.email), body.role, admins, dry_run=body.dry_run)
        return json_response(change.as_json())

    @router.post("/people/list")
    async def list_people(body: ListPeople, _: Operator) -> Response:
        return json_response(await operator_queries.page(db, body))

    @router.post("/people/show")
    async def show_person(body: ShowPerson, _: Operator) -> Response:
        return json_response(await operator_queries.one(db, _id_or_address(body.person)))

    @router.post("/sessions/end")
    async def end_sessions(body: EndSessions, caller: Operator) -> Response:
        who = _id_or_address(body.person)
        ended = await operator.end_sessions(db, who, body.session_id, dry_run=body.dry_run)
        return json_response(ended.as_json())

    @router.post("/import/people")
    async def import_person(body: ImportPerson, caller: Operator) -> Response:
        person_id, created = await operator.import_person(db, body)
        return json_response({"id": str(person_id), "created": created}, 201 if created else 200)

    return create_internal_api(
        "people", router, verifier=verifier, ready=ready, republish=partial(outbox.republish, db), owner=stating(db)
    )


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise invalid("email", str(error)) from None


def _front_end(body: Register | SignIn, return_urls: Collection[str]) -> FrontEnd | None:
    if body.return_to is None:
        if body.challenge is not None:
            raise invalid("return_to", "is required beside a challenge")
        return None
    if body.return_to not in return_urls:
        raise invalid("return_to", "is not one of the addresses to which this site leads back")
    if body.challenge is None:
        raise invalid("challenge", "is required beside return_to")
    return FrontEnd(body.return_to, body.challenge)


def _form(request: Request) -> str | None:
    return request.headers.get("idempotency-key")  # the gateway sends it for its own pages alone


def _check_your_mail(public_id: str) -> Response:
    return json_response({"status": "check_your_mail", "request": public_id}, 202)


def _browser(body: StartSession | StartSessionByCode) -> Browser | None:
    return Browser(body.nonce, body.replaces) if body.cookie else None


def _started(signer: Signer, started: Started | HandedOver) -> Response:
    """Answer with a cookie's session id, tokens, or the address and code of a front end elsewhere."""
    if isinstance(started, HandedOver):
        return json_response({"return_to": started.return_to, "code": started.code}, 201)
    if not started.by_cookie:
        return json_response(_token_pair(signer, started), 201)
    ended = None if started.ended is None else str(started.ended)
    return json_response({"session_id": started.secret, "person": queries.me(started.person), "ended": ended}, 201)


def _user_agent(request: Request) -> str | None:
    return request.headers.get(USER_AGENT, "")[:LONGEST_USER_AGENT] or None


def _requester(request: Request) -> str:
    return request.headers.get(REQUESTER, "")[:LONGEST_REQUESTER]


def _token_pair(signer: Signer, started: Started) -> dict[str, Any]:
    life = int(ACCESS_TOKEN_LIFE.total_seconds())
    token = signer.token("rapport", started.person.id, started.person.roles, life, started.session_id)
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": life,
        "refresh_token": started.secret,
        "person": queries.me(started.person),
    }


def _id_or_address(text: str) -> UUID | Address:
    try:
        return UUID(text)
    except ValueError:
        return _address(text)
