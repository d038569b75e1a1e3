"""Signing in and out with the cookie of our own pages."""

import re
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem
from services.gateway.access.authentication import NOBODY
from services.gateway.access.rate_limits import SIGN_IN_ADDRESS
from services.gateway.composition.compose import Look
from services.gateway.gateway import Gateway, gateway_of
from services.gateway.guards import Anybody, SignedIn, Stranger, standing
from services.gateway.pages.forms import fields, from_our_pages
from services.gateway.pages.render import PageRoute, face, page, redirect

router = APIRouter(route_class=PageRoute, include_in_schema=False)

COOKIE_DAYS = 30
BACK = "rapport_back"
BACK_SECONDS = 900  # longer than a link lives
OUR_PATH = re.compile(r"/posts/[A-Za-z0-9._~%-]{1,2000}")  # as `post_path` writes it; never another site


@router.get("/sign-in")
async def ask(request: Request, look: Anybody) -> Response:
    """The post from which the reader came is kept by the browser until the link in the mail is used."""
    answer = page("sign_in.html", viewer=await face(request, look), error=None, email="", name="", registering=False)
    origin, came_from = gateway_of(request).settings.origin, request.headers.get("referer", "")
    back = came_from.removeprefix(origin).partition("?")[0]
    if came_from.startswith(origin + "/") and OUR_PATH.fullmatch(back):
        answer.headers.append("Set-Cookie", _back_cookie(gateway_of(request), back, BACK_SECONDS))
    return answer


@router.post("/sign-in")
async def send_link(request: Request, look: Stranger) -> Response:
    return await _ask_for_mail(request, look, "/sign-in", ("email",))


@router.post("/register")
async def register(request: Request, look: Stranger) -> Response:
    return await _ask_for_mail(request, look, "/people", ("name", "email"))


async def _ask_for_mail(request: Request, look: Look, path: str, names: tuple[str, ...]) -> Response:
    from_our_pages(request)
    form = await fields(request)
    body = {name: form.get(name, "") for name in names}
    gateway = gateway_of(request)
    try:
        await gateway.limits.spend(standing(request), (SIGN_IN_ADDRESS, body["email"].strip().casefold()))
        await gateway.sources.upstreams.people.send("POST", path, NOBODY, look.deadline, body=body)
    except Problem as problem:
        return page(
            "sign_in.html", status=problem.status, headers=problem.headers, error=problem.detail,
            email=body["email"], name=body.get("name", ""), registering=path == "/people",
        )  # fmt: skip
    return page("check_mail.html", status=202)


@router.get("/sign-in/{token}")
async def link(token: str) -> Response:
    """Changes nothing, however often a mail scanner fetches it."""
    return page("sign_in_link.html", token=token)


@router.post("/sign-in/{token}")
async def use_link(request: Request, look: Stranger, token: str) -> Response:
    from_our_pages(request)
    gateway = gateway_of(request)
    answer = await gateway.sources.upstreams.people.send(
        "POST", "/sessions", NOBODY, look.deadline, body={"token": token, "cookie": True}
    )
    back = request.cookies.get(BACK)
    came_from = back if back and OUR_PATH.fullmatch(back) else "/"
    done = redirect(came_from, _cookie(gateway, answer.json()["session_id"], COOKIE_DAYS * 86_400))
    if back is not None:
        done.headers.append("Set-Cookie", _back_cookie(gateway, "", 0))
    return done


@router.post("/sign-out")
async def sign_out(request: Request, look: SignedIn) -> Response:
    gateway = gateway_of(request)
    session: Any = look.viewer.session_id
    if session is not None:
        await gateway.sources.upstreams.people.send(
            "DELETE", "/sessions/current", look.viewer.caller, look.deadline, body={"session_id": session}
        )
        gateway.changes.end(UUID(session))
    gateway.viewers.forget(gateway.viewers.cookie(request) or "")
    return redirect("/", _cookie(gateway, "", 0))


def _cookie(gateway: Gateway, value: str, seconds: int) -> dict[str, str]:
    return {"Set-Cookie": f"{gateway.settings.cookie_name}={value}; Path=/; {_attributes(gateway, seconds)}"}


def _back_cookie(gateway: Gateway, path: str, seconds: int) -> str:
    return f"{BACK}={path}; Path=/sign-in; {_attributes(gateway, seconds)}"


def _attributes(gateway: Gateway, seconds: int) -> str:
    return f"Max-Age={seconds}; HttpOnly; SameSite=Lax" + ("; Secure" if gateway.settings.secure else "")
