"""Pages of the viewer alone: account, comments, notifications, which mail they get, and all that is kept of them."""

from typing import Any
from uuid import uuid4

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, invalid
from services.chassis.http.problems import of_exception
from services.chassis.http.routes import body_limit
from services.contracts.ids import id_or_none
from services.contracts.people import is_moderator
from services.gateway.composition import export, my_comments, my_notifications
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import Exporting, SignedIn, context_of
from services.gateway.languages import N_, said
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back
from services.gateway.pages.openers import require_opener
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page, redirect, refused_page, viewer_author
from services.gateway.responses import ExportResponse, invalidation
from services.gateway.sessions import forget_session

router = APIRouter(route_class=PageRoute, include_in_schema=False)

MODERATION = ("hourly", "daily", "off")
SAVED = {
    "name": N_("Stored. It shows everywhere within a minute."),
    "picture": N_("Stored. Others see it within a minute."),
    "feed": N_("The feed has ended; its address leads nowhere any more."),
    "mail": N_("Stored."),
}


@router.get("/me")
async def account(request: Request, context: SignedIn) -> Response:
    return await _account(request, context, done=request.query_params.get("done"))


async def account_again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the account anew with what was typed; that alone where the account cannot be asked for."""
    context, name, about = context_of(request), form.get("name"), form.get("about")
    if context is not None and context.viewer.person_id is not None:
        try:
            return await _account(request, context, name=name, about=about, refusal=refusal)
        except Problem as problem:
            of_exception(problem)  # logs it
    if request.scope["path"] != "/me/name" or name is None:
        return refused_page(refusal, "/me")
    return page("account_name.html", status=refusal.status, headers=refusal.headers, refusal=refusal, name=name,
                about=about or "", opened_by=form.get("for"))  # fmt: skip


async def _account(
    request: Request,
    context: RequestContext,
    *,
    name: str | None = None,
    about: str | None = None,
    feed: str | None = None,
    done: str | None = None,
    refusal: Refusal | None = None,
) -> Response:
    me = await context.upstreams.people.get("/me", context.viewer.caller, context.deadline)
    return page(
        "account.html",
        status=refusal.status if refusal else 200,
        headers=refusal.headers if refusal else None,
        viewer=await viewer_author(context),
        me=me,
        name=me["name"] if name is None else name,
        about=(me.get("about") or "") if about is None else about,
        feed=feed,
        said=said(SAVED, done),
        key=uuid4(),
        refusal=refusal,
        action=request.scope["path"],
    )


@router.post("/me/name")
@body_limit(READ_BYTES)
@gives_back(account_again)
async def rename(request: Request, context: SignedIn) -> Response:
    form = await _sent(request, context)
    body: dict[str, Any] = {"name": form.get("name", "")}
    if "about" in form:
        body["about"] = form["about"] if form["about"].strip() else None
    await context.upstreams.people.send("PATCH", "/me", context.viewer.caller, context.deadline, body=body)
    invalidation(request).person(str(context.viewer.person_id))
    forget_session(request)
    return redirect("/me?done=name")


@router.post("/me/feed")
@body_limit(READ_BYTES)
@gives_back(account_again)
async def make_feed(request: Request, context: SignedIn) -> Response:
    """Show the secret address of a new feed of answers, this once."""
    form = await _sent(request, context)
    key = id_or_none(form.get("key"))
    headers = {"Idempotency-Key": key} if key else {}
    answer = await context.upstreams.notify.send(
        "POST", "/me/feed", context.viewer.caller, context.deadline, headers=headers
    )
    url = f"{context.public_url.rstrip('/')}/feeds/{answer.json()['token']}.atom"
    return await _account(request, context, feed=url)


@router.post("/me/feed/end")
@body_limit(READ_BYTES)
@gives_back(account_again)
async def end_feed(request: Request, context: SignedIn) -> Response:
    await _sent(request, context)
    await context.upstreams.notify.send("DELETE", "/me/feed", context.viewer.caller, context.deadline)
    return redirect("/me?done=feed")


@router.post("/me/delete")
@body_limit(READ_BYTES)
@gives_back(account_again)
async def erase(request: Request, context: SignedIn) -> Response:
    """Delete the account; whoever asks for it has to say so twice."""
    form = await _sent(request, context)
    if form.get("sure") != "yes":
        raise invalid("", N_("tick the box first: a deleted account does not come back"))
    await context.upstreams.people.send("DELETE", "/me", context.viewer.caller, context.deadline)
    gateway_of(request).revocations.end(context.viewer.caller.require_person())
    invalidation(request).person(str(context.viewer.person_id))
    forget_session(request)
    return page("account_deleted.html")


@router.get("/me/comments")
async def comments(request: Request, context: SignedIn) -> Response:
    cursor = request.query_params.get("cursor")
    listed = await my_comments.listed(context, cursor)
    return page(
        "my_comments.html",
        viewer=await viewer_author(context),
        items=listed["items"],
        next=listed["next"],
        is_later=bool(cursor),
    )


async def export_again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Say why nothing was put together."""
    return refused_page(refusal, "/me")


@router.get("/me/export")
@gives_back(export_again)
async def export_me(request: Request, context: Exporting) -> Response:
    """Send everything that is kept of the viewer, as a file."""
    return ExportResponse(await export.gather(context, gateway_of(request).exports))


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
    form = await _sent(request, context)
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
    return await _mail(context, settings, said=said(SAVED, request.query_params.get("done")))


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
    form = await _sent(request, context)
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


async def _sent(request: Request, context: RequestContext) -> Fields:
    """Return the fields of a form that was shown to the viewer.

    Raises:
        Problem: what `fields` and `require_opener` raise.
    """
    form = await fields(request)
    await require_opener(context, form.get("for"))
    return form
