"""Explain each kind of problem, at the address that is its `type`."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import not_found
from services.contracts.problems import KINDS, MEANINGS
from services.gateway.guards import Unauthenticated
from services.gateway.pages.render import PageRoute, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)

HEADERS = {"Cache-Control": "public, max-age=3600"}


@router.get("/problems")
async def kinds(request: Request, _: Unauthenticated) -> Response:
    return _explained(*MEANINGS)


@router.get("/problems/{kind}")
async def kind(request: Request, _: Unauthenticated, kind: str) -> Response:
    if kind not in MEANINGS:
        raise not_found()
    return _explained(kind)


def _explained(*kinds: str) -> Response:
    listed = [(kind, KINDS[kind], MEANINGS[kind]) for kind in kinds]
    return page("problem_kinds.html", kinds=listed, headers=HEADERS)
