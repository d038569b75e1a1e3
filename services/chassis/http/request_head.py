"""Check what a request says before its body: version, target and the headers that decide who reads what."""

import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache

from services.chassis.errors import Problem

HEADER_BYTES = 32 * 1024  # of target and headers together, and of the trailers of a chunked body
MAX_FIELDS = 200  # of headers, and of trailers; every look at a header passes all of them
MAX_PARAMETERS = 500  # of the query; each costs more than its bytes
FIELD_BYTES = 4  # colon, space and line end
VERSIONS = ("1.1", "1.0")
TARGET = re.compile(rb"(?:https?://[^/?#]+)?/", re.IGNORECASE)  # the origin form, and the absolute form of proxies
HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?\Z")
# A proxy before us may obey the last of two where we obey the first (RFC 9110, 5.3: none of these is a list).
ONCE = {
    b"authorization": "Authorization",
    b"content-length": "Content-Length",
    b"content-type": "Content-Type",
    b"host": "Host",
    b"origin": "Origin",
    b"referer": "Referer",
    b"sec-fetch-site": "Sec-Fetch-Site",
}


def check_head(
    version: str, target: bytes, headers: Sequence[tuple[bytes, bytes]], received: int = sys.maxsize
) -> Mapping[bytes, bytes]:
    """Check the head of a request, and return its headers by name, in lower case as they came.

    Args:
        received: how many bytes it has at most.

    Raises:
        Problem: `malformed-request`, whose detail names the header; `headers-too-large`.
    """
    seen = dict(headers)
    if len(seen) < len(headers):
        _check_repeated(headers)
    if received > HEADER_BYTES and _size(target, headers) > HEADER_BYTES:
        raise headers_too_large()
    if version not in VERSIONS:
        raise malformed("Only HTTP/1.1 and HTTP/1.0 are served.")
    if not target.isascii():
        raise malformed("The URL must be ASCII: percent-encode its other characters as UTF-8.")
    if not target.startswith(b"/") and not TARGET.match(target):
        raise malformed("The URL must begin with a slash, or with http:// or https://, a host and a slash.")
    if target.count(b"&") >= MAX_PARAMETERS:
        raise malformed(f"The URL may have at most {MAX_PARAMETERS} parameters.")
    host = seen.get(b"host")
    if host is None and version != "1.0":
        raise malformed("The header Host is missing.")
    if host is not None and not _names_a_host(host):
        raise malformed("The header Host names no host.")
    if b"transfer-encoding" in seen:
        _check_transfer_encoding(version, headers)
    return seen


@lru_cache(maxsize=64)  # most requests name the same few
def _names_a_host(host: bytes) -> bool:
    return HOST.match(host) is not None


def _check_repeated(headers: Sequence[tuple[bytes, bytes]]) -> None:
    seen = set()
    for name, _ in headers:
        if name in ONCE and name in seen:
            raise malformed(f"Send the header {ONCE[name]} once.")
        seen.add(name)


def _size(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> int:
    return len(target) + sum(len(name) + len(value) + FIELD_BYTES for name, value in headers)


def _check_transfer_encoding(version: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Accept `chunked` alone: where a body ends must not depend on who reads the request (RFC 9112, 6.1 and 11.2)."""
    values = b",".join(value for name, value in headers if name == b"transfer-encoding")
    if version == "1.0" or values.strip().lower() != b"chunked":
        raise malformed("Transfer-Encoding may be chunked, once and alone, in HTTP/1.1.")


def malformed(detail: str) -> Problem:
    """Return the 400 for what is not acceptable HTTP."""
    return Problem("malformed-request", detail)


def headers_too_large() -> Problem:
    """Return the 431 for headers, a URL or trailers above the bounds."""
    return Problem(
        "headers-too-large", f"URL and {MAX_FIELDS} headers may have {HEADER_BYTES:,} bytes together, trailers as many."
    )
