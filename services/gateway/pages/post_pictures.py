"""Store the pictures that a form of a post carries, and put them into its text."""

import hashlib
import re
from uuid import UUID, uuid5

from starlette.requests import Request

from services.chassis.client.client import within
from services.contracts.body_sizes import IMAGE_BYTES
from services.contracts.ids import id_or_none
from services.gateway.access.rate_limits import UPLOADING
from services.gateway.composition import representations
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import UPLOAD_SECONDS, count
from services.gateway.pages import uploads

PLACE = "![]()"  # where the next picture is to stand
MARKS = re.compile(r"[\\\[\]`*_<]")


async def store(request: Request, context: RequestContext, field: str, data: bytes, key: str | None) -> Json:
    """Store a picture and return it; storing takes longer than other writes, and counts twice.

    Args:
        key: the idempotency key of the form: a second press of its button finds the picture of the first.

    Raises:
        Problem: `invalid` for the field, `too-many-requests`, and those of posts.
    """
    kind = uploads.require_picture(field, data, IMAGE_BYTES)
    await count(request, gateway_of(request), UPLOADING, str(context.viewer.person_id))
    context.deadline = within(UPLOAD_SECONDS)
    posts, once = context.upstreams.posts, _key(key, data)
    answer = await uploads.send(context, posts, "POST", "/images", field, data, kind, once)
    return representations.image(answer.json(), context.public_url)


def _key(form_key: str | None, data: bytes) -> str | None:
    """Return the idempotency key of a picture in a form; each of several has its own."""
    found = id_or_none(form_key)
    return str(uuid5(UUID(found), hashlib.sha256(data).hexdigest())) if found else None


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
