"""Sign in and out with the cookie of our own pages."""

import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.http.routes import body_limit
from services.gateway.access.authentication import NOBODY
from services.gateway.composition.request_context import RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import OptionalViewer, SignedIn, SigningIn, count_sign_in, end_session, forget_session
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back, require_our_page, typed
from services.gateway.pages.openers import require_opener
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page, redirect, viewer_author
from services.gateway.settings import GatewaySettings

router = APIRouter(route_class=PageRoute, include_in_schema=False)

COOKIE_DAYS = 30
BACK = "rapport_back"
BACK_SECONDS = 900  # longer than a link lives
# A post, as `post_path` writes it, or a text that waits; never another site.
OUR_PATH = re.compile(r"/posts/[A-Za-z0-9._~%-]{1,2000}|/draft")


@router.get("/sign-in")
async def ask(request: Request, context: OptionalViewer) -> Response:
    """Show the form; a cookie keeps the post the reader came from until the link in the mail is used."""
    viewer = await viewer_author(context)
    answer = page("sign_in.html", viewer=viewer, refusal=None, email="", name="", registering=False)
    settings = gateway_of(request).settings
    origin, came_from = settings.origin, request.headers.get("referer", "")
    back = came_from.removeprefix(origin).partition("?")[0]
    if came_from.startswith(origin + "/") and OUR_PATH.fullmatch(back):
        answer.headers.append("Set-Cookie", back_cookie(settings, back, BACK_SECONDS))
    return answer


async def ask_again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show a refused form to sign in or to register anew."""
    return page(
        "sign_in.html", status=refusal.status, headers=refusal.headers, refusal=refusal,
        email=form.get("email", ""), name=form.get("name", ""), registering=request.scope["path"] == "/register",
    )  # fmt: skip


@router.post("/sign-in")
@body_limit(READ_BYTES)
@gives_back(ask_again)
async def send_link(request: Request, context: SigningIn) -> Response:
    return await _ask_for_mail(request, context, "/sign-in", ("email",))


@router.post("/register")
@body_limit(READ_BYTES)
@gives_back(ask_again)
async def register(request: Request, context: SigningIn) -> Response:
    return await _ask_for_mail(request, context, "/people", ("name", "email"))


async def _ask_for_mail(request: Request, context: RequestContext, path: str, names: tuple[str, ...]) -> Response:
    require_our_page(request)
    form = await fields(request)
    body = {name: form.get(name, "") for name in names}
    await count_sign_in(request, body["email"].strip().casefold())
    await context.upstreams.people.send("POST", path, NOBODY, context.deadline, body=body)
    return page("check_mail.html", status=202)


@router.get("/sign-in/{token}")
async def link(token: str) -> Response:
    """Show the button, and change nothing, however often a mail scanner fetches it."""
    return page("sign_in_link.html", token=token, refusal=None)


async def link_again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the button anew, or where to ask for another link."""
    token = request.path_params["token"]
    return page("sign_in_link.html", status=refusal.status, headers=refusal.headers, token=token, refusal=refusal)


@router.post("/sign-in/{token}")
@gives_back(link_again)
async def use_link(request: Request, context: SigningIn, token: str) -> Response:
    require_our_page(request)
    settings, command = gateway_of(request).settings, {"token": token, "cookie": True}
    answer = await context.upstreams.people.send("POST", "/sessions", NOBODY, context.deadline, body=command)
    back = request.cookies.get(BACK)
    came_from = back if back and OUR_PATH.fullmatch(back) else "/"
    done = redirect(came_from, _session_cookie(settings, answer.json()["session_id"], COOKIE_DAYS * 86_400))
    if back is not None:
        done.headers.append("Set-Cookie", back_cookie(settings, "", 0))
    return done


async def sign_out_again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the button anew; who is signed out already sees the front page."""
    if refusal.wants_sign_in:
        forget_session(request)
        return redirect("/", _session_cookie(gateway_of(request).settings, "", 0))
    return page("sign_out.html", status=refusal.status, headers=refusal.headers, refusal=refusal)


@router.post("/sign-out")
@gives_back(sign_out_again)
async def sign_out(request: Request, context: SignedIn) -> Response:
    viewer = context.viewer
    await require_opener(context, (await typed(request)).get("for"))
    if viewer.session_id is not None:
        body = {"session_id": viewer.session_id}
        await context.upstreams.people.send("DELETE", "/sessions/current", viewer.caller, context.deadline, body=body)
        end_session(request, viewer.session_id)
    else:
        forget_session(request)
    return redirect("/", _session_cookie(gateway_of(request).settings, "", 0))


def _session_cookie(settings: GatewaySettings, value: str, seconds: int) -> dict[str, str]:
    return {"Set-Cookie": f"{settings.cookie_name}={value}; Path=/; {cookie_attributes(settings, seconds)}"}


def back_cookie(settings: GatewaySettings, path: str, seconds: int) -> str:
    """Return the cookie that keeps where signing in leads back to."""
    return f"{BACK}={path}; Path=/sign-in; {cookie_attributes(settings, seconds)}"


def cookie_attributes(settings: GatewaySettings, seconds: int) -> str:
    """Return the attributes of a cookie of our pages."""
    return f"Max-Age={seconds}; HttpOnly; SameSite=Lax" + ("; Secure" if settings.secure else "")
