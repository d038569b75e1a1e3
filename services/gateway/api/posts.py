"""Posts: `/v1/posts`."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.client.client import ServiceResponse
from services.chassis.http.routes import body_limit
from services.contracts.body_sizes import POST_BYTES
from services.contracts.posts import CreatePost, EditPost
from services.gateway import responses
from services.gateway.api.references import PostRef, RevisionNumber, id_of
from services.gateway.apidocs.operations import operation
from services.gateway.apidocs.schemas import posts as schemas
from services.gateway.composition import comment_views, post_page, post_views
from services.gateway.composition.forwarding import body_of, forward, query_of
from services.gateway.composition.request_context import RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import OptionalViewer, PublicRoute, SignedIn, count_comparison

router = APIRouter(prefix="/v1/posts", tags=["posts"], route_class=PublicRoute)

CACHED = ("If-None-Match",)
ONCE = ("Idempotency-Key",)
CAREFUL = ("Idempotency-Key", "If-Match")
FILTERS = ("status", "tag", "author", "kind")
NOT_PUBLIC = ("draft", "scheduled", "withdrawn")


@router.post(
    "",
    **operation(
        "createPost", "Create a post", schemas.Post, status=201, body=CreatePost, headers=ONCE, kinds=["forbidden"]
    ),
)
@body_limit(POST_BYTES)
async def create(request: Request, context: SignedIn) -> Response:
    body = await body_of(request, POST_BYTES)
    return await _written(
        request, context, await forward(request, context, context.upstreams.posts, "/posts", body=body)
    )


@router.get(
    "",
    **operation(
        "listPosts",
        "List published posts, or your own drafts, newest first",
        schemas.Posts,
        query=[*FILTERS, "cursor", "limit"],
        headers=CACHED,
        kinds=["sign-in-required"],
    ),
)
async def listed(request: Request, context: OptionalViewer) -> Response:
    params = query_of(request, *FILTERS, "cursor", "limit")
    if params.get("status") in NOT_PUBLIC or params.get("author") == "me":
        gateway_of(request).authentication.require_person(request, context.viewer)
    return responses.read(request, context, await post_views.listed(context, params))


@router.get("/{ref}", **operation("getPost", "Get a post by id or slug", schemas.Post, headers=CACHED))
async def one(request: Request, context: OptionalViewer, ref: PostRef) -> Response:
    return responses.read(request, context, await post_views.one(context, ref))


@router.get("/{ref}/page", **operation("getPostPage", "Get a post with its comments", schemas.Page, headers=CACHED))
async def page(request: Request, context: OptionalViewer, ref: PostRef) -> Response:
    return responses.read(request, context, await post_page.page(context, ref))


@router.patch(
    "/{ref}",
    **operation(
        "editPost",
        "Edit a post",
        schemas.Post,
        body=EditPost,
        headers=CAREFUL,
        kinds=["forbidden", "wrong-state"],
    ),
)
@body_limit(POST_BYTES)
async def edit(request: Request, context: SignedIn, ref: PostRef) -> Response:
    body = await body_of(request, POST_BYTES)
    path = post_views.path_of(await id_of(context, ref))
    answer = await forward(request, context, context.upstreams.posts, path, body=body)
    return await _written(request, context, answer, changes_discussion="discussion" in await request.json())


@router.delete(
    "/{ref}",
    **operation("deletePost", "Delete a draft", status=204, headers=CAREFUL, kinds=["forbidden", "wrong-state"]),
)
async def delete(request: Request, context: SignedIn, ref: PostRef) -> Response:
    post_id = await id_of(context, ref)
    answer = await forward(request, context, context.upstreams.posts, post_views.path_of(post_id))
    responses.invalidation(request).post(post_id)
    return responses.empty(answer)


@router.post(
    "/{ref}/publish",
    **operation("publishPost", "Publish a post", schemas.Post, headers=ONCE, kinds=["forbidden"]),
)
async def publish(request: Request, context: SignedIn, ref: PostRef) -> Response:
    path = post_views.path_of(await id_of(context, ref)) + "/publish"
    return await _written(request, context, await forward(request, context, context.upstreams.posts, path))


@router.post(
    "/{ref}/withdraw",
    **operation("withdrawPost", "Withdraw a post", schemas.Post, headers=ONCE, kinds=["forbidden", "wrong-state"]),
)
async def withdraw(request: Request, context: SignedIn, ref: PostRef) -> Response:
    path = post_views.path_of(await id_of(context, ref)) + "/withdraw"
    answer = await forward(request, context, context.upstreams.posts, path)
    return await _written(request, context, answer, changes_discussion=True)


@router.get(
    "/{ref}/revisions",
    **operation(
        "listRevisions",
        "List the revisions of a post, newest first",
        schemas.Revisions,
        query=["cursor", "limit"],
        headers=CACHED,
    ),
)
async def revisions(request: Request, context: OptionalViewer, ref: PostRef) -> Response:
    params, found = query_of(request, "cursor", "limit"), await id_of(context, ref)
    return responses.read(request, context, await post_views.revisions(context, found, params))


@router.get(
    "/{ref}/revisions/{number}",
    **operation(
        "getRevision",
        "Get one revision of a post, and what differs from another one",
        schemas.Revision,
        query=["against"],
        headers=CACHED,
    ),
)
async def revision(request: Request, context: OptionalViewer, ref: PostRef, number: RevisionNumber) -> Response:
    params = query_of(request, "against")
    if params:
        await count_comparison(request, context)
    found = await id_of(context, ref)
    return responses.read(request, context, await post_views.revision(context, found, number, params))


@router.delete(
    "/{ref}/revisions/{number}",
    **operation(
        "blankRevision",
        "Take away the text of a former revision",
        status=204,
        headers=ONCE,
        kinds=["forbidden", "wrong-state"],
    ),
)
async def blank(request: Request, context: SignedIn, ref: PostRef, number: RevisionNumber) -> Response:
    post_id = await id_of(context, ref)
    path = post_views.revision_path(post_id, number)
    answer = await forward(request, context, context.upstreams.posts, path)
    responses.invalidation(request).post(post_id)
    return responses.empty(answer)


async def _written(
    request: Request, context: RequestContext, answer: ServiceResponse, *, changes_discussion: bool = False
) -> Response:
    raw = answer.json()
    responses.invalidation(request).post(raw["id"])
    post_views.remember_slug(context, raw)
    if changes_discussion:
        await comment_views.wait_for_version(context, raw)
        responses.invalidation(request).post(raw["id"])  # what was read meanwhile may still show the old discussion
    return responses.written(context, answer, await post_views.with_author(context, raw))
