"""Explain each kind of problem, at the address that is its `type`."""

import json

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import not_found
from services.contracts.problems import KINDS, MEANINGS
from services.gateway.apidocs import examples
from services.gateway.guards import Unauthenticated
from services.gateway.pages.reference import prose
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
    listed = [(kind, KINDS[kind], prose(MEANINGS[kind]), _example(kind)) for kind in kinds]
    return page("problem_kinds.html", kinds=listed, headers=HEADERS)


def _example(kind: str) -> str:
    return json.dumps(examples.problem(kind)["value"], indent=2, ensure_ascii=False)
