"""Store the pictures that a form of a post carries, and put them into its text."""

import re

from starlette.requests import Request

from services.chassis.client.client import within
from services.chassis.errors import Problem, invalid
from services.chassis.pictures.kinds import kind_of
from services.contracts.body_sizes import IMAGE_BYTES
from services.gateway.access.rate_limits import UPLOADING
from services.gateway.composition import representations
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import UPLOAD_SECONDS, count
from services.gateway.languages import N_

PLACE = "![]()"  # where the next picture is to stand
MARKS = re.compile(r"[\\\[\]`*_<]")


async def store(request: Request, context: RequestContext, field: str, data: bytes) -> Json:
    """Store a picture and return it; storing takes longer than other writes, and counts twice.

    Raises:
        Problem: `invalid` for the field, `too-many-requests`, and those of posts.
    """
    kind = kind_of(data)
    if kind is None:
        raise invalid(field, N_("must be a PNG, JPEG, WebP or GIF file"))
    if len(data) > IMAGE_BYTES:
        raise invalid(field, N_("must have at most 5 MiB"))
    await count(request, gateway_of(request), UPLOADING, str(context.viewer.person_id))
    context.deadline = within(UPLOAD_SECONDS)
    try:
        answer = await context.upstreams.posts.send(
            "POST", "/images", context.viewer.caller, context.deadline, body=data, headers={"Content-Type": kind}
        )
    except Problem as problem:
        if problem.kind == "invalid" and problem.errors:  # to posts the file is all that was sent, here it is one field
            raise invalid(field, problem.errors[0].message) from None
        raise
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
