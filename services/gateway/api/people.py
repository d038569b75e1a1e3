"""People: public profiles, and one's own account."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.http.picture_body import read_picture
from services.chassis.http.routes import body_limit
from services.chassis.pictures.kinds import KINDS
from services.contracts.body_sizes import AVATAR_BYTES
from services.contracts.people import EditMe
from services.gateway import responses
from services.gateway.api.references import PathId
from services.gateway.apidocs.operations import operation
from services.gateway.apidocs.schemas import people as schemas
from services.gateway.apidocs.schemas.export import Export as Everything
from services.gateway.apidocs.schemas.images import PictureFile
from services.gateway.composition import export, profile_views, representations
from services.gateway.composition.forwarding import body_of, forward, headers_of
from services.gateway.composition.request_context import Composed, RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import Exporting, OptionalViewer, PublicRoute, SignedIn, Uploading
from services.gateway.sessions import forget_session

router = APIRouter(prefix="/v1", tags=["people"], route_class=PublicRoute)

CACHED = ("If-None-Match",)


@router.get(
    "/people/{person_id}",
    **operation("getPerson", "Get the profile of a person", schemas.Profile, headers=CACHED),
)
async def profile(request: Request, context: OptionalViewer, person_id: PathId) -> Response:
    return responses.read(request, context, await profile_views.profile(context, person_id))


@router.get("/me", **operation("getMe", "Get my profile", schemas.Me, headers=CACHED))
async def me(request: Request, context: SignedIn) -> Response:
    raw = await context.upstreams.people.get("/me", context.viewer.caller, context.deadline)
    return responses.read(request, context, Composed(representations.me(raw, context.public_url)))


@router.patch("/me", **operation("editMe", "Update my profile", schemas.Me, body=EditMe, headers=["Idempotency-Key"]))
async def rename(request: Request, context: SignedIn) -> Response:
    body = await body_of(request)
    answer = await forward(request, context, context.upstreams.people, "/me", body=body)
    _forget(request, context)
    return responses.written(context, answer, Composed(representations.me(answer.json(), context.public_url)))


@router.get("/me/export", **operation("exportMe", "Export everything that is kept of me", Everything))
async def export_me(request: Request, context: Exporting) -> Response:
    return responses.ExportResponse(await export.gather(context, gateway_of(request).exports))


@router.put(
    "/me/avatar",
    **operation(
        "setAvatar",
        "Set my picture",
        schemas.Me,
        body=PictureFile,
        media_types=KINDS,
        headers=["Idempotency-Key"],
    ),
)
@body_limit(AVATAR_BYTES)
async def set_avatar(request: Request, context: Uploading) -> Response:
    data, kind = await read_picture(request, AVATAR_BYTES)
    headers = headers_of(request, ["Idempotency-Key"]) | {"Content-Type": kind}
    answer = await forward(request, context, context.upstreams.people, "/me/avatar", body=data, headers=headers)
    _forget(request, context)
    return responses.written(context, answer, Composed(representations.me(answer.json(), context.public_url)))


@router.delete("/me/avatar", **operation("deleteAvatar", "Take my picture away", status=204))
async def delete_avatar(request: Request, context: SignedIn) -> Response:
    answer = await forward(request, context, context.upstreams.people, "/me/avatar", headers={})
    _forget(request, context)
    return responses.empty(answer)


@router.delete("/me", **operation("deleteMe", "Delete the account", schemas.Accepted, status=202))
async def erase(request: Request, context: SignedIn) -> Response:
    answer = await forward(request, context, context.upstreams.people, "/me", headers={})
    gateway_of(request).revocations.end(context.viewer.caller.require_person())
    _forget(request, context)
    return responses.not_stored(answer.json() if answer.data else {"status": "accepted"}, 202)


def _forget(request: Request, context: RequestContext) -> None:
    responses.invalidation(request).person(str(context.viewer.person_id))
    forget_session(request)
