"""Keep a refused comment in a cookie of its browser while its author signs in (ADR 22)."""

import base64
import zlib
from typing import Annotated

import orjson
from pydantic import AfterValidator, Field, TypeAdapter
from starlette.requests import Request

from services.contracts.ids import canonical
from services.gateway.pages import came_from, cookies
from services.gateway.pages.comment_form import CommentForm
from services.gateway.pages.render import post_path
from services.gateway.settings import GatewaySettings

LONGEST_COOKIE = 3_800  # browsers keep 4 KiB with name and attributes (RFC 6265, 6.1)
LONGEST_TEXT = 64 * 1024  # what is packed and unpacked at most
Ref = Annotated[str, Field(pattern=r"^[^/]+$")]
IdOrNone = Annotated[str, AfterValidator(canonical)] | None
FIELDS: TypeAdapter[tuple[Ref, str, IdOrNone, str, IdOrNone, str, str]] = TypeAdapter(
    tuple[Ref, str, IdOrNone, str, IdOrNone, str, str]
)


def kept_by(form: CommentForm, settings: GatewaySettings) -> list[str]:
    """Return the cookies that lead back to a form after signing in: to its text if that fits, else to its place."""
    value = pack(form)
    if value is None:
        reply_to = f"&reply_to={form.parent_id}" if form.parent_id else ""
        place = came_from.our_page(f"{post_path(form.ref)}?{form.place}{reply_to}")
        return [cookies.back(settings, place)] if place is not None else []
    return [cookies.back(settings, cookies.DRAFT_PATH), cookies.draft(settings, value)]


def kept(request: Request) -> CommentForm | None:
    """Return the form that this browser keeps."""
    return unpack(request.cookies.get(cookies.DRAFT, ""))


def pack(form: CommentForm) -> str | None:
    """Return a form as the value of a cookie; None if it is too long for one."""
    fields = [form.ref, form.post_id, form.parent_id, form.key, form.opened_by, form.text, form.place]
    content = orjson.dumps(fields)
    if not form.text or len(content) > LONGEST_TEXT:
        return None
    value = base64.urlsafe_b64encode(zlib.compress(content, 9)).rstrip(b"=").decode()
    return value if len(value) <= LONGEST_COOKIE else None


def unpack(value: str) -> CommentForm | None:
    """Return the form in a cookie; None if there is none, or none that we have made."""
    try:
        packed = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
        fields = FIELDS.validate_json(zlib.decompressobj().decompress(packed, LONGEST_TEXT))
    except (ValueError, zlib.error):
        return None
    return CommentForm(*fields)
