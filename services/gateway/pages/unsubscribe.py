"""Unsubscribe from notification mail by one click, without cookie or sign-in (RFC 8058)."""

from dataclasses import replace

from fastapi import APIRouter
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import invalid
from services.chassis.http.requests import read_body
from services.gateway.access.authentication import NOBODY
from services.gateway.guards import Unauthenticated
from services.gateway.languages import N_
from services.gateway.pages.forms import URLENCODED, Fields, gives_back, media_type
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)

ONE_CLICK_BYTES = 4096
FORMS = (URLENCODED, "multipart/form-data")


@router.get("/unsubscribe/{token}")
async def ask(request: Request, context: Unauthenticated, token: str) -> Response:
    """Show the button, and change nothing."""
    await context.upstreams.notify.get(f"/unsubscribe/{token}", NOBODY, context.deadline)
    return page("unsubscribe.html", token=token, done=False, refusal=None)


async def again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the button anew."""
    token = request.path_params["token"]
    return page(
        "unsubscribe.html", status=refusal.status, headers=refusal.headers, token=token, done=False, refusal=refusal
    )


@router.post("/unsubscribe/{token}")
@gives_back(again)
async def unsubscribe(request: Request, context: Unauthenticated, token: str) -> Response:
    if not await _is_one_click(request):
        refusal = Refusal.of(invalid("", N_("This did not come from the button of this page. Press it again.")))
        return await again(request, {}, replace(refusal, status=400))
    await context.upstreams.notify.send("POST", f"/unsubscribe/{token}", NOBODY, context.deadline)
    return page("unsubscribe.html", token=token, done=True, refusal=None)


async def _is_one_click(request: Request) -> bool:
    if media_type(request) not in FORMS:
        return False
    await read_body(request, ONE_CLICK_BYTES)
    try:
        async with request.form(max_files=0, max_fields=4) as form:
            return form.getlist("List-Unsubscribe") == ["One-Click"]
    except (MultiPartException, ValueError):
        return False
