"""The viewer's open sessions. What is ended is refused here at once, before an event of people says so."""

from collections.abc import Mapping
from uuid import UUID

from services.chassis.errors import Problem
from services.gateway.access.revocations import Revocations
from services.gateway.composition import representations
from services.gateway.composition.request_context import Json, RequestContext


async def listed(context: RequestContext, params: Mapping[str, str]) -> Json:
    """Return a page of the viewer's open sessions, `{items, next}`."""
    raw = await context.upstreams.people.get("/me/sessions", context.viewer.caller, context.deadline, dict(params))
    items = [representations.open_session(item, context.viewer.session_id) for item in raw["items"]]
    return {"items": items, "next": raw["next"]}


async def end_one(context: RequestContext, revocations: Revocations, session_id: str) -> None:
    """End a session of the viewer, perhaps the present one.

    Raises:
        Problem: those of people.
    """
    await context.upstreams.people.send("DELETE", f"/me/sessions/{session_id}", context.viewer.caller, context.deadline)
    revocations.end(UUID(session_id))


async def end_others(context: RequestContext, revocations: Revocations) -> None:
    """End all sessions of the viewer but the present one.

    Raises:
        Problem: `invalid-token` for a token of no session, and those of people.
    """
    current = context.viewer.session_id
    if current is None:
        raise Problem("invalid-token")
    answer = await context.upstreams.people.send(
        "DELETE", "/me/sessions", context.viewer.caller, context.deadline, body={"but": current}
    )
    for ended in answer.json()["ended"]:
        revocations.end(UUID(ended))
