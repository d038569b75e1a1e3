"""The lists of what an author wrote, and the end of a draft."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem
from services.chassis.http.routes import body_limit
from services.contracts.ids import id_or_none
from services.gateway.composition import post_views
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.guards import SignedIn, context_of
from services.gateway.pages.authors import changeable, require_author
from services.gateway.pages.forms import READ_BYTES, Fields, gives_back
from services.gateway.pages.openers import opened_fields
from services.gateway.pages.post_form import KINDS, STATUSES, if_match, version_of
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page, problem_page, redirect, refused_page, viewer_author
from services.gateway.responses import invalidation

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/posts/{ref}/delete")
async def ask_to_delete(request: Request, context: SignedIn, ref: str) -> Response:
    """Ask whether a draft is to go; one that readers may have seen is withdrawn instead."""
    return await _asked_to_delete(context, changeable(context, await post_views.fetch(context, ref)))


async def delete_again(request: Request, sent: Fields, refusal: Refusal) -> Response:
    """Ask anew, with what stands in the draft now."""
    context, post_id = context_of(request), id_or_none(request.path_params.get("post_id"))
    if context is None or context.viewer.person_id is None:
        return refused_page(refusal, "/me/posts")
    try:
        return await _asked_to_delete(context, await post_views.fetch(context, post_id or ""), refusal)
    except Problem as problem:
        return problem_page(problem, "/me/posts")


@router.post("/write/{post_id}/delete")
@body_limit(READ_BYTES)
@gives_back(delete_again)
async def delete(request: Request, context: SignedIn, post_id: str) -> Response:
    found = id_or_none(post_id)
    if found is None:
        raise Problem("not-found")
    form = await opened_fields(request, context)
    headers = if_match(form.get("version", ""))
    await context.upstreams.posts.send(
        "DELETE", post_views.path_of(found), context.viewer.caller, context.deadline, headers=headers
    )
    invalidation(request).post(found)
    return redirect("/me/posts?done=deleted")


@router.get("/me/posts")
async def mine(request: Request, context: SignedIn) -> Response:
    """List what the viewer wrote, by kind and status."""
    require_author(context)
    query = request.query_params
    status, kind, cursor = query.get("status", "draft"), query.get("kind", "post"), query.get("cursor")
    if status not in STATUSES or kind not in KINDS:
        raise Problem("not-found")
    params = {"status": status, "author": "me"} | ({"kind": kind} if kind != "post" else {})
    listed = (await post_views.listed(context, params | ({"cursor": cursor} if cursor else {}))).data
    return page(
        "my_posts.html",
        viewer=await viewer_author(context),
        shown=status,
        kind=kind,
        posts={"items_": listed["items"], "next": listed["next"]},
        is_later=bool(cursor),
        done=query.get("done"),
    )


async def _asked_to_delete(context: RequestContext, post: Json, refusal: Refusal | None = None) -> Response:
    return page(
        "delete_post.html",
        status=refusal.status if refusal else 200,
        headers=refusal.headers if refusal else None,
        viewer=await viewer_author(context),
        post=post,
        version=version_of(post),
        refusal=refusal,
    )
