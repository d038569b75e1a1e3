"""HTTP to command or query."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from services.chassis.database.pool import Database
from services.chassis.errors import invalid, not_found
from services.chassis.http.app import create_internal_api
from services.chassis.http.cursors import Limit
from services.chassis.http.monitoring import Ready
from services.chassis.http.partition_routes import PartitionOperator
from services.chassis.http.requests import idempotency_key
from services.chassis.http.routes import StrictRoute, allow, command_response, json_response
from services.chassis.identity import Caller, Verifier
from services.chassis.messaging import outbox
from services.contracts.ids import Id
from services.contracts.notify import (
    ChooseMail,
    EditMailSettings,
    MailChoice,
    MarkRead,
    ModerationMail,
    PauseMail,
    ResumeMail,
)
from services.contracts.people import is_moderator
from services.notify import choices, exporting, feeds, pausing, queries
from services.notify.tokens import Tokens
from services.notify.upstreams import Upstreams

Gateway = Annotated[Caller, allow("gateway")]
Operator = Annotated[Caller, allow("operator")]


def create_api(
    db: Database,
    upstreams: Upstreams,
    tokens: Tokens,
    *,
    verifier: Verifier,
    ready: Ready,
    consumer: PartitionOperator | None = None,
) -> FastAPI:
    """Return the internal API of notify over one database."""
    router = APIRouter(route_class=StrictRoute)

    @router.get("/me/notifications")
    async def notifications(caller: Gateway, cursor: str | None = None, limit: Limit = 50) -> Response:
        return json_response(await queries.notifications(db, caller.require_person(), cursor, limit))

    @router.get("/me/notifications/explain")
    async def explain(caller: Gateway, comment: Id) -> Response:
        person_id = caller.require_person()
        explanation = await queries.explanation(db, person_id, comment, moderates=is_moderator(caller.roles))
        if explanation is None:
            found = await upstreams.comment(comment)
            if found is None:
                raise not_found()
            explanation = queries.explanation_before_event(found, person_id)
        return json_response(explanation)

    @router.get("/me/mail")
    async def mail_settings(caller: Gateway) -> Response:
        return json_response(await queries.mail_settings(db, caller.require_person()))

    @router.patch("/me/mail")
    async def edit_mail_settings(request: Request, caller: Gateway, body: EditMailSettings) -> Response:
        key = idempotency_key(request, caller)
        return command_response(await choices.edit_mail_settings(db, caller.require_person(), body, key))

    @router.patch("/me/notifications")
    async def mark_read(request: Request, caller: Gateway, body: MarkRead) -> Response:
        key = idempotency_key(request, caller)
        return command_response(await choices.mark_read(db, caller.require_person(), body.read_until, key))

    @router.get("/me/attention")
    async def attention(caller: Gateway, post: Id | None = None) -> Response:
        return json_response(await queries.attention(db, caller.require_person(), post))

    @router.get("/me/export/follows")
    async def export_follows(caller: Gateway, cursor: str | None = None) -> Response:
        return json_response(await exporting.export_follows(db, caller.require_person(), cursor))

    @router.put("/me/follows/{post_id}")
    async def follow(request: Request, caller: Gateway, post_id: UUID) -> Response:
        key = idempotency_key(request, caller)
        return command_response(await choices.set_follows(db, caller.require_person(), post_id, True, key))

    @router.delete("/me/follows/{post_id}")
    async def unfollow(request: Request, caller: Gateway, post_id: UUID) -> Response:
        key = idempotency_key(request, caller)
        return command_response(await choices.set_follows(db, caller.require_person(), post_id, False, key))

    @router.post("/me/feed")
    async def make_feed(request: Request, caller: Gateway) -> Response:
        key = idempotency_key(request, caller)
        return command_response(await feeds.make_feed(db, caller.require_person(), tokens.feed, key))

    @router.delete("/me/feed", status_code=204)
    async def end_feed(caller: Gateway) -> Response:
        await feeds.end_feed(db, caller.require_person())
        return Response(status_code=204)

    @router.get("/feeds/{token}")
    async def answers(caller: Gateway, token: str) -> Response:
        return json_response(await feeds.answers(db, token))

    @router.get("/unsubscribe/{token}")
    async def mail_settings_of_token(caller: Gateway, token: str) -> Response:
        moderator = tokens.moderator(token)
        settings = await queries.mail_settings(db, moderator or _person_of(token))
        return json_response(settings | {"about": "comments" if moderator is None else "moderation"})

    @router.post("/unsubscribe/{token}")
    async def unsubscribe(caller: Gateway, token: str) -> Response:
        moderator = tokens.moderator(token)
        return json_response(await chosen(token, "none" if moderator is None else "off"))

    @router.post("/mail-choices/{token}")
    async def choose_mail(caller: Gateway, token: str, body: ChooseMail) -> Response:
        return json_response(await chosen(token, body.choice))

    async def chosen(token: str, choice: MailChoice | ModerationMail) -> dict[str, Any]:
        """Choose what the mail of this token was about, and nothing else; `before` says how it was."""
        moderator = tokens.moderator(token)
        person_id = moderator or _person_of(token)
        before = await queries.mail_settings(db, person_id)
        match choice:
            case "off" | "hourly" | "daily" if moderator is not None:
                settings = await choices.choose_moderation_mail(db, person_id, choice)
            case "all" | "replies" | "none" if moderator is None:
                settings = await choices.choose_mail(db, person_id, choice)
            case _:
                raise invalid("choice", "is not one that the mail of this link offers")
        about = "comments" if moderator is None else "moderation"
        return choices.as_json(settings) | {"about": about, "before": before}

    def _person_of(token: str) -> UUID:
        person_id = tokens.person(token)
        if person_id is None:
            raise not_found()
        return person_id

    @router.get("/people/{person_id}/mail")
    async def mail_settings_of_person(person_id: Id, _: Operator) -> Response:
        return json_response(await queries.mail_settings(db, person_id))

    @router.get("/mail")
    async def mail_state(_: Operator) -> Response:
        return json_response((await queries.mail_state(db)).as_json())

    @router.post("/mail/pause")
    async def pause_mail(body: PauseMail, _: Operator) -> Response:
        return json_response((await pausing.pause(db, body.why)).as_json())

    @router.post("/mail/resume")
    async def resume_mail(body: ResumeMail, _: Operator) -> Response:
        return json_response((await pausing.resume(db, dry_run=body.dry_run)).as_json())

    return create_internal_api(
        "notify",
        router,
        verifier=verifier,
        ready=ready,
        republish=partial(outbox.republish, db),
        consumer=consumer,
        known=partial(queries.known_comments, db),
    )
