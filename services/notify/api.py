"""HTTP to command or query of notify; nothing else."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query
from pydantic import AwareDatetime
from starlette.responses import Response

from services.chassis.database.pool import Database
from services.chassis.errors import Problem, not_found
from services.chassis.http.app import create_app
from services.chassis.http.monitoring import Ready
from services.chassis.http.routes import StrictRoute, allow, json_response
from services.chassis.identity import Caller, Verifier
from services.chassis.messaging import outbox
from services.contracts.notify import EditMail
from services.contracts.text import Body
from services.notify import commands, queries
from services.notify.tokens import Tokens
from services.notify.upstreams import Upstreams

Gateway = Annotated[Caller, allow("gateway")]
Operator = Annotated[Caller, allow("operator")]


class Republish(Body):
    """Command of an operator: send every event again that was published since then."""

    since: AwareDatetime


def _person(caller: Caller) -> UUID:
    if caller.person_id is None:
        raise Problem("sign-in-required")
    return caller.person_id


def build(database: Database, owners: Upstreams, tokens: Tokens, verifier: Verifier, ready: Ready) -> FastAPI:
    """The app of notify."""
    router = APIRouter(route_class=StrictRoute)

    @router.get("/me/notifications")
    async def notifications(
        caller: Gateway, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> Response:
        return json_response(await queries.notifications(database, _person(caller), cursor, limit))

    @router.get("/me/notifications/explain")
    async def explain(caller: Gateway, comment: UUID) -> Response:
        person_id = _person(caller)
        explanation = await queries.explanation(database, person_id, comment)
        if explanation is None:
            ahead = await owners.comment(comment)
            if ahead is None:
                raise not_found()
            explanation = queries.explanation_ahead(ahead, person_id)
        return json_response(explanation)

    @router.get("/me/mail")
    async def mail_choice(caller: Gateway) -> Response:
        return json_response(await queries.mail_choice(database, _person(caller)))

    @router.patch("/me/mail")
    async def choose_mail(caller: Gateway, body: EditMail) -> Response:
        person_id = _person(caller)
        await commands.choose_mail(database, person_id, body.notifications)
        return json_response({"notifications": body.notifications})

    @router.get("/unsubscribe/{token}")
    async def look(caller: Gateway, token: str) -> Response:
        return json_response(await queries.mail_choice(database, _owner(token)))

    @router.post("/unsubscribe/{token}")
    async def unsubscribe(caller: Gateway, token: str) -> Response:
        await commands.choose_mail(database, _owner(token), False)
        return json_response({"notifications": False})

    def _owner(token: str) -> UUID:
        person_id = tokens.person(token)
        if person_id is None:
            raise not_found()
        return person_id

    @router.post("/republish")
    async def republish(caller: Operator, body: Republish) -> Response:
        return json_response({"count": await outbox.republish(database, body.since)})

    app = create_app("notify", verifier=verifier, ready=ready)
    app.include_router(router)
    return app
