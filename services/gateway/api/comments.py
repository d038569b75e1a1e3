"""Comments."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.client.client import ServiceResponse
from services.chassis.errors import Problem
from services.contracts.comments import CreateComment, EditComment
from services.gateway import responses
from services.gateway.access.authentication import NOBODY
from services.gateway.apidocs import schemas
from services.gateway.apidocs.operations import operation
from services.gateway.composition import comment_views
from services.gateway.composition.compose import Look
from services.gateway.composition.forwarding import body_of, chosen, forward
from services.gateway.composition.upstreams import Upstream
from services.gateway.gateway import gateway_of
from services.gateway.guards import Anybody, SignedIn
from services.gateway.routes import PublicRoute

router = APIRouter(prefix="/v1", tags=["comments"], route_class=PublicRoute)

CACHED = ("If-None-Match",)
ONCE = ("Idempotency-Key",)
CAREFUL = ("Idempotency-Key", "If-Match")
STEPS = {
    "hold": "A visible comment waits for a moderator again.",
    "approve": "A held comment becomes visible.",
    "reject": "A held or visible comment is removed.",
    "restore": "A comment that a moderator removed becomes visible again.",
}


@router.post(
    "/posts/{post_id}/comments",
    **operation(
        "Comment on a post, or answer a comment of it.",
        schemas.Comment,
        status=201,
        body=CreateComment,
        headers=ONCE,
        kinds=["discussion-closed"],
    ),
)
async def create(request: Request, look: SignedIn, post_id: str) -> Response:
    body = await body_of(request)
    sources = gateway_of(request).sources
    answer = await comment_views.once_arrived(
        sources,
        look,
        post_id,
        lambda: forward(request, look, sources.upstreams.comments, comment_views.path_under(post_id), body=body),
    )
    return await _written(request, look, answer)


@router.get(
    "/posts/{post_id}/comments",
    **operation("The discussion of a post.", schemas.Comments, query=["sort", "cursor", "limit"], headers=CACHED),
)
async def listed(request: Request, look: Anybody, post_id: str) -> Response:
    params = chosen(request, "sort", "cursor", "limit")
    return responses.read(request, look, await comment_views.under(gateway_of(request).sources, look, post_id, params))


@router.get(
    "/comments",
    **operation(
        "What waits for a moderator, oldest first.",
        schemas.Comments,
        query=["state", "cursor", "limit"],
        headers=CACHED,
        kinds=["forbidden"],
    ),
)
async def queue(request: Request, look: SignedIn) -> Response:
    params = chosen(request, "state", "cursor", "limit")
    return responses.read(request, look, await comment_views.queue(gateway_of(request).sources, look, params))


@router.get(
    "/comments/{comment_id}",
    **operation("A comment with the beginning of its replies.", schemas.Comment, headers=CACHED),
)
async def one(request: Request, look: Anybody, comment_id: str) -> Response:
    return responses.read(request, look, await comment_views.one(gateway_of(request).sources, look, comment_id))


@router.get(
    "/comments/{comment_id}/replies",
    **operation(
        "The direct replies to a comment, oldest first.", schemas.Comments, query=["cursor", "limit"], headers=CACHED
    ),
)
async def replies(request: Request, look: Anybody, comment_id: str) -> Response:
    params = chosen(request, "cursor", "limit")
    return responses.read(
        request, look, await comment_views.replies(gateway_of(request).sources, look, comment_id, params)
    )


@router.patch(
    "/comments/{comment_id}",
    **operation(
        "Say it differently.",
        schemas.Comment,
        body=EditComment,
        headers=CAREFUL,
        kinds=["forbidden", "edit-window-over", "discussion-closed"],
    ),
)
async def edit(request: Request, look: SignedIn, comment_id: str) -> Response:
    body = await body_of(request)
    answer = await forward(request, look, _owner(request), comment_views.path_of(comment_id), body=body)
    return await _written(request, look, answer)


@router.delete(
    "/comments/{comment_id}",
    **operation("Remove a comment.", status=204, headers=CAREFUL, kinds=["forbidden"]),
)
async def remove(request: Request, look: SignedIn, comment_id: str) -> Response:
    answer = await forward(request, look, _owner(request), comment_views.path_of(comment_id))
    await _evict(request, look, comment_id)
    return responses.empty(answer)


async def moderate(request: Request, look: SignedIn, comment_id: str) -> Response:
    step = request.scope["path"].rpartition("/")[2]
    answer = await forward(request, look, _owner(request), f"{comment_views.path_of(comment_id)}/{step}")
    return await _written(request, look, answer)


for step, summary in STEPS.items():
    router.add_api_route(
        f"/comments/{{comment_id}}/{step}",
        moderate,
        methods=["POST"],
        name=step,
        **operation(summary, schemas.Comment, headers=ONCE, kinds=["forbidden", "wrong-state"]),
    )


def _owner(request: Request) -> Upstream:
    return gateway_of(request).sources.upstreams.comments


async def _evict(request: Request, look: Look, comment_id: str) -> None:
    """What a removal changed; its answer is empty, so the owner is asked whose it was."""
    changed = gateway_of(request).changed
    try:
        answer = await _owner(request).send(
            "POST", "/comments/lookup", NOBODY, look.deadline, body={"ids": [comment_id]}
        )
        for item in answer.json()["items"]:
            changed.comment(item["post_id"], item["author_id"])
    except Problem:
        changed.anything()


async def _written(request: Request, look: Look, answer: ServiceResponse) -> Response:
    gateway, raw = gateway_of(request), answer.json()
    gateway.changed.comment(raw["post_id"], raw["author_id"])
    return responses.written(look, answer, await comment_views.dressed(gateway.sources, look, raw))
