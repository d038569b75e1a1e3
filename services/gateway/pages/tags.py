"""Show the tags of the published posts, and the posts of one of them."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.contracts.links import tag_path
from services.gateway.caching.cacheable import offer_to_cache
from services.gateway.composition import post_views, tag_views
from services.gateway.composition.forwarding import query_of
from services.gateway.composition.representations import absolute
from services.gateway.guards import OptionalViewer
from services.gateway.pages.render import PageRoute, page, viewer_author

router = APIRouter(route_class=PageRoute, include_in_schema=False)

LISTED = "200"


@router.get("/tags")
async def tags(request: Request, context: OptionalViewer) -> Response:
    listed = (await post_views.tags(context, {"limit": LISTED, **query_of(request, "cursor")})).data
    offer_to_cache(request, context)
    return page(
        "tags.html",
        viewer=await viewer_author(context),
        tags=sorted(listed["items"], key=lambda item: item["tag"].casefold()),
        next=listed["next"],
        is_later="cursor" in request.query_params,
        url=absolute(context.public_url, "/tags"),
    )


@router.get("/tags/{tag}")
async def tagged(request: Request, context: OptionalViewer, tag: str) -> Response:
    cursor = request.query_params.get("cursor")
    spelled, listed = await tag_views.posts(context, tag, cursor)
    offer_to_cache(request, context)
    return page(
        "tag.html",
        viewer=await viewer_author(context),
        tag=spelled,
        posts=listed["items"],
        next=listed["next"],
        is_later=bool(cursor),
        url=absolute(context.public_url, tag_path(spelled)),
    )
