"""Choose which mail to get by the link of a mail, without cookie or sign-in."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import invalid
from services.chassis.http.routes import body_limit
from services.gateway.access.authentication import NOBODY
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.guards import Unauthenticated
from services.gateway.languages import N_
from services.gateway.pages.forms import READ_BYTES, Fields, fields, gives_back
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import PageRoute, page

router = APIRouter(route_class=PageRoute, include_in_schema=False)

CHOICES = {"comments": ("all", "replies", "none"), "moderation": ("hourly", "daily", "off")}  # by what a mail is about


@router.get("/mail/{token}")
async def ask(request: Request, context: Unauthenticated, token: str) -> Response:
    """Show the choices, and change nothing."""
    settings = await settings_of(context, token)
    return _shown(token, settings["about"], choice_of(settings, settings["about"]))


async def again(request: Request, form: Fields, refusal: Refusal) -> Response:
    """Show the choices anew, those among which the form chose: perhaps nobody can be asked what its link is about."""
    choice = form.get("choice")
    about = "moderation" if choice in CHOICES["moderation"] or form.get("about") == "moderation" else "comments"
    return _shown(request.path_params["token"], about, choice, refusal=refusal)


@router.post("/mail/{token}")
@body_limit(READ_BYTES)
@gives_back(again)
async def choose(request: Request, context: Unauthenticated, token: str) -> Response:
    """Choose, and offer to take it back."""
    choice = (await fields(request)).get("choice", "")
    if not any(choice in offered for offered in CHOICES.values()):
        raise invalid("choice", N_("Choose one of the three."))
    path = f"/mail-choices/{token}"
    answer = await context.upstreams.notify.send("POST", path, NOBODY, context.deadline, body={"choice": choice})
    chosen = answer.json()
    about = chosen.get("about", "comments")
    return _shown(token, about, choice_of(chosen, about), done=True, before=before_of(chosen))


async def settings_of(context: RequestContext, token: str) -> Json:
    """Return the settings of mail of the person to whom a mail with this token went, and what it was about.

    Raises:
        Problem: `not-found`.
    """
    found: Json = await context.upstreams.notify.get(f"/unsubscribe/{token}", NOBODY, context.deadline)
    return {"about": "comments"} | found  # an old notify does not say it


def choice_of(settings: Json, about: str) -> str:
    """Return the choice that these settings are, of those that a mail about this offers."""
    if about == "moderation":
        return str(settings["moderation"])
    return str(settings["scope"]) if settings["notifications"] else "none"


def before_of(chosen: Json) -> str | None:
    """Return the choice that was before this one; None where notify does not say it."""
    return choice_of(chosen["before"], chosen["about"]) if "before" in chosen else None


def _shown(
    token: str,
    about: str,
    choice: str | None,
    *,
    done: bool = False,
    before: str | None = None,
    refusal: Refusal | None = None,
) -> Response:
    return page(
        "mail_choices.html",
        status=refusal.status if refusal else 200,
        headers=refusal.headers if refusal else None,
        token=token,
        about=about,
        choice=choice,
        done=done,
        before=before if before != choice else None,
        refusal=refusal,
    )
