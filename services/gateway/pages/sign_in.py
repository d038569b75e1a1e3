"""Sign in and out with the cookie of our own pages."""

import secrets
from contextlib import suppress
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem, unavailable
from services.chassis.http.problems import validated
from services.chassis.http.routes import body_limit
from services.contracts.ids import is_id
from services.contracts.people import BITS_256
from services.gateway.access.authentication import NOBODY
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import AskingForMail, OptionalViewer, SigningIn, Unauthenticated, context_of
from services.gateway.languages import N_, gettext
from services.gateway.mail_requests import Register, SignIn
from services.gateway.pages import came_from, cookies
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back, require_our_page, typed
from services.gateway.pages.openers import require_opener
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import HEADERS, PageRoute, page, redirect, viewer_author
from services.gateway.sessions import ask_for_mail, client_headers, end_session, forget_session
from services.gateway.settings import GatewaySettings

router = APIRouter(route_class=PageRoute, include_in_schema=False)

COOKIE_DAYS = 30
NONCE = "rapport_nonce"


@router.get("/sign-in")
async def ask(request: Request, context: OptionalViewer) -> Response:
    """Show the form; a cookie keeps the page the reader came from until the link in the mail is used."""
    viewer = await viewer_author(context)
    answer = page("sign_in.html", viewer=viewer, refusal=None, email="", name="", registering=False, key=uuid4())
    settings = gateway_of(request).settings
    back = came_from.of_referrer(request.headers.get("referer", ""), settings.origin)
    if back is not None:
        answer.headers.append("Set-Cookie", cookies.back(settings, back))
    return answer


async def ask_again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show a refused form to sign in or to register anew."""
    return page(
        "sign_in.html", status=refusal.status, headers=refusal.headers, refusal=refusal,
        email=form.get("email", ""), name=form.get("name", ""), registering=request.scope["path"] == "/register",
        key=form.get("key") or uuid4(),
    )  # fmt: skip


@router.post("/sign-in")
@body_limit(READ_BYTES)
@gives_back(ask_again)
async def send_link(request: Request, context: AskingForMail) -> Response:
    return await _ask_for_mail(request, context, "/sign-in", SignIn)


@router.post("/register")
@body_limit(READ_BYTES)
@gives_back(ask_again)
async def register(request: Request, context: AskingForMail) -> Response:
    return await _ask_for_mail(request, context, "/people", Register)


async def _ask_for_mail(
    request: Request, context: RequestContext, path: str, model: type[Register | SignIn]
) -> Response:
    require_our_page(request)
    form = await fields(request)
    body = validated(model, {name: form.get(name, "") for name in ("name", "email") if name in model.model_fields})
    key = form.get("key", "")
    answer = await ask_for_mail(request, context, path, body, press=key if is_id(key) else None)
    return _check_mail(request, answer.json().get("request"), form.get("email", ""), registers=model is Register)


@router.get("/sign-in/code")
async def ask_for_code() -> Response:
    """Lead somebody who reloads the answer to a code back to the form: which mail it was is in that form alone."""
    return redirect("/sign-in")


async def code_again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show a refused code anew."""
    email, code = form.get("email", ""), form.get("code", "")
    return _check_mail(request, form.get("request", ""), email, code=code, refusal=refusal)


def _check_mail(
    request: Request,
    named: str | None,
    email: str,
    *,
    registers: bool = False,
    code: str = "",
    refusal: Refusal | None = None,
) -> Response:
    """Return the page that asks for the code in the mail of a request."""
    shown = page(
        "check_mail.html", status=refusal.status if refusal else 202, headers=refusal.headers if refusal else None,
        refusal=refusal, request=named, code=code, email=email, registers=registers, link_life=gettext("ten minutes"),
    )  # fmt: skip
    return _with_nonce(request, shown)


@router.post("/sign-in/code")
@gives_back(code_again)
async def use_code(request: Request, context: SigningIn) -> Response:
    require_our_page(request)
    form = await fields(request)
    command = {"request": form.get("request", ""), "code": form.get("code", ""), **_browser(request)}
    answer = await context.upstreams.people.send(
        "POST", "/sessions/by-code", NOBODY, context.deadline, body=command, headers=client_headers(request)
    )
    return _entered(request, answer.json())


@router.get("/sign-in/{token}")
async def link(request: Request, context: Unauthenticated, token: str) -> Response:
    """Show the button, and change nothing, however often a mail scanner fetches it."""
    return _link_page(request, token, await _return_origin(context, token), None)


async def link_again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the button anew, or where to ask for another link."""
    token, context, origin = request.path_params["token"], context_of(request), None
    if context is not None and refusal.kind != "cross-site":
        with suppress(Problem):
            origin = await _return_origin(context, token)
    return _link_page(request, token, origin, refusal)


def _link_page(request: Request, token: str, origin: str | None, refusal: Refusal | None) -> Response:
    """Return the page with the button; it names the front end elsewhere to which the button leads back.

    Browsers apply `form-action` to that redirect too.
    """
    headers = dict(refusal.headers) if refusal else {}
    if origin is not None:
        headers["Content-Security-Policy"] = _policy(origin)
    status = refusal.status if refusal else 200
    shown = page("sign_in_link.html", status=status, headers=headers, token=token, origin=origin, refusal=refusal)
    return _with_nonce(request, shown)


@router.post("/sign-in/{token}")
@gives_back(link_again)
async def use_link(request: Request, context: SigningIn, token: str) -> Response:
    require_our_page(request)
    command = {"token": token, **_browser(request)}
    answer = await context.upstreams.people.send(
        "POST", "/sessions", NOBODY, context.deadline, body=command, headers=client_headers(request)
    )
    return _entered(request, answer.json())


async def sign_out_again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the button anew."""
    back = came_from.our_page(form.get("back", ""))
    return page("sign_out.html", status=refusal.status, headers=refusal.headers, refusal=refusal, back=back)


@router.post("/sign-out")
@gives_back(sign_out_again)
async def sign_out(request: Request, context: OptionalViewer) -> Response:
    """End the session, and what the browser keeps of a text; a second press leads to the same page."""
    require_our_page(request)
    viewer, form = context.viewer, await typed(request)
    if not viewer.sure:
        raise unavailable(N_("Who you are could not be checked in time."))
    if viewer.person_id is not None:
        await require_opener(context, form.get("for"))
    if viewer.person_id is not None and viewer.session_id is not None:
        body = {"session_id": viewer.session_id}
        await context.upstreams.people.send("DELETE", "/sessions/current", viewer.caller, context.deadline, body=body)
        end_session(request, viewer.session_id)
    else:
        forget_session(request)
    settings = gateway_of(request).settings
    done = redirect(came_from.our_page(form.get("back", "")) or "/", _session_cookie(settings, "", 0))
    done.headers.append("Set-Cookie", cookies.draft(settings, ""))
    return done


async def _return_origin(context: RequestContext, token: str) -> str | None:
    """Return the origin of the front end elsewhere to which a link leads back."""
    if not BITS_256.fullmatch(token):
        return None
    found = await context.upstreams.people.look_up("/sign-in/lookup", NOBODY, context.deadline, {"token": token})
    return_to: str | None = found["return_to"]
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
    return {"cookie": True} | {name: value for name, value in found.items() if value and BITS_256.fullmatch(value)}


def _with_nonce(request: Request, answer: Response) -> Response:
    """Give the browser a nonce, so that of two presses of a button the second gets what the first got.

    One that it has is kept: its other tabs may be about to send it.
    """
    kept = request.cookies.get(NONCE, "")
    nonce = kept if BITS_256.fullmatch(kept) else secrets.token_urlsafe(32)
    attributes = cookies.attributes(gateway_of(request).settings, cookies.SIGN_IN_SECONDS)
    answer.headers.append("Set-Cookie", f"{NONCE}={nonce}; Path=/sign-in; {attributes}")
    return answer


def _entered(request: Request, entered: Json) -> Response:
    """Lead a browser that has signed in back to where it came from, or to the front end elsewhere that asked."""
    if "return_to" in entered:
        return redirect(f"{entered['return_to']}#code={entered['code']}")
    if entered.get("ended"):
        end_session(request, entered["ended"])
    settings, back = gateway_of(request).settings, request.cookies.get(cookies.BACK)
    location = came_from.our_page(back or "") or "/"
    done = redirect(location, _session_cookie(settings, entered["session_id"], COOKIE_DAYS * 86_400))
    if back is not None:
        done.headers.append("Set-Cookie", cookies.back(settings, ""))
    return done


def _session_cookie(settings: GatewaySettings, value: str, seconds: int) -> dict[str, str]:
    return {"Set-Cookie": f"{settings.cookie_name}={value}; Path=/; {cookies.attributes(settings, seconds)}"}
