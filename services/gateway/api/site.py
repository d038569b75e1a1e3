"""Whose site this is: `/v1/site`."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import responses
from services.gateway.apidocs.operations import operation
from services.gateway.apidocs.schemas import shared as schemas
from services.gateway.composition.request_context import Composed
from services.gateway.gateway import gateway_of
from services.gateway.guards import OptionalViewer, PublicRoute
from services.gateway.languages import LANGUAGES

router = APIRouter(prefix="/v1", tags=["posts"], route_class=PublicRoute)


@router.get("/site", **operation("getSite", "Get the site's name", schemas.SiteNames, headers=["If-None-Match"]))
async def site(request: Request, context: OptionalViewer) -> Response:
    settings = gateway_of(request).settings
    shown = {
        "name": settings.site_name.strip(),
        "tagline": settings.site_tagline.strip(),
        "url": context.public_url.rstrip("/"),
        "picture_url": None,
        "language": settings.site_language,
        "languages": list(LANGUAGES),
    }
    return responses.read(request, context, Composed(shown))
