"""A form belongs to the person it was shown to: another tab may have signed in somebody else since."""

from starlette.requests import Request

from services.chassis.errors import Problem
from services.contracts.characters import isolated
from services.gateway.composition.request_context import RequestContext
from services.gateway.languages import gettext
from services.gateway.pages.forms import Fields, fields
from services.gateway.pages.render import viewer_author


async def opened_fields(request: Request, context: RequestContext) -> Fields:
    """Return the fields of a form that was shown to the viewer.

    Raises:
        Problem: what `fields` and `require_opener` raise.
    """
    form = await fields(request)
    await require_opener(context, form.get("for"))
    return form


async def require_opener(context: RequestContext, opened_by: str | None) -> None:
    """Refuse a form that was shown to somebody else than who sends it.

    Args:
        opened_by: the id in the form; forms without one are taken from everybody.

    Raises:
        Problem: `wrong-state`, which names who is signed in now.
    """
    if not opened_by or opened_by == str(context.viewer.person_id):
        return
    viewer = await viewer_author(context)
    name = isolated((viewer and viewer["name"]) or gettext("somebody else"))
    raise Problem(
        "wrong-state",
        gettext(
            "You are signed in as %(name)s now. This was opened by somebody else, so nothing was done. "
            "Press the button to do it as %(name)s.",
            name=name,
        ),
    )
