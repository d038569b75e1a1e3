"""The imprint and the privacy page of the site, if its settings name their texts."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import not_found
from services.gateway.composition.request_context import Json
from services.gateway.guards import OptionalViewer
from services.gateway.languages import gettext
from services.gateway.pages.render import PageRoute, page, shown_site, viewer_author

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/imprint")
async def imprint(request: Request, context: OptionalViewer) -> Response:
    return _shown(gettext("Imprint"), shown_site().imprint, await viewer_author(context))


@router.get("/privacy")
async def privacy(request: Request, context: OptionalViewer) -> Response:
    return _shown(gettext("Privacy"), shown_site().privacy, await viewer_author(context))


def _shown(title: str, html: str | None, viewer: Json | None) -> Response:
    if html is None:
        raise not_found()
    return page("site_page.html", viewer=viewer, title=title, html=html)
