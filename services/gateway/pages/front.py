"""The posts, newest first."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.caching.cacheable import offer
from services.gateway.composition import post_views
from services.gateway.composition.forwarding import chosen
from services.gateway.gateway import gateway_of
from services.gateway.guards import Anybody
from services.gateway.pages.render import STYLE, STYLE_PATH, PageRoute, face, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/")
async def front(request: Request, look: Anybody) -> Response:
    composed = await post_views.listed(gateway_of(request).sources, look, {"limit": "20", **chosen(request, "cursor")})
    listed = composed.data
    offer(request, look)
    return page(
        "front.html",
        viewer=await face(request, look),
        posts={"items_": listed["items"], "next": listed["next"]},
    )


@router.get(STYLE_PATH)
async def style() -> Response:
    return Response(STYLE, 200, {"Cache-Control": "public, max-age=31536000, immutable"}, "text/css; charset=utf-8")
