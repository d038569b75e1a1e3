"""Pictures of posts: `/v1/images`."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem
from services.chassis.http.picture_body import read_picture
from services.chassis.http.routes import body_limit
from services.chassis.pictures.kinds import KINDS
from services.contracts.body_sizes import IMAGE_BYTES
from services.contracts.people import is_author
from services.gateway import responses
from services.gateway.apidocs.operations import operation
from services.gateway.apidocs.schemas.images import Image, PictureFile
from services.gateway.composition import representations
from services.gateway.composition.forwarding import forward, headers_of
from services.gateway.guards import PublicRoute, Uploading

router = APIRouter(prefix="/v1/images", tags=["posts"], route_class=PublicRoute)


@router.post(
    "",
    **operation(
        "createImage",
        "Store a picture",
        Image,
        status=201,
        body=PictureFile,
        media_types=KINDS,
        headers=["Idempotency-Key"],
        kinds=["forbidden"],
    ),
)
@body_limit(IMAGE_BYTES)
async def create(request: Request, context: Uploading) -> Response:
    if not is_author(context.viewer.caller.roles):  # before megabytes are read that posts would refuse
        raise Problem("forbidden", "Only authors may store pictures.")
    data, kind = await read_picture(request, IMAGE_BYTES)
    headers = headers_of(request, ["Idempotency-Key"]) | {"Content-Type": kind}
    answer = await forward(request, context, context.upstreams.posts, "/images", body=data, headers=headers)
    shown = representations.image(answer.json(), context.public_url)
    return responses.not_stored(shown, answer.status, responses.passed_on(answer))
