"""Hold one answer of the response cache as bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.chassis.http.ready_answers import Headers, encode_head
from services.gateway.caching.etags import retagged

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer.

    Attributes:
        headers: without the request id.
        unchanged: the headers of its 304.
        since: when its oldest part was asked for.
        head, unchanged_head: both as the bytes that a server sends.
        own_below: see `RequestContext`.
        private: the same with headers for one person alone; None in such a one.
        places: where the texts of comments belong in the body, as far as `readers` has looked for them.
        added: comments that were posted since, in their order; who asks for the entry gets it with them.
    """

    headers: Headers
    unchanged: Headers
    body: bytes
    etag: str
    tags: frozenset[str]
    since: float
    head: bytes = b""
    unchanged_head: bytes = b""
    own_below: frozenset[str] | None = None
    private: "Entry | None" = None
    places: dict[str, int] = field(default_factory=dict)
    added: tuple[Json, ...] = ()


def with_body(entry: Entry, body: bytes) -> Entry:
    """Return another representation of the same thing, for the same people."""
    tag = retagged(entry.etag, body)
    changes = {b"etag": tag.encode(), b"content-length": b"%d" % len(body)}
    headers, unchanged = with_values(entry.headers, changes), with_values(entry.unchanged, changes)
    return replace(
        entry,
        headers=headers,
        unchanged=unchanged,
        body=body,
        etag=tag,
        head=encode_head(200, headers) if entry.head else b"",
        unchanged_head=encode_head(304, unchanged) if entry.head else b"",
        private=None if entry.private is None else with_body(entry.private, body),
        places={},
    )


def with_values(headers: Headers, values: Mapping[bytes, bytes]) -> Headers:
    """Return the headers with other values for these names."""
    return [(name, values.get(name, value)) for name, value in headers]
