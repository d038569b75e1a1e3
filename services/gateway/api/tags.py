"""Tags of posts: `/v1/tags`."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import responses
from services.gateway.apidocs.operations import operation
from services.gateway.apidocs.schemas.posts import TagCounts
from services.gateway.composition import post_views
from services.gateway.composition.forwarding import query_of
from services.gateway.guards import OptionalViewer, PublicRoute

router = APIRouter(prefix="/v1/tags", tags=["posts"], route_class=PublicRoute)


@router.get(
    "",
    **operation("listTags", "List tags", TagCounts, query=["cursor", "limit"], headers=["If-None-Match"]),
)
async def listed(request: Request, context: OptionalViewer) -> Response:
    return responses.read(request, context, await post_views.tags(context, query_of(request, "cursor", "limit")))
