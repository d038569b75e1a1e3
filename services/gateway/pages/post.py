"""Show a post and its comments, with forms that need no JavaScript."""

from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.contracts.ids import id_or_none
from services.contracts.people import is_author
from services.gateway.caching.cacheable import offer_to_cache
from services.gateway.composition import post_page
from services.gateway.composition.moved import Moved
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.guards import OptionalViewer
from services.gateway.pages.comment_form import CommentForm, can_be_answered, find
from services.gateway.pages.decisions import said_by
from services.gateway.pages.pager import pager_of
from services.gateway.pages.quoting import quotation
from services.gateway.pages.render import PageRoute, page, post_path, viewer_author

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/posts/{ref}")
async def post(request: Request, context: OptionalViewer, ref: str) -> Response:
    form, written_id = CommentForm.opened(request, ref), id_or_none(request.query_params.get("said"))
    return await show(request, context, form, written_id=written_id, is_new=True)


async def show(
    request: Request,
    context: RequestContext,
    form: CommentForm,
    *,
    written_id: str | None = None,
    is_new: bool = False,
) -> Response:
    """Return the page of a post.

    Args:
        form: the form on it, under the comment that it answers.
        written_id: the comment that was just written, shown even where its place is on a later page.
        is_new: whether nobody has seen the form: then it answers the comment that the address names.
    """
    query = form.place_parameters
    linked = id_or_none(query.get("comment")) or id_or_none(query.get("thread"))  # older links say thread
    wanted = form.parent_id or written_id or linked
    place = post_page.Place(query.get("comments"), form.sort, form.page, wanted, query.get("replies"))
    try:
        shown = (await post_page.page(context, form.ref, place)).data
    except Moved as moved:
        if is_new:
            raise
        form = replace(form, ref=moved.slug)  # the form comes back with what was typed, whatever the post is called
        shown = (await post_page.page(context, form.ref, place)).data
    listed, post_id = shown["comments"], shown["post"]["id"]
    found = find(listed["items"], wanted) if listed is not None and wanted else None
    done = request.query_params.get("done") if is_new else None
    is_missing = listed is not None and wanted in (linked, written_id) and wanted is not None and found is None
    is_missing = is_missing and done != "removed"
    form, takes_reply = replace(form, post_id=post_id), None
    if form.parent_id is not None and listed is not None:
        takes_reply = found is not None and can_be_answered(found)
    if takes_reply is False and not form.text:
        form = replace(form, parent_id=None)
    if is_new and linked == wanted and found is not None and can_be_answered(found):
        form, takes_reply = replace(form, parent_id=linked), True
    viewer = shown["viewer"]
    if form.quotes and takes_reply and found is not None and not form.text and viewer and viewer["can_comment"]:
        form = replace(form, text=quotation(found["body_html"]))
    if viewer is not None:
        form = replace(form, opened_by=viewer["id"])
    moderates = viewer is not None and viewer["can_moderate"]
    is_own_address = request.method == "GET" and "ref" in request.path_params
    status = form.refusal.status if form.refusal else 404 if is_missing and wanted == linked else 200
    if status == 200:
        offer_to_cache(request, context)
    return page(
        "post.html",
        status=status,
        headers=form.refusal.headers if form.refusal else None,
        viewer=viewer | {"can_write": is_author(viewer["roles"])} if viewer else await viewer_author(context),
        can_edit=viewer is not None and viewer["can_edit_post"],
        post=shown["post"],
        comments=listed,
        pager=pager_of(listed, form) if listed is not None else None,
        is_part=listed is not None and "part" in listed,
        is_missing=is_missing,
        base="" if is_own_address else post_path(shown["post"]["slug"]),
        named=wanted,
        done=done,
        comment_count=shown["comment_count"],
        can_comment=viewer is not None and viewer["can_comment"],
        can_moderate=moderates,
        decision=said_by(request, context, "decided", request.query_params) if moderates else None,
        undone=said_by(request, context, "undone", request.query_params) if moderates else None,
        can_be_answered=can_be_answered,
        written=found if written_id == wanted and _is_by(viewer, found) else None,
        form=form,
        answered=found if takes_reply else None,
        unanswerable=takes_reply is False,
    )


def _is_by(viewer: Json | None, comment: Json | None) -> bool:
    """Return whether the viewer wrote a comment that has not lost its author."""
    author = comment["author"] if comment is not None else None
    return viewer is not None and author is not None and bool(author["id"] == viewer["id"])
