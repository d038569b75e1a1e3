"""Say what a feed is for, with its address to be copied: browsers show the feed itself as text for programs."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import not_found
from services.contracts.ids import id_or_none
from services.contracts.links import person_path, tag_path
from services.gateway.composition import syndication
from services.gateway.composition.request_context import RequestContext
from services.gateway.guards import OptionalViewer
from services.gateway.pages.render import PageRoute, page, viewer_author

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/feed")
async def of_site(request: Request, context: OptionalViewer) -> Response:
    return await _shown(context, "/feed.atom", "/")


@router.get("/tags/{tag}/feed")
async def of_tag(request: Request, context: OptionalViewer, tag: str) -> Response:
    spelled, _ = await syndication.tagged(context, tag)
    return await _shown(context, f"{tag_path(spelled)}/feed.atom", tag_path(spelled), spelled)


@router.get("/people/{person_id}/feed")
async def of_person(request: Request, context: OptionalViewer, person_id: str) -> Response:
    found = id_or_none(person_id)
    if found is None:
        raise not_found()
    name, _ = await syndication.of_author(context, found)
    return await _shown(context, f"{person_path(found)}/feed.atom", person_path(found), name)


async def _shown(context: RequestContext, path: str, back: str, title: str = "") -> Response:
    url = context.public_url.rstrip("/") + path
    return page("feed.html", viewer=await viewer_author(context), path=path, url=url, back=back, title=title)
