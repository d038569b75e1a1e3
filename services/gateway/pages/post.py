"""Show a post and its comments, with forms that need no JavaScript."""

from dataclasses import replace
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, not_found
from services.gateway.caching.cacheable import offer_to_cache
from services.gateway.composition import comment_views, post_page
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.guards import OptionalViewer
from services.gateway.pages.comment_form import CommentForm, can_be_answered, find
from services.gateway.pages.render import PageRoute, page, viewer_author

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/posts/{ref}")
async def post(request: Request, context: OptionalViewer, ref: str) -> Response:
    return await show(request, context, CommentForm.opened(request, ref), written_id=request.query_params.get("said"))


async def show(
    request: Request, context: RequestContext, form: CommentForm, *, written_id: str | None = None
) -> Response:
    """Return the page of a post.

    Args:
        form: the form on it, under the comment that it answers.
        written_id: the comment that was just written, shown even where its place is on a later page.
    """
    query = request.query_params
    cursor = {"cursor": query["comments"]} if "comments" in query else {}
    shown = (await post_page.page(context, form.ref, cursor)).data
    thread = query.get("thread") if _is_uuid(query.get("thread")) else None
    listed = shown["comments"]
    if thread is not None:
        listed = await _thread(context, thread, query.get("replies"))
    written = None
    if listed is not None and _is_uuid(written_id) and find(listed["items"], written_id) is None:
        written = await _written(context, str(written_id))
    if written is not None and listed is not None:
        listed = {"items": [written, *listed["items"]], "next": listed["next"]}
    takes_reply = None
    if form.parent_id is not None and listed is not None:
        listed, thread, takes_reply = await _with_answered(context, listed, thread, form.parent_id)
    post_id = shown["post"]["id"]
    if listed is not None and any(item["post_id"] != post_id for item in listed["items"]):
        raise not_found()  # a comment of another post
    if takes_reply is False and not form.text:
        form = replace(form, parent_id=None)
    viewer = shown["viewer"]
    if viewer is not None:
        form = replace(form, opened_by=viewer["id"])
    status = form.refusal.status if form.refusal else 200
    if status == 200:
        offer_to_cache(request, context)
    return page(
        "post.html",
        status=status,
        headers=form.refusal.headers if form.refusal else None,
        viewer=viewer or await viewer_author(context),
        post=shown["post"],
        comments={"items_": listed["items"], "next": listed["next"]} if listed is not None else None,
        comment_count=shown["comment_count"],
        can_comment=viewer is not None and viewer["can_comment"],
        can_be_answered=can_be_answered,
        thread=thread,
        written=written,
        form=replace(form, post_id=post_id),
        stands_below=form.parent_id if takes_reply else None,
        unanswerable=takes_reply is False,
    )


async def _with_answered(
    context: RequestContext, listed: Json, thread: str | None, comment_id: str
) -> tuple[Json, str | None, bool | None]:
    """Return a part of the discussion that shows the comment which a form answers: this one, or the comment's own.

    The last value says whether the comment takes a reply; None if that could not be found out.
    """
    answered = find(listed["items"], comment_id)
    if answered is None:
        try:
            answered = (await comment_views.one(context, comment_id)).data
        except Problem as problem:
            return listed, thread, False if problem.status < 500 else None
        listed, thread = {"items": [answered], "next": None}, comment_id
    return listed, thread, can_be_answered(answered)


async def _thread(context: RequestContext, comment_id: str, cursor: str | None) -> Json:
    """Return one comment with its replies, or a later page of them."""
    if cursor is not None:
        return (await comment_views.replies(context, comment_id, {"cursor": cursor})).data
    return {"items": [(await comment_views.one(context, comment_id)).data], "next": None}


async def _written(context: RequestContext, comment_id: str) -> Json | None:
    """Return the comment that was just written; None if it is gone already."""
    try:
        return (await comment_views.one(context, comment_id)).data
    except Problem:
        return None


def _is_uuid(text: str | None) -> bool:
    try:
        return text is not None and str(UUID(text)) == text
    except ValueError:
        return False
