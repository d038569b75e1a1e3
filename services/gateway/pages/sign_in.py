"""Sign in and out with the cookie of our own pages."""

import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem
from services.chassis.http.problems import validated
from services.contracts.people import Register, SignIn
from services.gateway.access.authentication import NOBODY
from services.gateway.composition.request_context import RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import OptionalViewer, SignedIn, SigningIn, ask_for_mail, end_session, forget_session
from services.gateway.pages.forms import fields, require_our_page
from services.gateway.pages.render import PageRoute, page, redirect, viewer_author
from services.gateway.settings import GatewaySettings

router = APIRouter(route_class=PageRoute, include_in_schema=False)

COOKIE_DAYS = 30
BACK = "rapport_back"
BACK_SECONDS = 900  # longer than a link lives
OUR_PATH = re.compile(r"/posts/[A-Za-z0-9._~%-]{1,2000}")  # as `post_path` writes it; never another site


@router.get("/sign-in")
async def ask(request: Request, context: OptionalViewer) -> Response:
    """Show the form; a cookie keeps the post the reader came from until the link in the mail is used."""
    viewer = await viewer_author(context)
    answer = page("sign_in.html", viewer=viewer, error=None, email="", name="", registering=False)
    settings = gateway_of(request).settings
    origin, came_from = settings.origin, request.headers.get("referer", "")
    back = came_from.removeprefix(origin).partition("?")[0]
    if came_from.startswith(origin + "/") and OUR_PATH.fullmatch(back):
        answer.headers.append("Set-Cookie", _back_cookie(settings, back, BACK_SECONDS))
    return answer


@router.post("/sign-in")
async def send_link(request: Request, context: SigningIn) -> Response:
    return await _ask_for_mail(request, context, "/sign-in", SignIn)


@router.post("/register")
async def register(request: Request, context: SigningIn) -> Response:
    return await _ask_for_mail(request, context, "/people", Register)


async def _ask_for_mail(
    request: Request, context: RequestContext, path: str, model: type[Register | SignIn]
) -> Response:
    require_our_page(request)
    form = await fields(request)
    body = {name: form.get(name, "") for name in ("name", "email") if name in model.model_fields}
    try:
        await ask_for_mail(request, context, path, validated(model, body))
    except Problem as problem:
        return page(
            "sign_in.html", status=problem.status, headers=problem.headers, error=problem.detail,
            email=body["email"], name=body.get("name", ""), registering=path == "/people",
        )  # fmt: skip
    return page("check_mail.html", status=202)


@router.get("/sign-in/{token}")
async def link(token: str) -> Response:
    """Show the button, and change nothing, however often a mail scanner fetches it."""
    return page("sign_in_link.html", token=token)


@router.post("/sign-in/{token}")
async def use_link(request: Request, context: SigningIn, token: str) -> Response:
    require_our_page(request)
    settings, command = gateway_of(request).settings, {"token": token, "cookie": True}
    answer = await context.upstreams.people.send("POST", "/sessions", NOBODY, context.deadline, body=command)
    back = request.cookies.get(BACK)
    came_from = back if back and OUR_PATH.fullmatch(back) else "/"
    done = redirect(came_from, _session_cookie(settings, answer.json()["session_id"], COOKIE_DAYS * 86_400))
    if back is not None:
        done.headers.append("Set-Cookie", _back_cookie(settings, "", 0))
    return done


@router.post("/sign-out")
async def sign_out(request: Request, context: SignedIn) -> Response:
    viewer = context.viewer
    if viewer.session_id is not None:
        body = {"session_id": viewer.session_id}
        await context.upstreams.people.send("DELETE", "/sessions/current", viewer.caller, context.deadline, body=body)
        end_session(request, viewer.session_id)
    else:
        forget_session(request)
    return redirect("/", _session_cookie(gateway_of(request).settings, "", 0))


def _session_cookie(settings: GatewaySettings, value: str, seconds: int) -> dict[str, str]:
    return {"Set-Cookie": f"{settings.cookie_name}={value}; Path=/; {_attributes(settings, seconds)}"}


def _back_cookie(settings: GatewaySettings, path: str, seconds: int) -> str:
    return f"{BACK}={path}; Path=/sign-in; {_attributes(settings, seconds)}"


def _attributes(settings: GatewaySettings, seconds: int) -> str:
    return f"Max-Age={seconds}; HttpOnly; SameSite=Lax" + ("; Secure" if settings.secure else "")
