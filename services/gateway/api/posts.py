"""Posts."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.client.client import ServiceResponse
from services.chassis.http.routes import body_limit
from services.contracts.posts import CreatePost, EditPost
from services.gateway import responses
from services.gateway.apidocs import schemas
from services.gateway.apidocs.operations import operation
from services.gateway.composition import post_page, post_views
from services.gateway.composition.compose import Look
from services.gateway.composition.forwarding import POST_BYTES, body_of, chosen, forward
from services.gateway.composition.upstreams import Upstream
from services.gateway.gateway import gateway_of
from services.gateway.guards import Anybody, SignedIn
from services.gateway.routes import PublicRoute

router = APIRouter(prefix="/v1/posts", tags=["posts"], route_class=PublicRoute)

CACHED = ("If-None-Match",)
ONCE = ("Idempotency-Key",)
CAREFUL = ("Idempotency-Key", "If-Match")


@router.post(
    "", **operation("Write a post.", schemas.Post, status=201, body=CreatePost, headers=ONCE, kinds=["forbidden"])
)
@body_limit(POST_BYTES)
async def create(request: Request, look: SignedIn) -> Response:
    body = await body_of(request, POST_BYTES)
    return await _written(request, look, await forward(request, look, _owner(request), "/posts", body=body))


@router.get("", **operation("Published posts, newest first.", schemas.Posts, query=["cursor", "limit"], headers=CACHED))
async def listed(request: Request, look: Anybody) -> Response:
    composed = await post_views.listed(gateway_of(request).sources, look, chosen(request, "cursor", "limit"))
    return responses.read(request, look, composed)


@router.get("/{ref}", **operation("A post, by id or slug.", schemas.Post, headers=CACHED))
async def one(request: Request, look: Anybody, ref: str) -> Response:
    return responses.read(request, look, await post_views.one(gateway_of(request).sources, look, ref))


@router.get("/{ref}/page", **operation("A post with its discussion.", schemas.Page, headers=CACHED))
async def page(request: Request, look: Anybody, ref: str) -> Response:
    return responses.read(request, look, await post_page.page(gateway_of(request).sources, look, ref))


@router.patch(
    "/{post_id}",
    **operation("Change a post.", schemas.Post, body=EditPost, headers=CAREFUL, kinds=["forbidden", "wrong-state"]),
)
@body_limit(POST_BYTES)
async def edit(request: Request, look: SignedIn, post_id: str) -> Response:
    body = await body_of(request, POST_BYTES)
    answer = await forward(request, look, _owner(request), post_views.path_of(post_id), body=body)
    return await _written(request, look, answer)


@router.post("/{post_id}/publish", **operation("Publish a post.", schemas.Post, headers=ONCE, kinds=["forbidden"]))
async def publish(request: Request, look: SignedIn, post_id: str) -> Response:
    answer = await forward(request, look, _owner(request), post_views.path_of(post_id) + "/publish")
    return await _written(request, look, answer)


@router.post(
    "/{post_id}/withdraw",
    **operation("Withdraw a post.", schemas.Post, headers=ONCE, kinds=["forbidden", "wrong-state"]),
)
async def withdraw(request: Request, look: SignedIn, post_id: str) -> Response:
    answer = await forward(request, look, _owner(request), post_views.path_of(post_id) + "/withdraw")
    return await _written(request, look, answer)


@router.get(
    "/{post_id}/revisions",
    **operation("Every text a post had.", schemas.Revisions, query=["cursor", "limit"], headers=CACHED),
)
async def revisions(request: Request, look: Anybody, post_id: str) -> Response:
    params = chosen(request, "cursor", "limit")
    return responses.read(request, look, await post_views.revisions(gateway_of(request).sources, look, post_id, params))


def _owner(request: Request) -> Upstream:
    return gateway_of(request).sources.upstreams.posts


async def _written(request: Request, look: Look, answer: ServiceResponse) -> Response:
    gateway, raw = gateway_of(request), answer.json()
    sources = gateway.sources
    gateway.changed.post(raw["id"])
    post_views.remember_slug(sources, raw)
    return responses.written(look, answer, await post_views.dressed(sources, look, raw))
