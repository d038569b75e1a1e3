"""What the viewer is told: notifications, why a mail went or did not, and which mail they get."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, invalid
from services.chassis.http.routes import body_limit
from services.contracts.ids import id_or_none
from services.contracts.people import is_moderator
from services.gateway.composition import my_notifications
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.guards import SignedIn, context_of
from services.gateway.languages import N_, gettext
from services.gateway.pages.forms import READ_BYTES, Fields, gives_back
from services.gateway.pages.openers import opened_fields
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page, redirect, refused_page, viewer_author
from services.gateway.responses import invalidation

router = APIRouter(route_class=PageRoute, include_in_schema=False)

MODERATION = ("hourly", "daily", "off")


@router.get("/me/notifications")
async def notifications(request: Request, context: SignedIn) -> Response:
    listed = await my_notifications.listed(context, request.query_params.get("cursor"))
    return page(
        "notifications.html",
        viewer=await viewer_author(context),
        items=listed["items"],
        next=listed["next"],
        unread=listed["unread"],
        is_later="cursor" in request.query_params,
    )


async def notifications_again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Say why nothing was marked."""
    return refused_page(refusal, "/me/notifications")


@router.post("/me/notifications")
@body_limit(READ_BYTES)
@gives_back(notifications_again)
async def mark_read(request: Request, context: SignedIn) -> Response:
    form = await opened_fields(request, context)
    body = {"read_until": form.get("read_until", "")}
    await context.upstreams.notify.send(
        "PATCH", "/me/notifications", context.viewer.caller, context.deadline, body=body
    )
    invalidation(request).reading(str(context.viewer.person_id))
    return redirect("/me/notifications")


@router.get("/me/notifications/{comment_id}")
async def explained(request: Request, context: SignedIn, comment_id: str) -> Response:
    """Say in words why the viewer got, or did not get, a mail about a comment."""
    found = id_or_none(comment_id)
    if found is None:
        raise Problem("not-found")
    explanation = await my_notifications.explained(context, found)
    return page("explanation.html", viewer=await viewer_author(context), explanation=explanation)


@router.get("/me/mail")
async def mail(request: Request, context: SignedIn) -> Response:
    settings = await context.upstreams.notify.get("/me/mail", context.viewer.caller, context.deadline)
    return await _mail(
        context, settings, said=gettext("Stored.") if request.query_params.get("done") == "mail" else None
    )


async def mail_again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the choices anew as they were made; by themselves where it is not known whose they are."""
    context, moderation = context_of(request), form.get("moderation")
    settings = {
        "notifications": form.get("choice") != "none",
        "scope": form.get("choice"),
        "moderation": moderation,
    }
    if context is not None and context.viewer.person_id is not None:
        return await _mail(context, settings, refusal=refusal)
    return _mail_page(
        settings, None, moderates=moderation is not None, opened_by=form.get("for"), said=None, refusal=refusal
    )


@router.post("/me/mail")
@body_limit(READ_BYTES)
@gives_back(mail_again)
async def choose_mail(request: Request, context: SignedIn) -> Response:
    form = await opened_fields(request, context)
    choice, moderation = form.get("choice", ""), form.get("moderation")
    if choice not in ("all", "replies", "none") or moderation not in (None, *MODERATION):
        raise invalid("", N_("Choose one of what is offered."))
    body: dict[str, Any] = {"notifications": choice != "none"}
    body |= {"scope": choice} if choice != "none" else {}
    body |= {"moderation": moderation} if moderation else {}
    await context.upstreams.notify.send("PATCH", "/me/mail", context.viewer.caller, context.deadline, body=body)
    return redirect("/me/mail?done=mail")


async def _mail(
    context: RequestContext, settings: dict[str, Any], *, said: str | None = None, refusal: Refusal | None = None
) -> Response:
    return _mail_page(
        settings,
        await viewer_author(context),
        moderates=is_moderator(context.viewer.caller.roles),
        opened_by=str(context.viewer.person_id),
        said=said,
        refusal=refusal,
    )


def _mail_page(
    settings: dict[str, Any],
    viewer: Json | None,
    *,
    moderates: bool,
    opened_by: str | None,
    said: str | None,
    refusal: Refusal | None,
) -> Response:
    return page(
        "my_mail.html",
        status=refusal.status if refusal else 200,
        headers=refusal.headers if refusal else None,
        viewer=viewer,
        choice=settings["scope"] if settings["notifications"] else "none",
        moderation=settings["moderation"],
        moderates=moderates,
        opened_by=opened_by,
        said=said,
        refusal=refusal,
    )
