"""Choose the language of the pages: a form at the end of each, whose choice a cookie keeps."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import invalid
from services.chassis.http.routes import body_limit
from services.gateway.gateway import gateway_of
from services.gateway.guards import Unauthenticated
from services.gateway.languages import LANGUAGES, N_
from services.gateway.pages import cookies
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back, require_our_page
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page, redirect

router = APIRouter(route_class=PageRoute, include_in_schema=False)

PATH = "/language"
LONGEST_ADDRESS = 4_096


async def again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Say why the language stays; every page has the form."""
    back = page_before(request)
    return page("refused.html", status=refusal.status, headers=refusal.headers, refusal=refusal, back=back)


@router.post(PATH)
@body_limit(READ_BYTES)
@gives_back(again)
async def choose(request: Request, _: Unauthenticated) -> Response:
    """Keep the choice, and lead back to the same page."""
    require_our_page(request)
    code = (await fields(request)).get("language", "")
    if code not in LANGUAGES:
        raise invalid("", N_("Choose one of what is offered."))
    return redirect(page_before(request), {"Set-Cookie": cookies.language(gateway_of(request).settings, code)})


def page_before(request: Request) -> str:
    """Return the address on this site from which the form was sent; the front page if the browser does not say."""
    origin, referrer = gateway_of(request).settings.origin, request.headers.get("referer", "")
    address = referrer.removeprefix(origin).partition("#")[0]
    is_ours = referrer.startswith(f"{origin}/") and not address.startswith("//") and len(address) <= LONGEST_ADDRESS
    return address if is_ours and address.isascii() and not address.startswith(PATH) else "/"
