"""What can go wrong, as values that become RFC 9457 problem details at the edge.

`type` is `/problems/<kind>`; the kinds are listed once, here, with the status and title that belong to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KINDS: Mapping[str, tuple[int, str]] = {
    "malformed-json": (400, "The body is not acceptable JSON"),
    "malformed-cursor": (400, "The cursor does not belong to this list"),
    "malformed-idempotency-key": (400, "The idempotency key is malformed"),
    "sign-in-required": (401, "Sign in first"),
    "invalid-token": (401, "The access token is not valid"),
    "invalid-refresh-token": (401, "The refresh token is not valid"),
    "forbidden": (403, "You may not do that"),
    "cross-site": (403, "The request came from another site"),
    "not-found": (404, "There is nothing here"),
    "post-unknown": (404, "The post has not arrived here"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "edit-window-over": (409, "The time to edit is over"),
    "discussion-closed": (409, "The discussion is closed"),
    "wrong-state": (409, "That step does not fit the present state"),
    "still-running": (409, "The first request with this key is still running"),
    "link-used-or-expired": (410, "The link was used or has expired"),
    "stale": (412, "It has changed since you read it"),
    "too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The media type is not supported"),
    "invalid": (422, "Something in the request is not valid"),
    "idempotency-key-reused": (422, "The idempotency key belongs to another request"),
    "too-many-requests": (429, "Too many requests"),
    "internal": (500, "Something went wrong on our side"),
    "unavailable": (503, "Temporarily unavailable"),
}


@dataclass(frozen=True)
class FieldError:
    """One wrong field: dotted name, `""` for the whole body, the parameter's name for queries."""

    field: str
    message: str


class Problem(Exception):
    """A refusal that its receiver can act on.

    Args:
        kind: one of `KINDS`.
        detail: one sentence for a person.
        errors: which fields are wrong, for kind `invalid`.
        headers: extra response headers, such as `Retry-After`.
    """

    def __init__(
        self,
        kind: str,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.status, self.title = KINDS[kind]
        self.detail = detail or self.title + "."
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(f"{kind}: {self.detail}")


def invalid(field: str, message: str) -> Problem:
    """The 422 for one field."""
    return Problem("invalid", message, errors=[FieldError(field, message)])


def not_found() -> Problem:
    """The one 404: alike whether a thing is absent or hidden from the caller."""
    return Problem("not-found", "It does not exist, or you may not see it.")


def unavailable(detail: str, retry_after: int = 1) -> Problem:
    """The 503 that asks to come back in `retry_after` whole seconds."""
    return Problem("unavailable", detail, headers={"Retry-After": str(retry_after)})
