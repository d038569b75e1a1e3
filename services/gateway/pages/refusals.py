"""Say to people why a form was refused, and what to do about it."""

import dataclasses
from collections.abc import Mapping

from services.chassis.errors import FieldError, Problem
from services.contracts.people import LINK_LIFE_WORDS

AGAIN = "Press the button again in a moment."

# A problem that is not named here is told in its own words.
SENTENCES: Mapping[str, str] = {
    "sign-in-required": "You are not signed in, so nothing was stored.",
    "not-found": "What this belongs to is not here any more, or you may not see it.",
    "discussion-closed": "The discussion was closed in the meantime, so nothing was stored.",
    "stale": "The post was changed meanwhile, perhaps by you in another tab, so nothing was stored.",
    "still-running": f"The first press of the button is still being worked on. {AGAIN} It is stored once only.",
    "idempotency-key-reused": (
        "Something else was already stored from this form. Press the button again if this is to be stored too."
    ),
    "too-large": "This is too long to be stored.",
    "unsupported-media-type": "The form was sent in a way that is not understood here. Press the button again.",
    "malformed-json": "The form could not be read to its end. Look it over, and press the button again.",
    "link-used-or-expired": f"This link was used already, or is older than {LINK_LIFE_WORDS}. Ask for another.",
    "internal": f"Something went wrong on our side, and has been noted. {AGAIN}",
    "unavailable": f"The site cannot do this just now. {AGAIN} Nothing is stored twice.",
}
DRAFT_OF_NOBODY = "It is not known who wrote this, so nothing was stored. Press the button only if it was you."
FOREIGN = "This did not come from a page of this site, so nothing was done. Press the button only if you wrote this."
SUBJECTS: Mapping[str, str] = {
    "body": "The text",
    "name": "The name",
    "title": "The title",
    "slug": "The address",
    "edit_note": "The note",
    "email": "The address",
    "parent_id": "The comment above",
    "tags": "A tag",
    "excerpt": "The summary",
    "cover": "The picture",
    "picture": "The picture",
    "publish_at": "The time",
}


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a form came back.

    Attributes:
        kind: of the problem.
        field: the field that is wrong; None if it is none of them, or more than one.
        by_field: what is wrong with each, in a sentence; of a list that is one field, such as `tags`, with all of it.
    """

    kind: str
    status: int
    headers: Mapping[str, str]
    sentence: str
    field: str | None = None
    by_field: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem, *, unread: bool = False) -> "Refusal":
        """Return the refusal that a problem means to a person.

        Args:
            unread: whether nothing of the form could be read, so that nothing of it can be shown.
        """
        by_field: dict[str, str] = {}
        for error in problem.errors:
            by_field.setdefault(error.field.partition(".")[0], _statement(error))
        field = next(iter(by_field)) if len(by_field) == 1 else None
        return cls(problem.kind, problem.status, problem.headers, _sentence(problem, unread), field, by_field)

    @property
    def wants_sign_in(self) -> bool:
        """Whether signing in is the way on."""
        return self.kind == "sign-in-required"


def _sentence(problem: Problem, unread: bool) -> str:
    if problem.kind == "too-large" and unread:
        return f"{SENTENCES[problem.kind]} Go back to the page before: what you typed is still there."
    if problem.kind == "too-many-requests":
        seconds = problem.headers.get("Retry-After", "60")
        return f"That was too often. Press the button again in {seconds} second{'' if seconds == '1' else 's'}."
    if problem.kind == "cross-site" and problem.detail == f"{problem.title}.":
        return FOREIGN
    if problem.kind == "invalid" and problem.errors:
        return " ".join(_statement(error) for error in problem.errors)
    return SENTENCES.get(problem.kind, problem.detail)


def _statement(error: FieldError) -> str:
    subject = SUBJECTS.get(error.field.partition(".")[0])
    return f"{subject} {error.message}." if subject else _capital(error.message)


def _capital(message: str) -> str:
    return f"{message[:1].upper()}{message[1:].rstrip('.')}."
