"""Take a comment from its form; whatever refuses it, the form comes back with its text."""

import time
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, invalid
from services.chassis.http.problems import of_exception
from services.chassis.http.routes import body_limit
from services.gateway.composition import comment_views, post_views
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import OptionalViewer, SignedIn, context_of
from services.gateway.languages import N_
from services.gateway.pages import cookies, drafts
from services.gateway.pages.comment_form import CommentForm
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back
from services.gateway.pages.openers import require_opener
from services.gateway.pages.post import show
from services.gateway.pages.previewing import previewed
from services.gateway.pages.refusals import DRAFT_OF_NOBODY, Refusal
from services.gateway.pages.render import PageRoute, page, post_path, redirect
from services.gateway.responses import invalidation

router = APIRouter(route_class=PageRoute, include_in_schema=False)

PAGE_SECONDS = 1.0  # for the page that shows a refused form, when the time of the request is used up


async def again(request: Request, fields: Fields, refusal: Refusal) -> Response:
    """Show the form anew: in its discussion, or by itself when nobody may be asked for that."""
    form = CommentForm.sent(request, request.path_params["ref"], fields).refused(refusal)
    context = context_of(request)
    if context is not None:
        context.deadline = max(context.deadline, time.monotonic()) + PAGE_SECONDS
        try:
            return await show(request, context, form)
        except Exception as error:
            of_exception(error)  # logs it
    return by_itself(request, form)


@router.post("/posts/{ref}/comments")
@body_limit(READ_BYTES)
@gives_back(again)
async def comment(request: Request, context: SignedIn, ref: str) -> Response:
    """Create the comment."""
    sent = await fields(request)
    form = CommentForm.sent(request, ref, sent)
    await require_opener(context, form.opened_by)
    if not form.post_id:
        raise Problem("invalid", N_("The form does not say which post it belongs to. Press the button again."))
    if sent.get("parent_id") and form.parent_id is None:
        raise invalid("parent_id", N_("is unknown. Press the button to comment on the post instead"))
    if "preview" in sent:
        return await show(request, context, replace(form, preview=await previewed(request, context, form.text)))
    written = await _create(request, context, form)
    path = post_path(await _ref_of(context, written["post_id"], ref))
    query = f"{form.list_place}&" if form.list_place else ""
    done = redirect(f"{path}?{query}said={written['id']}#c-{written['id']}")
    done.headers.append("Set-Cookie", cookies.draft(gateway_of(request).settings, ""))
    return done


@router.get(cookies.DRAFT_PATH)
async def draft(request: Request, context: OptionalViewer) -> Response:
    """Show the text that somebody could not send without signing in; to somebody else, with both said."""
    form = drafts.kept(request)
    if form is None:
        return redirect("/")
    form = replace(form, is_kept=True)
    if context.viewer.person_id is None:
        return by_itself(request, form.refused(Refusal.of(Problem("sign-in-required"))))
    try:
        await _require_author(context, form)
    except Problem as problem:
        form = form.refused(Refusal.of(problem))
    try:
        return await show(request, context, form)
    except Problem as problem:
        return by_itself(request, form if form.refusal else form.refused(Refusal.of(problem)))


async def _require_author(context: RequestContext, form: CommentForm) -> None:
    """Refuse a kept text of somebody else; one that names nobody may come from a neighbouring host.

    Raises:
        Problem: `wrong-state`.
    """
    if form.opened_by is None:
        raise Problem("wrong-state", DRAFT_OF_NOBODY)
    await require_opener(context, form.opened_by)


def by_itself(request: Request, form: CommentForm) -> Response:
    """Return a page with nothing but a refused form, for which no service is asked."""
    settings, refusal = gateway_of(request).settings, form.refusal
    assert refusal is not None
    kept = drafts.kept_by(form, settings) if refusal.wants_sign_in else []
    answer = page(
        "comment.html",
        status=refusal.status,
        headers=refusal.headers,
        form=form,
        returns=len(kept) > 1,
        origin=settings.origin,
    )
    for cookie in kept:
        answer.headers.append("Set-Cookie", cookie)
    return answer


async def _ref_of(context: RequestContext, post_id: str, ref: str) -> str:
    """Return a reference to the post that a comment is under: that of its form, unless it means another post."""
    if post_views.probable_id(context, ref) == post_id:
        return ref
    try:
        return str((await post_views.fetch(context, post_id))["slug"])
    except Problem:  # the comment is written: where it is shown must not be a reason to send it again
        return post_id


async def _create(request: Request, context: RequestContext, form: CommentForm) -> Json:
    path = comment_views.path_under(form.post_id)
    body: Json = {"body": form.text} | ({"parent_id": form.parent_id} if form.parent_id else {})
    headers = {"Idempotency-Key": form.key} if form.key else {}

    async def ask() -> Any:
        return await context.upstreams.comments.send(
            "POST", path, context.viewer.caller, context.deadline, body=body, headers=headers
        )

    answer = await comment_views.retry_while_post_unknown(context, form.post_id, ask)
    raw: Json = answer.json()
    invalidation(request).comment(raw["post_id"], raw["author_id"], may_wait=raw["state"] != "visible")
    return raw
