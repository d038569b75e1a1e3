"""The moderators' desk: what waits, what was rejected or removed, with what it answers; one or several are decided.

A decision leads back to where it was made, with a button that takes it back.
"""

from collections.abc import Mapping
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, invalid
from services.chassis.http.problems import of_exception
from services.chassis.http.routes import body_limit
from services.contracts.ids import id_or_none
from services.contracts.people import is_moderator
from services.gateway.composition import queue
from services.gateway.composition.queue import LISTS, STEPS, List, Step
from services.gateway.composition.request_context import RequestContext
from services.gateway.guards import SignedIn, context_of
from services.gateway.languages import N_
from services.gateway.pages.came_from import our_page
from services.gateway.pages.decisions import BEFORE_IT, Decision, decision_of, said, said_by
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back
from services.gateway.pages.openers import require_opener
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page, problem_page, redirect, viewer_author
from services.gateway.responses import invalidation

router = APIRouter(route_class=PageRoute, include_in_schema=False)

CHOSEN = "comment-"  # and the id: a field for each comment that is ticked
OFFERED: Mapping[List, tuple[Step, ...]] = {
    "waiting": ("approve", "reject"),
    "rejected": ("restore",),
    "removed": ("restore",),
}
BEFORE: Mapping[Step, str] = {"approve": "held", "hold": "visible", "reject": "held", "restore": "removed"}


@router.get("/moderate")
async def desk(request: Request, context: SignedIn) -> Response:
    _require_moderator(context)
    return await _desk(request, context, request.query_params)


async def again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the list anew, with the same comments ticked; by itself what was chosen, where the list cannot be had."""
    context = context_of(request)
    if context is not None and not is_moderator(context.viewer.caller.roles):
        return problem_page(Problem("forbidden"), "/sign-in")
    if context is not None:
        try:
            return await _desk(request, context, form, chosen=_chosen(form), refusal=refusal)
        except Exception as error:
            of_exception(error)  # logs it
    return _chosen_alone(form, refusal)


@router.post("/moderate")
@body_limit(READ_BYTES)
@gives_back(again)
async def decide(request: Request, context: SignedIn) -> Response:
    """Take a step with each comment that is ticked, or with the one whose button was pressed; or take one back."""
    _require_moderator(context)
    form = await fields(request)
    await require_opener(context, form.get("for"))
    taken_back = decision_of(form.get("undo", ""))
    decision = taken_back or _decision(form)
    if taken_back is not None:
        decided = await queue.take_back(context, decision.step, decision.before, decision.ids)
    else:
        decided = await queue.decide(context, decision.step, decision.ids)
    for comment in decided.done:
        invalidation(request).comment(comment["post_id"], comment["author_id"])
    if decided.problem is not None and not decided.done:
        raise decided.problem
    done = Decision(decision.step, decision.before, tuple(UUID(comment["id"]) for comment in decided.done))
    if decided.problem is not None:
        refusal = Refusal.of(decided.problem)
        return await _desk(request, context, form, chosen=_chosen(form), refusal=refusal, decision=done)
    told = said(request, context, "undone" if taken_back is not None else "decided", done)
    return redirect(_place_in_discussion(form, told, done.ids[0]) or _place_in_list(form, told))


async def _desk(
    request: Request,
    context: RequestContext,
    given: Mapping[str, str],
    *,
    chosen: list[UUID] | None = None,
    refusal: Refusal | None = None,
    decision: Decision | None = None,
) -> Response:
    name, cursor = _list(given), given.get("cursor") or None
    listed = await queue.listed(context, name, cursor)
    ids = [item["id"] for item in listed["items"]]
    wanted = id_or_none(given.get("comment"))
    current = wanted if wanted in ids else next(iter(ids), None)
    return page(
        "moderate.html",
        status=refusal.status if refusal else 200,
        headers=refusal.headers if refusal else None,
        viewer=await viewer_author(context),
        lists=LISTS,
        list=name,
        offered=OFFERED[name],
        items=listed["items"],
        cursor=cursor or "",
        next=listed["next"],
        current=current,
        around=await queue.surroundings(context, current) if current else None,
        chosen={str(one) for one in chosen or ()},
        decision=decision or said_by(request, context, "decided", given),
        undone=said_by(request, context, "undone", given),
        refusal=refusal,
    )


def _chosen_alone(form: Fields, refusal: Refusal) -> Response:
    """Return a page with what was chosen, and with the button that was pressed, for which no service is asked."""
    step, name = form.get("step", ""), _list(form)
    is_pressed = step.partition(" ")[0] in STEPS
    return page(
        "moderate_chosen.html",
        status=refusal.status,
        headers=refusal.headers,
        refusal=refusal,
        given={one: form[one] for one in ("for", "list", "cursor", "back", "next") if one in form},
        list=name,
        chosen=_chosen(form),
        count=len(_chosen(form)) if not is_pressed or step in STEPS else 1,
        steps=() if decision_of(form.get("undo", "")) else (step,) if is_pressed else OFFERED[name],
        undo=decision_of(form.get("undo", "")),
    )


def _decision(form: Fields) -> Decision:
    """Return what a button decides: `step`, or `step id state` where it belongs to one comment.

    Raises:
        Problem: `invalid`.
    """
    step, *one = form.get("step", "").split(" ")
    if step not in STEPS:
        raise invalid("", N_("Press one of the buttons of this page."))
    ids = [UUID(one[0])] if one and id_or_none(one[0]) else _chosen(form)
    if not ids:
        raise invalid("", N_("Tick the comments first that this is about."))
    before = one[1] if len(one) > 1 and one[1] in BEFORE_IT else BEFORE[step]
    return Decision(step, before, tuple(ids))


def _chosen(form: Fields) -> list[UUID]:
    ids = (id_or_none(name.removeprefix(CHOSEN)) for name in form if name.startswith(CHOSEN))
    return [UUID(one) for one in ids if one]


def _list(given: Mapping[str, str]) -> List:
    name = given.get("list", "")
    return name if name in LISTS else "waiting"


def _place_in_list(form: Fields, told: tuple[str, str]) -> str:
    """Return the address of the list that a form was on, at the comment after those that were decided."""
    place = {name: form[name] for name in ("list", "cursor") if form.get(name)}
    if (after := id_or_none(form.get("next"))) is not None:
        place["comment"] = after
    return f"/moderate?{urlencode([*place.items(), told])}#decided"


def _place_in_discussion(form: Fields, told: tuple[str, str], comment_id: UUID) -> str | None:
    """Return the address of the page of a discussion on which a button was pressed, at its comment."""
    address = our_page(form.get("back", ""))
    if address is None:
        return None
    path = address.partition("#")[0]
    return f"{path}{'&' if '?' in path else '?'}{urlencode([told])}#c-{comment_id}"


def _require_moderator(context: RequestContext) -> None:
    if not is_moderator(context.viewer.caller.roles):
        raise Problem("forbidden", N_("This page is for moderators."))
