"""Read the forms of our own pages: bounded, and from nowhere else."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from services.chassis.errors import Problem
from services.chassis.http.requests import read_body
from services.contracts.body_sizes import FORM_BYTES
from services.gateway.gateway import gateway_of


async def fields(request: Request) -> dict[str, str]:
    """Return the fields of an urlencoded form; a line break is one `\n`.

    Raises:
        Problem: `too-large`; `unsupported-media-type`; `invalid` for a form that cannot be read.
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


def require_our_page(request: Request) -> None:
    """Refuse a form that a browser sends from another site, for forms of people who are not signed in.

    Browsers send `Origin`, or at least `Sec-Fetch-Site`; without either and without our cookie there is no browser
    whose session could be abused.

    Raises:
        Problem: `cross-site`.
    """
    authentication = gateway_of(request).authentication
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise Problem("cross-site")
    if "origin" in request.headers or authentication.cookie(request) is not None:
        authentication.require_same_site(request)
