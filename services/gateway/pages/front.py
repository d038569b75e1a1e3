"""Show the published posts, newest first."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.caching.cacheable import offer_to_cache
from services.gateway.composition import post_views
from services.gateway.composition.forwarding import query_of
from services.gateway.guards import OptionalViewer
from services.gateway.pages.render import PageRoute, page, viewer_author

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/")
async def front(request: Request, context: OptionalViewer) -> Response:
    listed = (await post_views.listed(context, {"limit": "20", **query_of(request, "cursor")})).data
    offer_to_cache(request, context)
    return page(
        "front.html",
        viewer=await viewer_author(context),
        posts={"items_": listed["items"], "next": listed["next"]},
        is_later="cursor" in request.query_params,
    )
