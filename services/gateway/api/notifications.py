"""What I was, or was not, told; and whether I want to be."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.contracts.notify import EditMail
from services.gateway import responses
from services.gateway.apidocs import schemas
from services.gateway.apidocs.operations import operation
from services.gateway.composition import comment_views, representations
from services.gateway.composition.compose import Composed
from services.gateway.composition.forwarding import body_of, chosen, forward
from services.gateway.gateway import gateway_of
from services.gateway.guards import SignedIn
from services.gateway.routes import PublicRoute

router = APIRouter(prefix="/v1/me", tags=["notifications"], route_class=PublicRoute)

CACHED = ("If-None-Match",)


@router.get(
    "/notifications",
    **operation("Newest first.", schemas.Notifications, query=["cursor", "limit"], headers=CACHED),
)
async def listed(request: Request, look: SignedIn) -> Response:
    raw = await gateway_of(request).sources.upstreams.notify.get(
        "/me/notifications", look.viewer.caller, look.deadline, chosen(request, "cursor", "limit")
    )
    items = [representations.notification(item) for item in raw["items"]]
    return responses.read(request, look, Composed({"items": items, "next": raw["next"]}))


@router.get(
    "/notifications/explain",
    **operation(
        "Why I was, or was not, told of a comment.",
        schemas.Explanation,
        query=["comment"],
        headers=CACHED,
        kinds=["not-found", "invalid"],
    ),
)
async def explain(request: Request, look: SignedIn) -> Response:
    sources = gateway_of(request).sources
    raw = await sources.upstreams.notify.get(
        "/me/notifications/explain", look.viewer.caller, look.deadline, chosen(request, "comment")
    )
    if not raw["heard"]:  # then only what the viewer may see is spoken of
        await sources.upstreams.comments.get(
            comment_views.path_of(raw["comment_id"]), look.viewer.caller, look.deadline
        )
    return responses.read(request, look, Composed(representations.explanation(raw)))


@router.get("/mail", **operation("Whether answers come by mail.", schemas.Mail, headers=CACHED))
async def mail(request: Request, look: SignedIn) -> Response:
    raw = await gateway_of(request).sources.upstreams.notify.get("/me/mail", look.viewer.caller, look.deadline)
    return responses.read(request, look, Composed(representations.mail(raw)))


@router.patch("/mail", **operation("Hear of answers by mail, or not.", schemas.Mail, body=EditMail))
async def edit_mail(request: Request, look: SignedIn) -> Response:
    body = await body_of(request)
    answer = await forward(
        request, look, gateway_of(request).sources.upstreams.notify, "/me/mail", body=body, headers={}
    )
    return responses.unkept(representations.mail(answer.json()))
