"""Refusals as exceptions; the HTTP side turns them into problem details (RFC 9457)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.contracts.problems import KINDS


@dataclass(frozen=True)
class FieldError:
    """One wrong field: dotted name, `""` for the whole body, the parameter's name for queries."""

    field: str
    message: str


class Problem(Exception):
    """A refusal that its receiver can act on.

    Args:
        kind: one of `contracts.problems.KINDS`.
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
        self.status, self.title = KINDS[kind].status, KINDS[kind].title
        self.detail = detail or self.title + "."
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(f"{kind}: {self.detail}")


def invalid(field: str, message: str) -> Problem:
    """Return the 422 for one field."""
    return Problem("invalid", message, errors=[FieldError(field, message)])


def not_found() -> Problem:
    """Return the one 404: alike whether a thing is absent or hidden from the caller."""
    return Problem("not-found", "It does not exist, or you may not see it.")


def unavailable(detail: str, retry_after: int = 1) -> Problem:
    """Return the 503 that asks to come back in `retry_after` whole seconds."""
    return Problem("unavailable", detail, headers={"Retry-After": str(retry_after)})
