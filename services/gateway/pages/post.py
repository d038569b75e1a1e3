"""Show a post and its comments, with forms that need no JavaScript."""

from typing import Any
from uuid import UUID, uuid4

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, not_found
from services.gateway.caching.cacheable import offer_to_cache
from services.gateway.composition import comment_views, post_page
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.guards import OptionalViewer, SignedIn
from services.gateway.pages.forms import fields
from services.gateway.pages.render import PageRoute, page, post_path, redirect, viewer_author
from services.gateway.responses import invalidation

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/posts/{ref}")
async def post(request: Request, context: OptionalViewer, ref: str) -> Response:
    query = request.query_params
    return await show(request, context, ref, reply_to=query.get("reply_to"), written_id=query.get("said"))


@router.post("/posts/{ref}/comments")
async def comment(request: Request, context: SignedIn, ref: str) -> Response:
    """Create the comment; a refusal is shown above the form, with the text as it was."""
    form = await fields(request)
    parent_id = form.get("parent_id") or None
    body: Json = {"body": form.get("body", "")} | ({"parent_id": parent_id} if parent_id else {})
    post_id = form.get("post_id", "")
    try:
        written = await _create(request, context, post_id, body, form.get("key", ""))
    except Problem as problem:
        context.deadline += 1.0  # the page is still to be shown
        return await show(
            request, context, ref, status=problem.status, reply_to=parent_id, text=form.get("body", ""),
            error=problem.detail,
        )  # fmt: skip
    return redirect(f"{post_path(ref)}?said={written['id']}#c-{written['id']}")


async def _create(request: Request, context: RequestContext, post_id: str, body: Json, key: str) -> Json:
    path = comment_views.path_under(post_id)
    headers = {"Idempotency-Key": key} if _is_uuid(key) else {}

    async def ask() -> Any:
        return await context.upstreams.comments.send(
            "POST", path, context.viewer.caller, context.deadline, body=body, headers=headers
        )

    answer = await comment_views.retry_while_post_unknown(context, post_id, ask)
    raw: Json = answer.json()
    invalidation(request).comment(raw["post_id"], raw["author_id"])
    return raw


async def show(
    request: Request,
    context: RequestContext,
    ref: str,
    *,
    status: int = 200,
    reply_to: str | None = None,
    written_id: str | None = None,
    text: str = "",
    error: str | None = None,
) -> Response:
    """Return the page of a post.

    Args:
        reply_to: the comment under which to show a form.
        written_id: the comment that was just written, shown even where its place is on a later page.
        text: the text in the form.
    """
    query = request.query_params
    cursor = {"cursor": query["comments"]} if "comments" in query else {}
    shown = (await post_page.page(context, ref, cursor)).data
    thread = query.get("thread") if _is_uuid(query.get("thread")) else None
    listed = shown["comments"]
    if thread is not None:
        listed = await _thread(context, thread, query.get("replies"))
    written = None
    if listed is not None and _is_uuid(written_id) and written_id not in ids(listed["items"]):
        written = await _written(context, str(written_id))
    if written is not None and listed is not None:
        listed = {"items": [written, *listed["items"]], "next": listed["next"]}
    post_id = shown["post"]["id"]
    if listed is not None and any(item["post_id"] != post_id for item in listed["items"]):
        raise not_found()  # a comment of another post
    viewer = shown["viewer"]
    if status == 200:
        offer_to_cache(request, context)
    return page(
        "post.html",
        status=status,
        viewer=viewer or await viewer_author(context),
        post=shown["post"],
        comments={"items_": listed["items"], "next": listed["next"]} if listed is not None else None,
        comment_count=shown["comment_count"],
        can_comment=viewer is not None and viewer["can_comment"],
        thread=thread,
        written=written,
        reply_to=reply_to if _is_uuid(reply_to) else None,
        reply_shown=listed is not None and reply_to in ids(listed["items"]),
        key=uuid4(),
        text=text,
        error=error,
    )


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


def ids(items: list[Json]) -> set[str]:
    """Return the ids of these comments and all replies in them."""
    found: set[str] = set()
    waiting = list(items)
    while waiting:
        item = waiting.pop()
        found.add(item["id"])
        waiting.extend(item["replies"]["items"])
    return found


def _is_uuid(text: str | None) -> bool:
    try:
        return text is not None and str(UUID(text)) == text
    except ValueError:
        return False
