"""Who may write, and change what."""

from services.chassis.errors import Problem
from services.contracts.people import is_admin, is_author
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.languages import N_


def require_author(context: RequestContext) -> None:
    if not is_author(context.viewer.caller.roles):
        raise Problem("forbidden", N_("This page is for authors. Ask who runs this site to make you one."))


def changeable(context: RequestContext, post: Json) -> Json:
    """Return the post if its form is for the viewer; posts decides again whoever sends it."""
    require_author(context)
    caller = context.viewer.caller
    if post["author_id"] != str(caller.person_id) and not is_admin(caller.roles):
        raise Problem("forbidden", N_("Only who wrote it and admins may change it."))
    return post
