"""Keep a refused comment in a cookie of its browser while its author signs in (ADR 22)."""

import base64
import zlib

import orjson
from starlette.requests import Request

from services.gateway.pages.comment_form import CommentForm
from services.gateway.pages.render import post_path
from services.gateway.pages.sign_in import BACK_SECONDS, back_cookie, cookie_attributes
from services.gateway.settings import GatewaySettings

PATH = "/draft"
COOKIE = "rapport_draft"
LONGEST_COOKIE = 3_800  # browsers keep 4 KiB with name and attributes (RFC 6265, 6.1)
LONGEST_TEXT = 64 * 1024  # what is packed and unpacked at most


def cookies(form: CommentForm, settings: GatewaySettings) -> list[str]:
    """Return the cookies that lead back to a form after signing in: to its text if that fits, else to its post."""
    value = pack(form)
    if value is None:
        return [back_cookie(settings, post_path(form.ref), BACK_SECONDS)]
    kept = f"{COOKIE}={value}; Path={PATH}; {cookie_attributes(settings, BACK_SECONDS)}"
    return [back_cookie(settings, PATH, BACK_SECONDS), kept]


def kept(request: Request) -> CommentForm | None:
    """Return the form that this browser keeps."""
    return unpack(request.cookies.get(COOKIE, ""))


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
        ref, *rest, text, place = orjson.loads(zlib.decompressobj().decompress(packed, LONGEST_TEXT))
        post_id, parent_id, key, opened_by = rest
    except (ValueError, TypeError, zlib.error):
        return None
    if not all(isinstance(one, str) for one in (ref, post_id, key, text, place)):
        return None
    return CommentForm(ref, post_id, parent_id, key, opened_by, text, place)
