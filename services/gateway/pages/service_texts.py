"""Translate what is said in English: problems, what is wrong with a field, why a mail came.

The API says these as they are. Pages refuse with texts that are marked where they stand; what services say is listed
here.
"""

import re
from functools import lru_cache, reduce

from services.chassis.errors import Problem
from services.gateway.languages import N_, SOURCE, Language, current, gettext, speaking

TITLES = (
    N_("Sign in first"),
    N_("You may not do that"),
    N_("The request came from another site"),
    N_("There is nothing here"),
    N_("The post has not arrived here"),
    N_("The method is not allowed here"),
    N_("The request came too slowly"),
    N_("The time to edit is over"),
    N_("The discussion is closed"),
    N_("That step does not fit the present state"),
    N_("The first request with this key is still running"),
    N_("The link was used or has expired"),
    N_("It has changed since you read it"),
    N_("The body is too large"),
    N_("The media type is not supported"),
    N_("Something in the request is not valid"),
    N_("The idempotency key belongs to another request"),
    N_("Too many requests"),
    N_("The headers are too large"),
    N_("Something went wrong on our side"),
    N_("Temporarily unavailable"),
    N_("The request is not acceptable HTTP"),
    N_("The body is not acceptable JSON"),
    N_("The cursor does not belong to this list"),
    N_("The idempotency key is malformed"),
    N_("The access token is not valid"),
    N_("The refresh token is not valid"),
    N_("The code is not valid"),
)
DETAILS = (
    N_("It does not exist, or you may not see it."),
    N_("It took too long."),
    N_("Only authors may write posts."),
    N_("Only its author, while having the role of an author, and admins may change a post."),
    N_("A draft is not published, so it cannot be withdrawn."),
    N_("Only a draft can be deleted; withdraw what was published."),
    N_("Only a moderator may see what waits, and what was removed."),
    N_("Only its author or a moderator may remove a comment."),
    N_("Only a moderator may do that."),
    N_("Only its author may edit a comment."),
    N_("Its author removed it, and its text with it."),
)
PREDICATES = (  # of a sentence about a field
    N_("is required"),
    N_("is not valid"),
    N_("is unknown. Press the button to comment on the post instead"),
    N_("is not a comment of this post that you can see"),
    N_("stands at depth %(depth)s, below which there are no replies; answer the comment above it"),
    N_("is taken by another post"),
    N_("is no picture of yours"),
    N_("is nested too deeply"),
    N_("becomes too large when it is shown"),
    N_("has a table that is too large"),
    N_("shows nothing"),
    N_("must be an e-mail address"),
    N_("must be 1 to 200 lower-case letters or digits, '-' or '_', and not look like an id"),
    N_("must be one of those offered"),
    N_("must come with a changed title or body"),
    N_("must have a visible character"),
    N_("must have at most %(most)s characters"),
    N_("must have at most %(most)s entries"),
    N_("must not be empty"),
    N_("must not contain NUL"),
    N_("must not contain a lone surrogate"),
    N_("must not contain a non-character"),
    N_("must not contain control characters"),
    N_("must not contain '/' or ',', and not be '.' or '..'"),
)
PICTURES = (  # what is wrong with one, as the predicate of a sentence and as a sentence
    N_("The picture %(problem)s."),
    N_("is a picture that %(problem)s"),
    N_("cannot be read: its file is damaged or incomplete"),
    N_("takes too much memory to be read"),
    N_("takes too much time or memory to be read"),
    N_("has no pixels"),
    N_("may be at most %(most)s pixels wide and high"),
)
EXPLANATIONS = (  # of how a notification ended
    N_("A mail about this comment is on its way to you, because %(reasons)s."),
    N_("A mail about this comment was sent to you, because %(reasons)s."),
    N_("No mail was sent about this comment, although %(reasons)s: %(why)s."),
    N_("The mail about this comment, meant for you because %(reasons)s, could not be delivered: %(why)s."),
    N_("No mail about this comment was meant for you: %(why)s."),
    N_("A mail that tells you, as a moderator, that it waits for approval is on its way to you."),
    N_("A mail told you, as a moderator, that it waited for approval."),
    N_("No mail told you, as a moderator, that it waited for approval: %(why)s."),
    N_("The mail that was to tell you, as a moderator, that it waited could not be delivered: %(why)s."),
    N_("It waits for approval. A mail tells moderators, as often as each of them chose, of what is new."),
)
REASONS = (  # follow "because" and "although"
    N_("it answers your comment"),
    N_("it was written under your post"),
    N_("you follow the discussion in which it was written"),
    N_("it concerns you"),
)
WHY = (  # follow a colon
    N_("you wrote it yourself"),
    N_("it neither answers you nor stands under a post of yours or in a discussion that you follow"),
    N_("it is older than what is remembered here"),
    N_("you had asked for no mail about answers"),
    N_("you had asked for mail about replies to you alone"),
    N_("you have no confirmed address"),
    N_("a mail server said earlier that your address does not exist"),
    N_("it waits for a moderator"),
    N_("it was removed before the mail went out"),
    N_("the post was not public when the mail was due"),
    N_("nothing waited any more when the mail could have gone out"),
    N_("a decision came while nobody knew whether the mail had arrived; the next names what waits then"),
    N_("you did not moderate here any more"),
    N_("you had asked for no mail about what waits"),
    N_("it was too old when the mail could have gone out"),
    N_("it waited when this site was put back from a backup, and may have been sent before"),
    N_("it was imported from another site, and nothing imported is ever mailed"),
    N_("the mail server refused it for good"),
    N_("every attempt failed for days"),
)
SAID = (*TITLES, *DETAILS, *PREDICATES, *PICTURES, *EXPLANATIONS, *REASONS, *WHY)
AND = " and "  # between reasons
VALUE = re.compile(r"%\\\((\w+)\\\)s")  # as `re.escape` leaves it
PATTERNS = {
    message: re.compile(VALUE.sub(r"(?P<\1>.{1,300}?)", re.escape(message)) + r"\Z", re.DOTALL)
    for message in SAID
    if "%(" in message
}
LONGEST = 1_000


def translated(text: str) -> str:
    """Return a text in the reader's language; the same text if it is not known here."""
    return text if current().code == SOURCE or len(text) > LONGEST else _translated(current(), text)


def detail_of(problem: Problem) -> str:
    """Return what a page says of a problem: its detail, or its title where the detail is known in English alone."""
    said = translated(problem.detail)
    return said if said != problem.detail or current().code == SOURCE else f"{translated(problem.title)}."


@lru_cache(1_024)
def _translated(language: Language, text: str) -> str:
    with speaking(language):
        return _said(text)


def _said(text: str) -> str:
    found = gettext(text)
    if found != text:
        return found
    if text.endswith(".") and gettext(text[:-1]) != text[:-1]:  # the title of a problem, as a sentence
        return f"{gettext(text[:-1])}."
    for message, pattern in PATTERNS.items():
        matched = pattern.match(text)
        if matched is not None:
            return gettext(message, **{name: _value(name, value) for name, value in matched.groupdict().items()})
    return text


def _joined(first: str, second: str) -> str:
    return gettext("%(first)s and %(second)s", first=first, second=second)


def _value(name: str, value: str) -> str | int:
    """Return what stands in a text: a number, reasons, or a text of its own."""
    digits = value.replace(",", "")
    if digits.isascii() and digits.isdigit():
        return int(digits)
    if name == "reasons":
        return reduce(_joined, map(_said, value.split(AND)))
    return gettext(value)
