"""A post and its discussion, with forms that need no JavaScript."""

from typing import Any
from uuid import UUID, uuid4

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, not_found
from services.gateway.caching.cacheable import offer
from services.gateway.composition import comment_views, post_page
from services.gateway.composition.compose import Json, Look
from services.gateway.gateway import gateway_of
from services.gateway.guards import Anybody, SignedIn
from services.gateway.pages.forms import fields
from services.gateway.pages.render import PageRoute, face, page, post_path, redirect

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/posts/{ref}")
async def post(request: Request, look: Anybody, ref: str) -> Response:
    query = request.query_params
    return await show(request, look, ref, reply_to=query.get("reply_to"), said_id=query.get("said"))


@router.post("/posts/{ref}/comments")
async def comment(request: Request, look: SignedIn, ref: str) -> Response:
    """Store the comment; what is refused is shown above the form, with the text as it was."""
    form = await fields(request)
    parent_id = form.get("parent_id") or None
    body: Json = {"body": form.get("body", "")} | ({"parent_id": parent_id} if parent_id else {})
    post_id = form.get("post_id", "")
    try:
        made = await _say(request, look, post_id, body, form.get("key", ""))
    except Problem as problem:
        look.deadline += 1.0  # the page is still to be shown
        return await show(
            request, look, ref, status=problem.status, reply_to=parent_id, text=form.get("body", ""),
            error=problem.detail,
        )  # fmt: skip
    return redirect(f"{post_path(ref)}?said={made['id']}#c-{made['id']}")


async def _say(request: Request, look: Look, post_id: str, body: Json, key: str) -> Json:
    sources = gateway_of(request).sources
    headers = {"Idempotency-Key": key} if _is_uuid(key) else {}

    async def ask() -> Any:
        return await sources.upstreams.comments.send(
            "POST", comment_views.path_under(post_id), look.viewer.caller, look.deadline, body=body, headers=headers
        )

    answer = await comment_views.once_arrived(sources, look, post_id, ask)
    made: Json = answer.json()
    gateway_of(request).changed.comment(made["post_id"], made["author_id"])
    return made


async def show(
    request: Request,
    look: Look,
    ref: str,
    *,
    status: int = 200,
    reply_to: str | None = None,
    said_id: str | None = None,
    text: str = "",
    error: str | None = None,
) -> Response:
    """The page of a post.

    Args:
        reply_to: the comment under which a form stands.
        said_id: the comment that was just written, shown even where its place is on a later page.
        text: what stands in the form.
    """
    sources, query = gateway_of(request).sources, request.query_params
    cursor = {"cursor": query["comments"]} if "comments" in query else {}
    shown = (await post_page.page(sources, look, ref, cursor)).data
    thread = query.get("thread") if _is_uuid(query.get("thread")) else None
    listed = shown["comments"]
    if thread is not None:
        listed = await _thread(request, look, thread, query.get("replies"))
    said = None
    if listed is not None and _is_uuid(said_id) and said_id not in ids(listed["items"]):
        said = await _said(request, look, str(said_id))
    if said is not None and listed is not None:
        listed = {"items": [said, *listed["items"]], "next": listed["next"]}
    post_id = shown["post"]["id"]
    if listed is not None and any(item["post_id"] != post_id for item in listed["items"]):
        raise not_found()  # a comment of another post
    viewer = shown["viewer"]
    if status == 200:
        offer(request, look)
    return page(
        "post.html",
        status=status,
        viewer=viewer or await face(request, look),
        post=shown["post"],
        comments={"items_": listed["items"], "next": listed["next"]} if listed is not None else None,
        comment_count=shown["comment_count"],
        can_comment=viewer is not None and viewer["can_comment"],
        thread=thread,
        said=said,
        reply_to=reply_to if _is_uuid(reply_to) else None,
        reply_shown=listed is not None and reply_to in ids(listed["items"]),
        key=uuid4(),
        text=text,
        error=error,
    )


async def _thread(request: Request, look: Look, comment_id: str, cursor: str | None) -> Json:
    """One comment with its replies, or a later page of them."""
    sources = gateway_of(request).sources
    if cursor is not None:
        return (await comment_views.replies(sources, look, comment_id, {"cursor": cursor})).data
    return {"items": [(await comment_views.one(sources, look, comment_id)).data], "next": None}


async def _said(request: Request, look: Look, comment_id: str) -> Json | None:
    """The comment that was just written; None if it is gone already."""
    try:
        return (await comment_views.one(gateway_of(request).sources, look, comment_id)).data
    except Problem:
        return None


def ids(items: list[Json]) -> set[str]:
    """The ids of these comments and all replies in them."""
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
