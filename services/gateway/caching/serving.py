"""Make entries of the response cache from answers of the app, and answers from entries."""

import random
from dataclasses import replace

from starlette.types import Message, Send

from services.chassis.http.ready_answers import ReadyAnswer, encode_head
from services.gateway.caching.cacheable import CacheOffer
from services.gateway.caching.entry import Entry, with_values
from services.gateway.caching.etags import matches

PRIVATE = {b"cache-control": b"private, no-cache"}
UNCHANGED = {b"etag", b"vary", b"cache-control", b"x-content-type-options", b"strict-transport-security"}


def entry_of(start: Message, body: bytes, offer: CacheOffer) -> Entry:
    """Return an answer as a cache entry."""
    headers = [header for header in start["headers"] if header[0] != b"x-request-id"]
    if not any(name == b"content-length" for name, _ in headers):
        headers.append((b"content-length", b"%d" % len(body)))
    tag = dict(headers).get(b"etag", b"").decode()
    unchanged = [header for header in headers if header[0] in UNCHANGED or header[0].startswith(b"access-control-")]
    theirs = Entry(
        with_values(headers, PRIVATE),
        with_values(unchanged, PRIVATE),
        body,
        tag,
        offer.tags or frozenset(),
        offer.since,
        own_below=offer.own_below,
    )
    return replace(
        theirs,
        headers=headers,
        unchanged=unchanged,
        head=encode_head(200, headers),
        unchanged_head=encode_head(304, unchanged),
        private=theirs,
    )


def new_request_id() -> bytes:
    """Return the id of a request that came without one."""
    return b"%032x" % random.getrandbits(128)  # no secret; Python seeds it anew in a fork


def has_it(entry: Entry, if_none_match: bytes | None) -> bool:
    """Return whether a client that sent this `If-None-Match` has the kept bytes."""
    return if_none_match is not None and entry.etag != "" and matches(if_none_match.decode("latin-1"), entry.etag)


def ready(entry: Entry, request_id: bytes | None, if_none_match: bytes | None) -> ReadyAnswer:
    """Return 200 with the kept bytes, or 304 for a client that has them, as our own server sends it."""
    its_id = b"x-request-id: %s\r\n" % (request_id or new_request_id())
    if has_it(entry, if_none_match):
        return ReadyAnswer(entry.unchanged_head + its_id, b"")
    return ReadyAnswer(entry.head + its_id, entry.body)


async def serve(entry: Entry, request_id: bytes | None, if_none_match: bytes | None, send: Send) -> None:
    """Send 200 with the kept bytes, or 304 to a client that has them."""
    request_id = request_id or new_request_id()
    if has_it(entry, if_none_match):
        headers = [*entry.unchanged, (b"x-request-id", request_id)]
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    await send(
        {"type": "http.response.start", "status": 200, "headers": [*entry.headers, (b"x-request-id", request_id)]}
    )
    await send({"type": "http.response.body", "body": entry.body})
