"""Whose site this is: `/v1/site`."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import responses
from services.gateway.apidocs.operations import operation
from services.gateway.apidocs.schemas import shared as schemas
from services.gateway.composition.representations import absolute
from services.gateway.composition.request_context import Composed
from services.gateway.gateway import gateway_of
from services.gateway.guards import OptionalViewer, PublicRoute
from services.gateway.languages import LANGUAGES

router = APIRouter(prefix="/v1", tags=["posts"], route_class=PublicRoute)


@router.get("/site", **operation("getSite", "Get the site's name", schemas.SiteNames, headers=["If-None-Match"]))
async def site(request: Request, context: OptionalViewer) -> Response:
    site = gateway_of(request).site
    shown = {
        "name": site.name,
        "tagline": site.tagline,
        "url": site.url,
        "picture_url": absolute(site.url, site.picture.path if site.picture else None),
        "language": site.language,
        "languages": list(LANGUAGES),
    }
    return responses.read(request, context, Composed(shown))
