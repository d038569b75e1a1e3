"""Kinds of problems (RFC 9457): the `type` of an error response is `/problems/<kind>`.

Clients and services tell errors apart by their kind; a page of the gateway explains each that has a meaning below.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from services.contracts.people import LINK_LIFE_WORDS


@dataclass(frozen=True)
class ProblemKind:
    """The HTTP status of a kind, and its title: a few words, the same for every occurrence."""

    status: int
    title: str


KINDS: Mapping[str, ProblemKind] = {
    "malformed-request": ProblemKind(400, "The request is not acceptable HTTP"),
    "malformed-json": ProblemKind(400, "The body is not acceptable JSON"),
    "malformed-cursor": ProblemKind(400, "The cursor does not belong to this list"),
    "malformed-idempotency-key": ProblemKind(400, "The idempotency key is malformed"),
    "sign-in-required": ProblemKind(401, "Sign in first"),
    "invalid-token": ProblemKind(401, "The access token is not valid"),
    "invalid-refresh-token": ProblemKind(401, "The refresh token is not valid"),
    "invalid-code": ProblemKind(401, "The code is not valid"),
    "forbidden": ProblemKind(403, "You may not do that"),
    "cross-site": ProblemKind(403, "The request came from another site"),
    "not-found": ProblemKind(404, "There is nothing here"),
    "post-unknown": ProblemKind(404, "The post has not arrived here"),
    "method-not-allowed": ProblemKind(405, "The method is not allowed here"),
    "request-timeout": ProblemKind(408, "The request came too slowly"),
    "edit-window-over": ProblemKind(409, "The time to edit is over"),
    "discussion-closed": ProblemKind(409, "The discussion is closed"),
    "wrong-state": ProblemKind(409, "That step does not fit the present state"),
    "still-running": ProblemKind(409, "The first request with this key is still running"),
    "link-used-or-expired": ProblemKind(410, "The link was used or has expired"),
    "stale": ProblemKind(412, "It has changed since you read it"),
    "too-large": ProblemKind(413, "The body is too large"),
    "unsupported-media-type": ProblemKind(415, "The media type is not supported"),
    "invalid": ProblemKind(422, "Something in the request is not valid"),
    "idempotency-key-reused": ProblemKind(422, "The idempotency key belongs to another request"),
    "too-many-requests": ProblemKind(429, "Too many requests"),
    "headers-too-large": ProblemKind(431, "The headers are too large"),
    "internal": ProblemKind(500, "Something went wrong on our side"),
    "unavailable": ProblemKind(503, "Temporarily unavailable"),
}

# What a kind means to a client, and what to do about it. Kinds without a meaning are told between services only.
MEANINGS: Mapping[str, str] = {
    "malformed-request": "The request breaks the rules of HTTP/1.1 (RFC 9112), or repeats a header that stands once.",
    "malformed-json": "The body must be JSON (RFC 8259) in UTF-8, with finite numbers, nested at most 32 deep.",
    "malformed-cursor": "A cursor comes from `next` of the same list in the same order, unchanged.",
    "malformed-idempotency-key": "`Idempotency-Key` takes 1 to 255 printable ASCII characters, once.",
    "sign-in-required": "Send `Authorization: Bearer` with an access token.",
    "invalid-token": "The access token is malformed, expired or revoked. Refresh it, or sign in again.",
    "invalid-refresh-token": "The refresh token is unknown, expired, ended or was used before. Sign in again.",
    "invalid-code": "The code is wrong, unknown, used or expired, or was tried too often. A link in a mail goes on.",
    "forbidden": "You are signed in, you may see it, and you may not do this with it.",
    "cross-site": "A write with our cookie must come from our pages at their public address. Others use Bearer tokens.",
    "not-found": "It does not exist, or you may not see it. The answer is the same for both.",
    "method-not-allowed": "`Allow` names the methods of this path.",
    "request-timeout": "Headers may take 15 seconds; a body may pause for 15 seconds and take ten minutes.",
    "edit-window-over": "A comment can be edited for a limited time after it was written.",
    "discussion-closed": "The author closed the discussion. What is there stays readable.",
    "wrong-state": "The thing is in a state from which this step does not lead on.",
    "still-running": "The first request with this idempotency key has not ended. Wait as `Retry-After` says.",
    "link-used-or-expired": f"A link to sign in works once, for {LINK_LIFE_WORDS}. Ask for another.",
    "stale": "`If-Match` names a version that is no longer the present one. Read the thing again.",
    "too-large": "Bodies may have 256 KiB, those of posts 1.5 MiB, pictures 5 MiB.",
    "unsupported-media-type": "Send `application/json` in UTF-8, without a content coding.",
    "invalid": "A field or a query parameter has a value that is not allowed; `errors` names each.",
    "idempotency-key-reused": "The key was used within 24 hours for a request that differs in method, path or body.",
    "too-many-requests": "Wait as `Retry-After` says. `RateLimit-Policy` names the limits.",
    "headers-too-large": "URL and headers may have 32 KiB together; the trailers of a chunked body as many.",
    "internal": "The fault is ours and has been logged under the request id.",
    "unavailable": "A part of the system does not answer now. Nothing is known to be wrong with the request.",
}
