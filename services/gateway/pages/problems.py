"""Explain each kind of problem, at the address that is its `type`."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import not_found
from services.contracts.problems import KINDS
from services.gateway.guards import Unauthenticated
from services.gateway.pages.render import PageRoute, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)

PUBLIC = {name: kind for name, kind in KINDS.items() if kind.meaning is not None}


@router.get("/problems")
async def kinds(request: Request, _: Unauthenticated) -> Response:
    return page("problem_kinds.html", kinds=list(PUBLIC.items()), headers={"Cache-Control": "public, max-age=3600"})


@router.get("/problems/{kind}")
async def kind(request: Request, _: Unauthenticated, kind: str) -> Response:
    if kind not in PUBLIC:
        raise not_found()
    return page("problem_kinds.html", kinds=[(kind, PUBLIC[kind])], headers={"Cache-Control": "public, max-age=3600"})
