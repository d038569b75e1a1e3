"""Serve the files of pictures. Opened by itself, one is nothing but a picture: no script, no frame, no form."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import not_found
from services.contracts.ids import id_or_none
from services.gateway.caching.etags import matches
from services.gateway.guards import Unauthenticated
from services.gateway.pages.render import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

ID_LENGTH = 36
MEDIA_TYPE = "image/webp"
HEADERS = {"Content-Security-Policy": "default-src 'none'; sandbox", "Cross-Origin-Resource-Policy": "cross-origin"}
FOR_EVER = "public, max-age=31536000, immutable"


@router.api_route("/images/{image_id}.webp", methods=["GET", "HEAD"])
async def image(request: Request, context: Unauthenticated, image_id: str) -> Response:
    """Answer with a picture of a post, which is the same as long as it is there."""
    found = id_or_none(image_id)
    if found is None:
        raise not_found()
    posts, nobody = context.upstreams.posts, context.viewer.caller
    headers = HEADERS | {"ETag": f'"{found}"', "Cache-Control": FOR_EVER}
    if matches(request.headers.get("if-none-match"), headers["ETag"]):
        await posts.get(f"/images/{found}/size", nobody, context.deadline)
        return Response(None, 304, headers)
    return Response(await posts.get_bytes(f"/images/{found}", nobody, context.deadline), 200, headers, MEDIA_TYPE)


@router.api_route("/avatars/{name}.webp", methods=["GET", "HEAD"])
async def avatar(request: Request, context: Unauthenticated, name: str) -> Response:
    """Answer with a person's present picture, whichever digest the address names: pages are a little older."""
    found = id_or_none(name[:ID_LENGTH])
    if found is None:
        raise not_found()
    people, nobody = context.upstreams.people, context.viewer.caller
    digest = (await people.get(f"/avatars/{found}/digest", nobody, context.deadline))["digest"]
    headers = HEADERS | {"ETag": f'"{digest}"', "Cache-Control": "public, no-cache"}
    if matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(None, 304, headers)
    return Response(await people.get_bytes(f"/avatars/{found}", nobody, context.deadline), 200, headers, MEDIA_TYPE)
