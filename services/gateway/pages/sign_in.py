"""Sign in and out with the cookie of our own pages."""

import re
import secrets
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, unavailable
from services.contracts.ids import is_id
from services.gateway.access.authentication import NOBODY
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import (
    OptionalViewer,
    SigningIn,
    Unauthenticated,
    count_sign_in,
    end_session,
    forget_session,
)
from services.gateway.pages.forms import fields, require_our_page
from services.gateway.pages.render import HEADERS, PageRoute, page, redirect, viewer_author
from services.gateway.settings import GatewaySettings

router = APIRouter(route_class=PageRoute, include_in_schema=False)

COOKIE_DAYS = 30
BACK = "rapport_back"
BACK_SECONDS = 900  # longer than a link lives
OUR_PATH = re.compile(r"/posts/[A-Za-z0-9._~%-]{1,2000}")  # as `post_path` writes it; never another site
NONCE = "rapport_nonce"
NONCE_SECONDS = 1_800  # longer than a mail may take and its link lives
SECRET = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 random bits: of a link, a session, a nonce


@router.get("/sign-in")
async def ask(request: Request, context: OptionalViewer) -> Response:
    """Show the form; a cookie keeps the post the reader came from until the link in the mail is used."""
    viewer = await viewer_author(context)
    answer = page("sign_in.html", viewer=viewer, error=None, email="", name="", registering=False, key=uuid4())
    settings = gateway_of(request).settings
    origin, came_from = settings.origin, request.headers.get("referer", "")
    back = came_from.removeprefix(origin).partition("?")[0]
    if came_from.startswith(origin + "/") and OUR_PATH.fullmatch(back):
        answer.headers.append("Set-Cookie", _back_cookie(settings, back, BACK_SECONDS))
    return answer


@router.post("/sign-in")
async def send_link(request: Request, context: SigningIn) -> Response:
    return await _ask_for_mail(request, context, "/sign-in", ("email",))


@router.post("/register")
async def register(request: Request, context: SigningIn) -> Response:
    return await _ask_for_mail(request, context, "/people", ("name", "email"))


async def _ask_for_mail(request: Request, context: RequestContext, path: str, names: tuple[str, ...]) -> Response:
    require_our_page(request)
    form = await fields(request)
    body, key = {name: form.get(name, "") for name in names}, form.get("key", "")
    headers = {"Idempotency-Key": key} if is_id(key) else {}
    try:
        await count_sign_in(request, body["email"].strip().casefold())
        answer = await context.upstreams.people.send("POST", path, NOBODY, context.deadline, body=body, headers=headers)
    except Problem as problem:
        return page(
            "sign_in.html", status=problem.status, headers=problem.headers, error=problem.detail,
            email=body["email"], name=body.get("name", ""), registering=path == "/people", key=uuid4(),
        )  # fmt: skip
    shown = page("check_mail.html", status=202, request=answer.json().get("request"), error=None, code="")
    return _with_nonce(request, shown)


@router.get("/sign-in/code")
async def ask_again() -> Response:
    """Lead somebody who reloads the answer to a code back to the form: which mail it was is in that form alone."""
    return redirect("/sign-in")


@router.post("/sign-in/code")
async def use_code(request: Request, context: SigningIn) -> Response:
    require_our_page(request)
    form = await fields(request)
    asked, code = form.get("request", ""), form.get("code", "")
    command = {"request": asked, "code": code, **_browser(request)}
    try:
        answer = await context.upstreams.people.send(
            "POST", "/sessions/by-code", NOBODY, context.deadline, body=command
        )
    except Problem as problem:
        shown = page(
            "check_mail.html", status=problem.status, headers=problem.headers, error=problem.detail,
            request=asked, code=code,
        )  # fmt: skip
        return _with_nonce(request, shown)
    return _entered(request, answer.json())


@router.get("/sign-in/{token}")
async def link(request: Request, context: Unauthenticated, token: str) -> Response:
    """Show the button, and change nothing, however often a mail scanner fetches it.

    The page names the front end to which the button leads back. Browsers apply `form-action` to that redirect too.
    """
    origin = await _return_origin(context, token)
    headers = {} if origin is None else {"Content-Security-Policy": _policy(origin)}
    return _with_nonce(request, page("sign_in_link.html", headers=headers, token=token, origin=origin))


@router.post("/sign-in/{token}")
async def use_link(request: Request, context: SigningIn, token: str) -> Response:
    require_our_page(request)
    command = {"token": token, **_browser(request)}
    answer = await context.upstreams.people.send("POST", "/sessions", NOBODY, context.deadline, body=command)
    return _entered(request, answer.json())


@router.post("/sign-out")
async def sign_out(request: Request, context: OptionalViewer) -> Response:
    """End the session; a second press finds it ended and leads to the same page."""
    require_our_page(request)
    viewer = context.viewer
    if not viewer.sure:
        raise unavailable("Who you are could not be checked in time.")
    if viewer.person_id is not None and viewer.session_id is not None:
        body = {"session_id": viewer.session_id}
        await context.upstreams.people.send("DELETE", "/sessions/current", viewer.caller, context.deadline, body=body)
        end_session(request, viewer.session_id)
    else:
        forget_session(request)
    return redirect("/", _session_cookie(gateway_of(request).settings, "", 0))


async def _return_origin(context: RequestContext, token: str) -> str | None:
    """Return the origin of the front end elsewhere to which a link leads back."""
    if not SECRET.fullmatch(token):
        return None
    answer = await context.upstreams.people.send(
        "POST", "/sign-in/lookup", NOBODY, context.deadline, body={"token": token}
    )
    return_to: str | None = answer.json()["return_to"]
    if return_to is None:
        return None
    parts = urlsplit(return_to)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _policy(origin: str) -> str:
    # CSP has no form for an IPv6 address (W3C CSP3, section 2.3.1), so for one its scheme stands there alone.
    source = origin.partition("//")[0] if "[" in origin else origin
    return HEADERS["Content-Security-Policy"].replace("form-action 'self'", f"form-action 'self' {source}")


def _browser(request: Request) -> Json:
    """Return what people must know of the browser that gets a cookie: its nonce, and the session it has."""
    own = gateway_of(request).authentication.cookie(request)
    found = {"nonce": request.cookies.get(NONCE), "replaces": own}
    return {"cookie": True} | {name: value for name, value in found.items() if value and SECRET.fullmatch(value)}


def _with_nonce(request: Request, answer: Response) -> Response:
    """Give the browser a nonce, so that of two presses of a button the second gets what the first got.

    One that it has is kept: its other tabs may be about to send it.
    """
    kept = request.cookies.get(NONCE, "")
    nonce = kept if SECRET.fullmatch(kept) else secrets.token_urlsafe(32)
    attributes = _attributes(gateway_of(request).settings, NONCE_SECONDS)
    answer.headers.append("Set-Cookie", f"{NONCE}={nonce}; Path=/sign-in; {attributes}")
    return answer


def _entered(request: Request, entered: Json) -> Response:
    """Lead a browser that has signed in back to where it came from, or to the front end elsewhere that asked."""
    if "return_to" in entered:
        return redirect(f"{entered['return_to']}#code={entered['code']}")
    if entered.get("ended"):
        end_session(request, entered["ended"])
    settings, back = gateway_of(request).settings, request.cookies.get(BACK)
    came_from = back if back and OUR_PATH.fullmatch(back) else "/"
    done = redirect(came_from, _session_cookie(settings, entered["session_id"], COOKIE_DAYS * 86_400))
    if back is not None:
        done.headers.append("Set-Cookie", _back_cookie(settings, "", 0))
    return done


def _session_cookie(settings: GatewaySettings, value: str, seconds: int) -> dict[str, str]:
    return {"Set-Cookie": f"{settings.cookie_name}={value}; Path=/; {_attributes(settings, seconds)}"}


def _back_cookie(settings: GatewaySettings, path: str, seconds: int) -> str:
    return f"{BACK}={path}; Path=/sign-in; {_attributes(settings, seconds)}"


def _attributes(settings: GatewaySettings, seconds: int) -> str:
    return f"Max-Age={seconds}; HttpOnly; SameSite=Lax" + ("; Secure" if settings.secure else "")
