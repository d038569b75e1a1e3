"""Pages of the viewer alone: account, comments, and all that is kept of them."""

from typing import Any
from uuid import uuid4

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, invalid
from services.chassis.http.problems import of_exception
from services.chassis.http.routes import body_limit
from services.contracts.ids import id_or_none
from services.gateway.composition import export, my_comments
from services.gateway.composition.request_context import RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import Exporting, SignedIn, context_of
from services.gateway.languages import N_, said
from services.gateway.pages.forms import READ_BYTES, Fields, gives_back
from services.gateway.pages.openers import opened_fields
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page, redirect, refused_page, viewer_author
from services.gateway.responses import ExportResponse, invalidation
from services.gateway.sessions import forget_session

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SAVED = {
    "name": N_("Stored. It shows everywhere within a minute."),
    "picture": N_("Stored. Others see it within a minute."),
    "feed": N_("The feed has ended; its address leads nowhere any more."),
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
    form = await opened_fields(request, context)
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
    form = await opened_fields(request, context)
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
    await opened_fields(request, context)
    await context.upstreams.notify.send("DELETE", "/me/feed", context.viewer.caller, context.deadline)
    return redirect("/me?done=feed")


@router.post("/me/delete")
@body_limit(READ_BYTES)
@gives_back(account_again)
async def erase(request: Request, context: SignedIn) -> Response:
    """Delete the account; whoever asks for it has to say so twice."""
    form = await opened_fields(request, context)
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
