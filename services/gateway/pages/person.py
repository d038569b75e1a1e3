"""Show a person: what they say of themselves, and what they published."""

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import not_found
from services.contracts.ids import id_or_none
from services.contracts.links import person_path
from services.gateway.caching.cacheable import offer_to_cache
from services.gateway.composition import post_views, profile_views
from services.gateway.composition.forwarding import query_of
from services.gateway.composition.representations import absolute
from services.gateway.guards import OptionalViewer
from services.gateway.pages.render import PageRoute, page, viewer_author

router = APIRouter(route_class=PageRoute, include_in_schema=False)

LISTED = "20"


@router.get("/people/{person_id}")
async def person(request: Request, context: OptionalViewer, person_id: str) -> Response:
    found = id_or_none(person_id)
    if found is None:
        raise not_found()
    params = {"author": found, "limit": LISTED, **query_of(request, "cursor")}
    profile, listed = await asyncio.gather(profile_views.profile(context, found), post_views.listed(context, params))
    offer_to_cache(request, context)
    return page(
        "person.html",
        viewer=await viewer_author(context),
        person=profile.data,
        posts=listed.data["items"],
        next=listed.data["next"],
        is_later="cursor" in request.query_params,
        url=absolute(context.public_url, person_path(found)),
    )
