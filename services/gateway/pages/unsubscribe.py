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
from services.gateway.pages.mail_choices import before_of, settings_of
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)

ONE_CLICK_BYTES = 4096
FORMS = (URLENCODED, "multipart/form-data")


@router.get("/unsubscribe/{token}")
async def ask(request: Request, context: Unauthenticated, token: str) -> Response:
    """Show the button, and change nothing."""
    settings = await settings_of(context, token)
    return _shown(token, settings["about"])


async def again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the button anew."""
    return _shown(request.path_params["token"], form.get("about", "comments"), refusal=refusal)


@router.post("/unsubscribe/{token}")
@gives_back(again)
async def unsubscribe(request: Request, context: Unauthenticated, token: str) -> Response:
    if not await _is_one_click(request):
        refusal = Refusal.of(invalid("", N_("This did not come from the button of this page. Press it again.")))
        return await again(request, {}, replace(refusal, status=400))
    answer = await context.upstreams.notify.send("POST", f"/unsubscribe/{token}", NOBODY, context.deadline)
    chosen = answer.json()
    return _shown(token, chosen.get("about", "comments"), done=True, before=before_of(chosen))


def _shown(
    token: str, about: str, *, done: bool = False, before: str | None = None, refusal: Refusal | None = None
) -> Response:
    return page(
        "unsubscribe.html",
        status=refusal.status if refusal else 200,
        headers=refusal.headers if refusal else None,
        token=token,
        about=about,
        done=done,
        before=before,
        refusal=refusal,
    )


async def _is_one_click(request: Request) -> bool:
    if media_type(request) not in FORMS:
        return False
    await read_body(request, ONE_CLICK_BYTES)
    try:
        async with request.form(max_files=0, max_fields=4) as form:
            return form.getlist("List-Unsubscribe") == ["One-Click"]
    except (MultiPartException, ValueError):
        return False
