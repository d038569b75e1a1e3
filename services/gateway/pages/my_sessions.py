"""Show where the viewer is signed in, and sign out there."""

import re
from collections.abc import Mapping

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem
from services.chassis.http.routes import body_limit
from services.contracts.ids import id_or_none
from services.gateway.composition import open_sessions
from services.gateway.composition.request_context import RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import SignedIn, context_of
from services.gateway.languages import N_, said
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back
from services.gateway.pages.openers import require_opener
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page, redirect, refused_page, viewer_author
from services.gateway.sessions import forget_session

router = APIRouter(route_class=PageRoute, include_in_schema=False)

ENDED = {
    "one": N_("You are signed out there, within a minute at most."),
    "others": N_("You are signed out everywhere else, within a minute at most."),
}
OTHERS = "others"

# What a browser says of itself names several others, too: the first of these that it names is what it is.
BROWSERS: Mapping[str, str] = {
    "Edg": "Edge",
    "OPR": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "CriOS": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
SYSTEMS: Mapping[str, str] = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Macintosh": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}
LONGEST = 80


def program(user_agent: str | None) -> str:
    """Return the names of a browser and its system, else the beginning of what the program says of itself."""
    shown = user_agent or ""
    found = [
        next((name for mark, name in names.items() if re.search(rf"\b{mark}\b", shown)), None)
        for names in (BROWSERS, SYSTEMS)
    ]
    return ", ".join(name for name in found if name) if found[0] else shown[:LONGEST]


@router.get("/me/sessions")
async def sessions(request: Request, context: SignedIn) -> Response:
    return await _sessions(request, context, request.query_params.get("cursor"))


async def sessions_again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Say why nobody was signed out."""
    context = context_of(request)
    if context is None or context.viewer.person_id is None:
        return refused_page(refusal, "/me/sessions")
    return await _sessions(request, context, None, refusal)


async def _sessions(
    request: Request, context: RequestContext, cursor: str | None, refusal: Refusal | None = None
) -> Response:
    params = {"cursor": cursor} if cursor else {}
    listed = await open_sessions.listed(context, params)
    return page(
        "my_sessions.html",
        status=refusal.status if refusal else 200,
        headers=refusal.headers if refusal else None,
        viewer=await viewer_author(context),
        items=[item | {"program": program(item["user_agent"])} for item in listed["items"]],
        next=listed["next"],
        is_later=bool(cursor),
        said=said(ENDED, request.query_params.get("done")),
        refusal=refusal,
    )


@router.post("/me/sessions")
@body_limit(READ_BYTES)
@gives_back(sessions_again)
async def end(request: Request, context: SignedIn) -> Response:
    """End one session, or all but the present one, as the button says that was pressed."""
    form = await fields(request)
    await require_opener(context, form.get("for"))
    chosen, revocations = form.get("session", ""), gateway_of(request).revocations
    if chosen == OTHERS:
        await open_sessions.end_others(context, revocations)
        return redirect("/me/sessions?done=others")
    found = id_or_none(chosen)
    if found is None:
        raise Problem("not-found")
    await open_sessions.end_one(context, revocations, found)
    if found == context.viewer.session_id:
        forget_session(request)
        return redirect("/sign-in")
    return redirect("/me/sessions?done=one")
