"""Parse requests: a bounded body of strict JSON, the query, `Idempotency-Key` and `If-Match`."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request

from services.chassis.database import idempotency
from services.chassis.errors import FieldError, Problem, invalid, sentence_of
from services.chassis.identity import Caller

MAX_DEPTH = 32
MAX_MEMBERS = 100  # no body has as many; each unknown one would cost an error
MAX_ERRORS = 50
IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}\Z")
STRONG_TAG = re.compile(r'"([0-9]{1,18})-(?:e([0-9]{1,18})-)?[A-Za-z0-9_-]+"\Z')
# A string (up to the end of the text if unterminated), an opening or a closing bracket. Possessive, so linear.
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)

Path = tuple["Path", str | int] | None  # of a value: that of what holds it, and its name there; None for the outermost


async def read_body(request: Request, limit: int) -> bytes:
    """Read and return the body, and store it for Starlette's own `form` and `json`.

    Raises:
        Problem: `too-large` as soon as more than `limit` bytes are announced or received.
    """
    check_content_length(request, limit)
    if hasattr(request, "_body"):
        return await request.body()
    chunks, size, more = [], 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        size += len(message.get("body", b""))
        if size > limit:
            raise _too_large(limit)
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(chunks)
    request._body = body
    return body


def check_content_length(request: Request, limit: int) -> None:
    """Check `Content-Length`, before the body is read.

    Raises:
        Problem: `too-large`.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and (len(length) > 18 or int(length) > limit):
        raise _too_large(limit)


def _too_large(limit: int) -> Problem:
    return Problem("too-large", f"The body may have at most {limit:,} bytes.", headers={"Connection": "close"})


def check_media_type(request: Request) -> None:
    """Accept only JSON in UTF-8 without a content coding.

    Raises:
        Problem: `unsupported-media-type`.
    """
    content_type = request.headers.get("content-type", "")
    if content_type == "application/json" and "content-encoding" not in request.headers:
        return
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    json_like = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    coding = request.headers.get("content-encoding", "identity").lower()
    if not json_like or charset not in ("", "utf-8", "utf8") or coding != "identity":
        raise Problem("unsupported-media-type", "Send application/json in UTF-8.")


def parse_json(data: bytes) -> Any:
    """Return the JSON value (RFC 8259): finite numbers, at most 32 levels, strings without NUL or lone surrogates.

    Raises:
        Problem: `malformed-json`; `invalid` for too many members, and with the field's dotted name for NUL and lone
            surrogates.
    """
    _check_depth(data)
    try:
        value, strings_are_sure = orjson.loads(data), b"\\u0000" not in data
    except orjson.JSONDecodeError:
        value, strings_are_sure = _parse_with_stdlib(data), False
    if isinstance(value, dict) and len(value) > MAX_MEMBERS:
        raise invalid("", f"must have at most {MAX_MEMBERS} members")
    if not strings_are_sure:
        _check_strings(value)
    return value


def _parse_with_stdlib(data: bytes) -> Any:
    """Parse what orjson refuses although it is JSON (lone surrogates, huge integers), so that errors name the field."""
    try:
        value = json.loads(
            data.decode(), parse_constant=_refuse, parse_float=_finite, parse_int=lambda text: int(text[:400])
        )
    except ValueError as error:
        raise Problem("malformed-json", f"The body is not JSON: {_reason(error)}.") from None
    return value


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, json.JSONDecodeError):
        what = error.msg.lower().removesuffix(" at")  # "Unterminated string starting at"
        return f"{what} at character {error.pos}"
    return str(error)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _check_depth(data: bytes) -> None:
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for match in TOKEN.finditer(data):
        first = data[match.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Problem("malformed-json", f"The body is nested deeper than {MAX_DEPTH}.")
        elif first in b"]}":
            depth -= 1


def _check_strings(value: Any) -> None:
    errors: list[FieldError] = []
    pending: list[tuple[Path, Any]] = [(None, value)]
    while pending and len(errors) < MAX_ERRORS:
        path, item = pending.pop()
        if isinstance(item, dict):
            if any(map(_string_error, item)):
                errors.append(FieldError(_dotted(path), "has a member whose name holds NUL or a lone surrogate"))
            else:
                pending.extend(((path, name), inner) for name, inner in reversed(item.items()))
        elif isinstance(item, list):
            pending.extend(((path, index), item[index]) for index in reversed(range(len(item))))
        elif isinstance(item, str) and (reason := _string_error(item)):
            errors.append(FieldError(_dotted(path), reason))
    if errors:
        raise Problem("invalid", sentence_of([error.statement() for error in errors]), errors=errors)


def _dotted(path: Path) -> str:
    names: list[str] = []
    while path is not None:
        path, name = path
        names.append(str(name))
    return ".".join(reversed(names))


def _string_error(text: str) -> str | None:
    if "\0" in text:
        return "must not contain NUL"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "must not contain a lone surrogate"
    return None


def query_errors(query: QueryParams, known: Mapping[str, bool]) -> list[dict[str, Any]]:
    """Return the errors of a query, as pydantic reports them: a parameter that is unknown, or stands more than once.

    Args:
        known: the parameters of the call, and whether each may be repeated.
    """
    errors = []
    for name in query:
        if name not in known:
            errors.append((name, "is not a parameter of this call"))
        elif not known[name] and len(query.getlist(name)) > 1:
            errors.append((name, "must not be repeated"))
    return [{"type": "value_error", "loc": ("query", name), "msg": message} for name, message in errors]


def idempotency_key(request: Request, caller: Caller, body: object = None) -> idempotency.Key | None:
    """Return the idempotency key of a request; None without the header or without a person.

    Args:
        body: the JSON value of the body, if the route has not parsed it itself.

    Raises:
        Problem: `malformed-idempotency-key` unless the header stands once, with 1 to 255 printable ASCII characters.
    """
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    if len(values) > 1 or not IDEMPOTENCY_KEY.match(values[0]):
        raise Problem("malformed-idempotency-key", "Send 1 to 255 printable ASCII characters, once.")
    if caller.person_id is None:
        return None
    return idempotency.key_of(
        caller.person_id, values[0], request.method, request.scope["path"], getattr(request, "_json", body)
    )


def check_if_match(header: str | None, version: int, epoch: int = 0) -> None:
    """Compare `If-Match` (RFC 9110, 13.1.1) with the resource's epoch and version; the digest after them is ignored.

    Raises:
        Problem: `stale` unless the header is absent, `*`, or contains the strong tag `"<version>-<digest>"`; the digest
            begins with `e<epoch>-` unless that is 0.
    """
    if header is None or header.strip() == "*":
        return
    tags = (STRONG_TAG.match(tag.strip()) for tag in header.split(","))
    if not any(tag and (int(tag[2] or 0), int(tag[1])) == (epoch, version) for tag in tags):
        raise Problem("stale")
