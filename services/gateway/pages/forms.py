"""What a browser's form brings: bounded, and from our own pages only."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from services.chassis.errors import Problem
from services.chassis.http.requests import read_body
from services.gateway.gateway import gateway_of

FORM_BYTES = 256 * 1024  # percent-encoding makes a text up to twelve times as long as its code points


async def fields(request: Request) -> dict[str, str]:
    """The fields of an urlencoded form; line breaks as people meant them.

    Raises:
        Problem: `too-large`; `unsupported-media-type`; `invalid` for what is no UTF-8.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Problem("unsupported-media-type", "Send application/x-www-form-urlencoded.")
    body = await read_body(request, FORM_BYTES)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise Problem("invalid", "The form is not readable.") from None
    return {name: value.replace("\r\n", "\n") for name, value in pairs}


def from_our_pages(request: Request) -> None:
    """For forms of people who are not signed in: a browser says where a form stands, and with it must come from here.

    Raises:
        Problem: `cross-site`.
    """
    viewers = gateway_of(request).viewers
    if "origin" in request.headers or viewers.cookie(request) is not None:
        viewers.same_site(request)
