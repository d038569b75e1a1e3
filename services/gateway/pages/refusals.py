"""Say to people why a form was refused, and what to do about it."""

import dataclasses
from collections.abc import Mapping

from services.chassis.errors import FieldError, Problem
from services.gateway.languages import N_, gettext, ngettext
from services.gateway.pages.service_texts import translated

# A problem that is not named here is told in its own words.
SENTENCES: Mapping[str, str] = {
    "sign-in-required": N_("You are not signed in, so nothing was stored."),
    "not-found": N_("What this belongs to is not here any more, or you may not see it."),
    "discussion-closed": N_("The discussion was closed in the meantime, so nothing was stored."),
    "stale": N_("The post was changed meanwhile, perhaps by you in another tab, so nothing was stored."),
    "still-running": N_(
        "The first press of the button is still being worked on. Press the button again in a moment. "
        "It is stored once only."
    ),
    "idempotency-key-reused": N_(
        "Something else was already stored from this form. Press the button again if this is to be stored too."
    ),
    "too-large": N_("This is too long to be stored."),
    "unsupported-media-type": N_("The form was sent in a way that is not understood here. Press the button again."),
    "malformed-json": N_("The form could not be read to its end. Look it over, and press the button again."),
    "link-used-or-expired": N_("This link was used already, or is older than ten minutes. Ask for another."),
    "internal": N_("Something went wrong on our side, and has been noted. Press the button again in a moment."),
    "unavailable": N_("The site cannot do this just now. Press the button again in a moment. Nothing is stored twice."),
}
DRAFT_OF_NOBODY = N_("It is not known who wrote this, so nothing was stored. Press the button only if it was you.")
FOREIGN = N_(
    "This did not come from a page of this site, so nothing was done. Press the button only if you wrote this."
)
SUBJECTS: Mapping[str, str] = {
    "body": N_("The text"),
    "name": N_("The name"),
    "about": N_("What you say of yourself"),
    "title": N_("The title"),
    "slug": N_("The address"),
    "edit_note": N_("The note"),
    "email": N_("The address"),
    "parent_id": N_("The comment above"),
    "tags": N_("A tag"),
    "excerpt": N_("The summary"),
    "cover": N_("The picture"),
    "picture": N_("The picture"),
    "publish_at": N_("The time"),
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
            by_field.setdefault(error.field.partition(".")[0], _of_field(error))
        field = next(iter(by_field)) if len(by_field) == 1 else None
        return cls(problem.kind, problem.status, problem.headers, _sentence(problem, unread), field, by_field)

    @property
    def wants_sign_in(self) -> bool:
        """Whether signing in is the way on."""
        return self.kind == "sign-in-required"


def _sentence(problem: Problem, unread: bool) -> str:
    if problem.kind == "too-large" and unread:
        return gettext("This is too long to be stored. Go back to the page before: what you typed is still there.")
    if problem.kind == "too-many-requests":
        return ngettext(
            "That was too often. Press the button again in %(num)s second.",
            "That was too often. Press the button again in %(num)s seconds.",
            int(problem.headers.get("Retry-After", "60")),
        )
    if problem.kind == "cross-site" and problem.detail == f"{problem.title}.":
        return gettext(FOREIGN)
    if problem.kind == "invalid" and problem.errors:
        return " ".join(_of_field(one) for one in problem.errors)
    return gettext(SENTENCES[problem.kind]) if problem.kind in SENTENCES else translated(problem.detail)


def _of_field(error: FieldError) -> str:
    subject = SUBJECTS.get(error.field.partition(".")[0])
    if subject is None:
        return _capital(translated(error.message))
    return gettext("%(field)s %(problem)s.", field=gettext(subject), problem=translated(error.message))


def _capital(message: str) -> str:
    return f"{message[:1].upper()}{message[1:].rstrip('.')}."
