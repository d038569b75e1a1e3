"""The moderators' queue: what waits for approval, with what it answers; one or several are decided at once."""

from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, invalid
from services.chassis.http.routes import body_limit
from services.contracts.ids import id_or_none
from services.contracts.people import is_moderator
from services.gateway.composition import queue
from services.gateway.composition.request_context import RequestContext
from services.gateway.guards import SignedIn, context_of
from services.gateway.languages import N_
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back
from services.gateway.pages.openers import require_opener
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page, problem_page, redirect, viewer_author
from services.gateway.responses import invalidation

router = APIRouter(route_class=PageRoute, include_in_schema=False)

STEPS = {"approve": "approved", "reject": "rejected"}
CHOSEN = "comment-"  # and the id: a field for each comment that is ticked


@router.get("/moderate")
async def waiting(request: Request, context: SignedIn) -> Response:
    _require_moderator(context)
    return await _queue(request, context)


async def again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the queue anew, with the same comments ticked."""
    context = context_of(request)
    if context is None or not is_moderator(context.viewer.caller.roles):
        return problem_page(Problem("forbidden" if context is not None else "sign-in-required"), "/sign-in")
    return await _queue(request, context, chosen=_chosen(form), refusal=refusal)


@router.post("/moderate")
@body_limit(READ_BYTES)
@gives_back(again)
async def decide(request: Request, context: SignedIn) -> Response:
    """Take a step with each comment that is ticked, or with the one whose button was pressed."""
    _require_moderator(context)
    form = await fields(request)
    await require_opener(context, form.get("for"))
    step, _, one = form.get("step", "").partition(" ")
    ids = [UUID(one)] if id_or_none(one) else _chosen(form)
    if step not in STEPS:
        raise invalid("", N_("Press one of the buttons of this page."))
    if not ids:
        raise invalid("", N_("Tick the comments first that this is about."))
    decided = await queue.decide(context, step, ids)
    for comment in decided.done:
        invalidation(request).comment(comment["post_id"], comment["author_id"])
    if decided.problem is not None:
        raise decided.problem
    return redirect(f"/moderate?{STEPS[step]}={len(decided.done)}")


async def _queue(
    request: Request, context: RequestContext, *, chosen: list[UUID] | None = None, refusal: Refusal | None = None
) -> Response:
    listed = await queue.waiting(context, request.query_params.get("cursor"))
    counts = {name: request.query_params.get(name, "") for name in STEPS.values()}
    return page(
        "moderate.html",
        status=refusal.status if refusal else 200,
        headers=refusal.headers if refusal else None,
        viewer=await viewer_author(context),
        items=listed["items"],
        next=listed["next"],
        is_later="cursor" in request.query_params,
        chosen={str(one) for one in chosen or ()},
        done={name: int(count) for name, count in counts.items() if count.isascii() and count.isdigit()},
        refusal=refusal,
    )


def _chosen(form: Fields) -> list[UUID]:
    ids = (id_or_none(name.removeprefix(CHOSEN)) for name in form if name.startswith(CHOSEN))
    return [UUID(one) for one in ids if one]


def _require_moderator(context: RequestContext) -> None:
    if not is_moderator(context.viewer.caller.roles):
        raise Problem("forbidden", N_("This page is for moderators."))
