"""Read the forms of our own pages, bounded, and so that nothing typed is lost when a form is refused.

    @router.post("/things")
    @body_limit(READ_BYTES)
    @gives_back(again)
    async def create(request: Request, context: SignedIn) -> Response:
        form = await fields(request)
        ...

Whatever refuses the form (a guard before its body was read, its size, a service), `PageRoute` answers with `again`.
"""

import binascii
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from services.chassis.errors import Problem
from services.chassis.http.requests import read_body
from services.contracts.body_sizes import FORM_BYTES
from services.gateway.gateway import gateway_of
from services.gateway.languages import N_
from services.gateway.pages.multipart import parts
from services.gateway.pages.refusals import Refusal

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
READ_BYTES = 1024 * 1024  # what is too large to be taken is read so far, to be given back
MOST_FIELDS = 20
MOST_FILES = 2
MALFORMED_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
PLAIN_FIELD = re.compile(r"^([a-z_]{1,20})=", re.MULTILINE)

Fields = dict[str, str]
Files = dict[str, bytes]
Again = Callable[[Request, Fields, Refusal], Awaitable[Response]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def gives_back(again: Again, most: int = READ_BYTES) -> Callable[[Endpoint], Endpoint]:
    """Show the form anew with `again` when it is refused, with the fields that were sent.

    Args:
        most: the bytes up to which a refused form is read.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.__dict__["again"] = again
        endpoint.__dict__["most_given_back"] = most
        return endpoint

    return mark


async def fields(request: Request, most: int = FORM_BYTES) -> Fields:
    r"""Return the fields of an urlencoded form; a line break is one `\n`.

    Args:
        most: the bytes that the form may have.

    Raises:
        Problem: `too-large`; `unsupported-media-type`; `invalid` for a form that cannot be read.
    """
    if media_type(request) != URLENCODED:
        raise Problem("unsupported-media-type", f"Send {URLENCODED}.")
    body = await read_body(request, max(most, READ_BYTES))
    if len(body) > most:
        raise Problem("too-large")
    try:
        return _decoded(body, strict=True)
    except ValueError:
        raise Problem("invalid", N_("The form is not readable.")) from None


async def fields_and_files(request: Request, most: int, most_with_files: int) -> tuple[Fields, Files]:
    """Return the fields of a form that may carry files, and the files that were chosen.

    Args:
        most: the bytes that the form may have without files.
        most_with_files: with them.

    Raises:
        Problem: what `fields` raises.
    """
    if media_type(request) != MULTIPART:
        return await fields(request, most), {}
    body = await read_body(request, most_with_files)
    try:
        found = parts(body, request.headers["content-type"], MOST_FIELDS + MOST_FILES)
        sent = _normal({part.name: part.content.decode("utf-8") for part in found if not part.is_file})
    except ValueError:
        raise Problem("invalid", N_("The form is not readable.")) from None
    if sum(len(part.content) for part in found if not part.is_file) > most:
        raise Problem("too-large")
    return sent, {part.name: part.content for part in found if part.is_file and part.content}


async def typed(request: Request, most: int = READ_BYTES) -> Fields:
    """Return the fields of a refused form as far as they can be read, in any encoding that browsers and programs use.

    Nothing is raised: without fields there is at least an empty form to show.
    """
    try:
        return await _typed(request, most)
    except (Problem, ClientDisconnect, ValueError):
        return {}


async def _typed(request: Request, most: int) -> Fields:
    body = await (request.body() if hasattr(request, "_body") else read_body(request, most))  # read already, or now
    match media_type(request):
        case "multipart/form-data":
            found = parts(body, request.headers["content-type"], MOST_FIELDS + MOST_FILES)
            return _normal({part.name: _readable(part.content) for part in found if not part.is_file})
        case "text/plain":
            lines = PLAIN_FIELD.split(_readable(body))[1:]
            return _normal({name: value.rstrip("\r\n") for name, value in zip(lines[::2], lines[1::2], strict=True)})
        case "application/json":
            value = orjson.loads(body)
            members = value.items() if isinstance(value, dict) else ()
            return _normal({name: text for name, text in members if isinstance(text, str)})
        case _:
            return _decoded(body, strict=False)


def _decoded(body: bytes, *, strict: bool) -> Fields:
    """Return the fields of an urlencoded body.

    Raises:
        ValueError: if `strict`: it is not ASCII, not UTF-8 once decoded, or has too many fields.
    """
    pairs = [pair.partition(b"=") for pair in body.split(b"&", MOST_FIELDS) if pair]
    if strict and (len(pairs) > MOST_FIELDS or not body.isascii()):
        raise ValueError("malformed")
    return _normal({_text(name, strict): _text(value, strict) for name, _, value in pairs})


def _text(value: bytes, strict: bool) -> str:
    """Return a decoded name or value.

    Percent-encoding is turned into quoted-printable, which is decoded in C: 300 kB of escapes take `parse_qsl` 24 ms,
    and whoever is refused can send them without end.
    """
    encoded = MALFORMED_ESCAPE.sub(b"%25", value.replace(b"+", b" "))
    found = binascii.a2b_qp(encoded.replace(b"=", b"%3D").replace(b"%", b"="))
    return found.decode("utf-8") if strict else _readable(found)


def _readable(text: bytes) -> str:
    """Return text that may be in the encoding that programs use where they know none, so that its letters come back."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("windows-1252", "replace")


def _normal(found: Fields) -> Fields:
    return {name: value.replace("\r\n", "\n") for name, value in found.items()}


def media_type(request: Request) -> str:
    """Return the media type of the body in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_our_page(request: Request) -> None:
    """Refuse a form that a browser sends from another site, for forms of people who are not signed in.

    Browsers send `Origin` or `Sec-Fetch-Site`; without them and without our cookie there is no browser whose session
    could be abused.

    Raises:
        Problem: `cross-site`.
    """
    authentication, headers = gateway_of(request).authentication, request.headers
    if "origin" in headers or "sec-fetch-site" in headers or authentication.cookie(request) is not None:
        authentication.require_same_site(request)
