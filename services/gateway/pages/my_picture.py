"""Set the viewer's picture, or take it away, by a form of the account."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import invalid
from services.chassis.http.routes import body_limit
from services.contracts.body_sizes import AVATAR_BYTES, FORM_BYTES
from services.gateway.guards import SignedIn, Uploading
from services.gateway.languages import N_
from services.gateway.pages import uploads
from services.gateway.pages.forms import READ_BYTES, fields, fields_and_files, gives_back
from services.gateway.pages.mine import account_again
from services.gateway.pages.openers import require_opener
from services.gateway.pages.render import PageRoute, redirect
from services.gateway.responses import invalidation
from services.gateway.sessions import forget_session

router = APIRouter(route_class=PageRoute, include_in_schema=False)

BYTES = 2 * AVATAR_BYTES  # so that a file that is somewhat too large is refused in words


@router.post("/me/picture")
@body_limit(BYTES)
@gives_back(account_again, READ_BYTES)
async def set_picture(request: Request, context: Uploading) -> Response:
    form, files = await fields_and_files(request, FORM_BYTES, BYTES)
    await require_opener(context, form.get("for"))
    data = files.get("picture")
    if data is None:
        raise invalid("picture", N_("must be chosen first"))
    kind = uploads.require_picture("picture", data, AVATAR_BYTES)
    await uploads.send(context, context.upstreams.people, "PUT", "/me/avatar", "picture", data, kind)
    return _changed(request, context.viewer.person_id)


@router.post("/me/picture/remove")
@body_limit(READ_BYTES)
@gives_back(account_again)
async def remove_picture(request: Request, context: SignedIn) -> Response:
    form = await fields(request)
    await require_opener(context, form.get("for"))
    await context.upstreams.people.send("DELETE", "/me/avatar", context.viewer.caller, context.deadline)
    return _changed(request, context.viewer.person_id)


def _changed(request: Request, person_id: object) -> Response:
    invalidation(request).person(str(person_id))
    forget_session(request)
    return redirect("/me?done=picture#picture")
