"""Exceptions that become problem details (RFC 9457) in an HTTP response, and the one that ends a process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.contracts.problems import KINDS


class CannotStart(Exception):
    """The process cannot work with its settings. The message is a sentence for the operator that names the variable."""


@dataclass(frozen=True)
class FieldError:
    """One invalid field: its dotted name, `""` for the whole body, the parameter's name in a query."""

    field: str
    message: str


class Problem(Exception):
    """A refused or failed request, described for its client.

    Args:
        kind: one of `contracts.problems.KINDS`.
        detail: one sentence for a person.
        errors: the invalid fields, for kind `invalid`.
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
    """Return the 422 for one field; `message` is a predicate about it, or a sentence without a field."""
    detail = f"{field} {message}".strip()
    return Problem("invalid", detail if detail.endswith(".") else f"{detail}.", errors=[FieldError(field, message)])


def not_found() -> Problem:
    """Return the 404, the same for a resource that is absent and one that is hidden from the caller."""
    return Problem("not-found", "It does not exist, or you may not see it.")


def unavailable(detail: str, retry_after: int = 1) -> Problem:
    """Return the 503 with `Retry-After` in whole seconds."""
    return Problem("unavailable", detail, headers={"Retry-After": str(retry_after)})
