"""Comments: `/v1/comments` and `/v1/posts/{post_id}/comments`."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.client.client import ServiceResponse
from services.chassis.errors import Problem, invalid
from services.chassis.http.requests import IDEMPOTENCY_KEY
from services.contracts.comments import CreateComment, EditComment
from services.gateway import responses
from services.gateway.access.authentication import NOBODY
from services.gateway.api.references import PathId, PostRef, id_of
from services.gateway.apidocs.operations import operation
from services.gateway.apidocs.schemas import comments as schemas
from services.gateway.apidocs.schemas.posts import CommentContext
from services.gateway.composition import comment_views
from services.gateway.composition.forwarding import body_of, forward, key_of, query_of
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.gateway import Gateway, gateway_of
from services.gateway.guards import Commenting, OptionalViewer, PublicRoute, SignedIn

router = APIRouter(prefix="/v1", tags=["comments"], route_class=PublicRoute)

CACHED = ("If-None-Match",)
ONCE = ("Idempotency-Key",)
ONLY_AUTHORS_SEE = ("body", "format")
MOST_COUNTED = 100  # posts of one question
CAREFUL = ("Idempotency-Key", "If-Match")
STEPS = {
    "hold": ("holdComment", "Hold a visible comment for moderation"),
    "approve": ("approveComment", "Approve a held comment"),
    "reject": ("rejectComment", "Reject a held or visible comment"),
    "restore": ("restoreComment", "Restore a comment that a moderator removed"),
}


@router.post(
    "/posts/{post_id}/comments",
    **operation(
        "postComment",
        "Comment on a post, or reply to a comment",
        schemas.Comment,
        status=201,
        body=CreateComment,
        headers=ONCE,
        kinds=["discussion-closed"],
    ),
)
async def create(request: Request, context: Commenting, post_id: PostRef) -> Response:
    body, found = await body_of(request), await id_of(context, post_id)
    key = key_of(request)
    if key is None or IDEMPOTENCY_KEY.match(key):
        gateway = gateway_of(request)
        began = gateway.cache.sequence
        raw = await gateway.posting.post_short(context, found, request._json, key)
        if raw is not None:
            return await _posted(gateway, context, raw, began)
    path = comment_views.path_under(found)
    answer = await comment_views.retry_while_post_unknown(
        context, found, lambda: forward(request, context, context.upstreams.comments, path, body=body)
    )
    return await _written(request, context, answer, answer.json(), is_new=True)


@router.get(
    "/posts/{post_id}/comments",
    **operation(
        "listComments",
        "List the comments of a post",
        schemas.Comments,
        query=["sort", "cursor", "limit"],
        headers=CACHED,
    ),
)
async def listed(request: Request, context: OptionalViewer, post_id: PostRef) -> Response:
    params, found = query_of(request, "sort", "cursor", "limit"), await id_of(context, post_id)
    return responses.read(request, context, await comment_views.under(context, found, params))


@router.get(
    "/comments",
    **operation(
        "listCommentsByState",
        "List comments awaiting moderation, or removed ones",
        schemas.Comments,
        query=["state", "cursor", "limit"],
        headers=CACHED,
        kinds=["forbidden"],
    ),
)
async def by_state(request: Request, context: SignedIn) -> Response:
    params = query_of(request, "state", "cursor", "limit")
    return responses.read(request, context, await comment_views.by_state(context, params))


@router.get(
    "/me/comments",
    **operation(
        "listMyComments", "List my comments, newest first", schemas.Comments, query=["cursor", "limit"], headers=CACHED
    ),
)
async def mine(request: Request, context: SignedIn) -> Response:
    params = query_of(request, "cursor", "limit")
    return responses.read(request, context, await comment_views.own(context, params))


@router.get(
    "/comment-counts",
    **operation("countComments", "Count the comments of posts", schemas.CommentCounts, query=["post"], headers=CACHED),
)
async def counts(request: Request, context: OptionalViewer) -> Response:
    refs = list(dict.fromkeys(request.query_params.getlist("post")))
    if not 1 <= len(refs) <= MOST_COUNTED:
        raise invalid("post", f"must be given at least once, and at most {MOST_COUNTED} times")
    return responses.read(request, context, await comment_views.counted(context, refs))


@router.get(
    "/comments/{comment_id}",
    **operation("getComment", "Get a comment with its first replies", schemas.Comment, headers=CACHED),
)
async def one(request: Request, context: OptionalViewer, comment_id: PathId) -> Response:
    return responses.read(request, context, await comment_views.one(context, comment_id))


@router.get(
    "/comments/{comment_id}/replies",
    **operation(
        "listReplies",
        "List the direct replies to a comment, oldest first",
        schemas.Comments,
        query=["cursor", "limit"],
        headers=CACHED,
    ),
)
async def replies(request: Request, context: OptionalViewer, comment_id: PathId) -> Response:
    params = query_of(request, "cursor", "limit")
    return responses.read(request, context, await comment_views.replies(context, comment_id, params))


@router.get(
    "/comments/{comment_id}/context",
    **operation("getCommentContext", "Get a comment with its post and what it answers", CommentContext, headers=CACHED),
)
async def context_of(request: Request, context: OptionalViewer, comment_id: PathId) -> Response:
    return responses.read(request, context, await comment_views.with_context(context, comment_id))


@router.patch(
    "/comments/{comment_id}",
    **operation(
        "editComment",
        "Edit a comment",
        schemas.Comment,
        body=EditComment,
        headers=CAREFUL,
        kinds=["forbidden", "edit-window-over"],
    ),
)
async def edit(request: Request, context: SignedIn, comment_id: PathId) -> Response:
    body, path = await body_of(request), comment_views.path_of(comment_id)
    answer = await forward(request, context, context.upstreams.comments, path, body=body)
    return await _written(request, context, answer, answer.json())


@router.delete(
    "/comments/{comment_id}",
    **operation("deleteComment", "Delete a comment", status=204, headers=CAREFUL, kinds=["forbidden"]),
)
async def remove(request: Request, context: SignedIn, comment_id: PathId) -> Response:
    answer = await forward(request, context, context.upstreams.comments, comment_views.path_of(comment_id))
    await _evict(request, context, comment_id)
    return responses.empty(answer)


async def moderate(request: Request, context: SignedIn, comment_id: PathId) -> Response:
    step = request.scope["path"].rpartition("/")[2]
    path = f"{comment_views.path_of(comment_id)}/{step}"
    answer = await forward(request, context, context.upstreams.comments, path)
    return await _written(request, context, answer, answer.json())


for step, (operation_id, summary) in STEPS.items():
    router.add_api_route(
        f"/comments/{{comment_id}}/{step}",
        moderate,
        methods=["POST"],
        name=step,
        **operation(operation_id, summary, schemas.Comment, headers=ONCE, kinds=["forbidden", "wrong-state"]),
    )


async def _evict(request: Request, context: RequestContext, comment_id: str) -> None:
    """Evict what a removal changed; its answer is empty, so comments is asked whose comment it was."""
    invalidation, body = responses.invalidation(request), {"ids": [comment_id]}
    try:
        found = await context.upstreams.comments.look_up("/comments/lookup", NOBODY, context.deadline, body)
        for item in found["items"]:
            invalidation.comment(item["post_id"], item["author_id"])
    except Problem:
        invalidation.everything()


async def _posted(gateway: Gateway, context: RequestContext, raw: Json, began: int) -> Response:
    """Answer with a new comment, and add it to lists that are kept."""
    lists = gateway.invalidation.posted(raw, began)
    evicted = gateway.cache.sequence
    composed = await comment_views.with_authors(context, raw)
    if lists and not context.missing:
        shown = {name: value for name, value in composed.data.items() if name not in ONLY_AUTHORS_SEE}
        gateway.cache.put_back(lists, evicted, shown, context.since, context.tags)
    return responses.written(context, ServiceResponse(201, {"Location": f"/v1/comments/{raw['id']}"}, b""), composed)


async def _written(
    request: Request, context: RequestContext, answer: ServiceResponse, raw: Json, *, is_new: bool = False
) -> Response:
    may_wait = not is_new or raw["state"] != "visible"
    responses.invalidation(request).comment(raw["post_id"], raw["author_id"], may_wait=may_wait)
    return responses.written(context, answer, await comment_views.with_authors(context, raw))
