"""Store the pictures that a form of a post carries, and put them into its text."""

import re

from starlette.requests import Request

from services.chassis.client.client import within
from services.contracts.body_sizes import IMAGE_BYTES
from services.gateway.access.rate_limits import UPLOADING
from services.gateway.composition import representations
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import UPLOAD_SECONDS, count
from services.gateway.pages import uploads

PLACE = "![]()"  # where the next picture is to stand
MARKS = re.compile(r"[\\\[\]`*_<]")


async def store(request: Request, context: RequestContext, field: str, data: bytes) -> Json:
    """Store a picture and return it; storing takes longer than other writes, and counts twice.

    Raises:
        Problem: `invalid` for the field, `too-many-requests`, and those of posts.
    """
    kind = uploads.require_picture(field, data, IMAGE_BYTES)
    await count(request, gateway_of(request), UPLOADING, str(context.viewer.person_id))
    context.deadline = within(UPLOAD_SECONDS)
    answer = await uploads.send(context, context.upstreams.posts, "POST", "/images", field, data, kind)
    return representations.image(answer.json(), context.public_url)


def with_picture(text: str, url: str, shows: str) -> str:
    """Return a Markdown text with a picture at the place that was marked for it, else at the end.

    Args:
        shows: what the picture shows, in plain text.
    """
    picture = f"![{MARKS.sub(_escaped, ' '.join(shows.split()))}]({url})"
    if PLACE in text:
        return text.replace(PLACE, picture, 1)
    text = text.rstrip("\n")
    return f"{text}\n\n{picture}\n" if text else f"{picture}\n"


def _escaped(mark: re.Match[str]) -> str:
    return f"\\{mark[0]}"
