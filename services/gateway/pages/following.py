"""Follow the discussion of a post, or follow it no more."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.http.routes import body_limit
from services.contracts.ids import id_or_none
from services.gateway.composition import post_views
from services.gateway.composition.moved import Moved
from services.gateway.guards import SignedIn
from services.gateway.pages.comment_form import list_place_of
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back
from services.gateway.pages.openers import require_opener
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page, post_path, redirect
from services.gateway.responses import invalidation

router = APIRouter(route_class=PageRoute, include_in_schema=False)

STEPS = {"yes": ("PUT", "followed"), "no": ("DELETE", "unfollowed")}


async def again(request: Request, sent: Fields, refusal: Refusal) -> Response:
    """Say why nothing was changed."""
    back = post_path(request.path_params["ref"])
    return page("refused.html", status=refusal.status, headers=refusal.headers, refusal=refusal, back=back)


@router.post("/posts/{ref}/follow")
@body_limit(READ_BYTES)
@gives_back(again)
async def follow(request: Request, context: SignedIn, ref: str) -> Response:
    """Follow the discussion, or follow it no more, as the button says that was pressed."""
    sent = await fields(request)
    await require_opener(context, id_or_none(sent.get("for")))
    method, done = STEPS["no" if sent.get("follow") == "no" else "yes"]
    try:
        post = await post_views.fetch(context, ref)
    except Moved as moved:  # while its page was open
        post = await post_views.fetch(context, moved.slug)
    path, caller = f"/me/follows/{post['id']}", context.viewer.caller
    await context.upstreams.notify.send(method, path, caller, context.deadline)
    invalidation(request).reading(str(context.viewer.person_id), post["id"])
    place = list_place_of(request.query_params)
    return redirect(f"{post_path(post['slug'])}?{place}{'&' if place else ''}done={done}#follow")
