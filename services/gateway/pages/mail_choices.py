"""Choose which mail to get by the link of a mail, without cookie or sign-in."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import invalid
from services.chassis.http.routes import body_limit
from services.gateway.access.authentication import NOBODY
from services.gateway.guards import Unauthenticated
from services.gateway.languages import N_
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)

CHOICES = ("all", "replies", "none")


@router.get("/mail/{token}")
async def ask(request: Request, context: Unauthenticated, token: str) -> Response:
    """Show the choices, and change nothing."""
    settings = await context.upstreams.notify.get(f"/unsubscribe/{token}", NOBODY, context.deadline)
    return _shown(token, _choice_of(settings))


async def again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the choices anew."""
    return _shown(request.path_params["token"], form.get("choice"), refusal=refusal)


@router.post("/mail/{token}")
@body_limit(READ_BYTES)
@gives_back(again)
async def choose(request: Request, context: Unauthenticated, token: str) -> Response:
    choice = (await fields(request)).get("choice", "")
    if choice not in CHOICES:
        raise invalid("choice", N_("Choose one of the three."))
    path = f"/mail-choices/{token}"
    answer = await context.upstreams.notify.send("POST", path, NOBODY, context.deadline, body={"choice": choice})
    return _shown(token, _choice_of(answer.json()), done=True)


def _choice_of(settings: dict[str, Any]) -> str:
    return str(settings["scope"]) if settings["notifications"] else "none"


def _shown(token: str, choice: str | None, *, done: bool = False, refusal: Refusal | None = None) -> Response:
    return page(
        "mail_choices.html",
        status=refusal.status if refusal else 200,
        headers=refusal.headers if refusal else None,
        token=token,
        choice=choice,
        done=done,
        refusal=refusal,
    )
