"""Show what a comment would look like, before it is sent."""

from starlette.requests import Request

from services.gateway.access.rate_limits import PREVIEWING
from services.gateway.composition.request_context import RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import count


async def previewed(request: Request, context: RequestContext, text: str) -> str:
    """Return the HTML of a text as comments would show it; counted like previews of the API.

    Raises:
        Problem: `invalid` for the text, `too-many-requests`.
    """
    await count(request, gateway_of(request), PREVIEWING, str(context.viewer.person_id))
    answer = await context.upstreams.comments.send(
        "POST", "/preview", context.viewer.caller, context.deadline, body={"body": text}
    )
    return str(answer.json()["body_html"])
