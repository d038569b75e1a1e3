"""Serve the description of the API: `/openapi.json` for programs, `/docs` for people; nothing comes from elsewhere."""

import asyncio
import hashlib
from importlib.resources import files
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.contracts.event import registry
from services.contracts.problems import KINDS, MEANINGS
from services.gateway.access import rate_limits
from services.gateway.apidocs.document import describe
from services.gateway.gateway import gateway_of
from services.gateway.guards import Unauthenticated
from services.gateway.languages import current
from services.gateway.pages import reference
from services.gateway.pages.render import PageRoute, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Json = dict[str, Any]

STYLE = (files("services.gateway") / "static" / "docs.css").read_bytes()
STYLE_PATH = f"/static/docs-{hashlib.sha256(STYLE).hexdigest()[:12]}.css"
KEPT = {"Cache-Control": "public, max-age=60"}
POLICIES = (
    rate_limits.READING,
    rate_limits.POSTING,
    rate_limits.SIGN_IN,
    rate_limits.SIGN_IN_PER_ADDRESS,
    rate_limits.SESSION,
    rate_limits.REFRESH,
)


async def document_of(request: Request, public_url: str) -> Json:
    """Return the OpenAPI document, made once per process; in a thread, because it takes as long as many requests."""
    state = request.app.state
    if not hasattr(state, "document"):
        state.document = await asyncio.to_thread(describe, request.app, public_url)
    document: Json = state.document
    return document


@router.get("/openapi.json")
async def openapi(request: Request, context: Unauthenticated) -> Response:
    headers = {"Access-Control-Allow-Origin": "*", **KEPT}
    return Response(orjson.dumps(await document_of(request, context.public_url)), 200, headers, "application/json")


@router.get("/docs")
async def docs(request: Request, context: Unauthenticated) -> Response:
    """Return the guide and the reference, made once for each language and as long as its head leads to the same pages;
    `?open=all` unfolds it, to print or search.
    """
    unfolded, pages = request.query_params.get("open") == "all", gateway_of(request).navigation.pages
    state = request.app.state
    if getattr(state, "docs_lead_to", None) != pages:
        state.docs, state.docs_lead_to = {}, pages
    kept: dict[Any, Response] = state.docs
    made_for = unfolded, current()  # the guide is English, what stands around it is not
    if made_for not in kept:
        document = await document_of(request, context.public_url)
        kept[made_for] = await asyncio.to_thread(_page, document, context.public_url, unfolded=unfolded)
    made = kept[made_for]
    return Response(made.body, 200, dict(made.headers))


@router.get(STYLE_PATH)
async def style() -> Response:
    return Response(STYLE, 200, {"Cache-Control": "public, max-age=31536000, immutable"}, "text/css; charset=utf-8")


def _page(document: Json, public_url: str, *, unfolded: bool) -> Response:
    kinds = [(name, KINDS[name], MEANINGS[name]) for name in MEANINGS]
    return page(
        "docs.html",
        headers={"Cache-Control": "public, no-cache"},  # it names a style sheet that another version does not have
        docs_style=STYLE_PATH,
        unfolded=unfolded,
        info=document["info"],
        base=public_url.rstrip("/"),
        groups=reference.operations_by_tag(document),
        schemas=reference.schemas(document),
        headers_=document["components"]["headers"],
        kinds=sorted(kinds, key=lambda kind: kind[1].status),
        policies=POLICIES,
        events=sorted(registry().values(), key=lambda event: event.type),
        prose=reference.prose,
    )
