"""Values with a name of their own in the document, and what each of them means.

A closed set gets no new values in v1. An open one does: clients survive values that they do not know, so its schema is
the known values or any other text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.contracts.people import ROLES

Json = dict[str, Any]


@dataclass(frozen=True)
class Vocabulary:
    """The meaning of each value, in order; `open_` if there may be others later."""

    text: str
    meanings: Mapping[str, str]
    open_: bool = False


VOCABULARIES: Mapping[str, Vocabulary] = {
    "PostKind": Vocabulary(
        "What a post is.", {"post": "an entry with a date, in lists and feeds", "page": "stands for itself, in no list"}
    ),
    "TextKind": Vocabulary(
        "As what a text is rendered.",
        {
            "post": "as the text of a post",
            "comment": "as a comment: a line end is a line end, and pictures are links",
        },
    ),
    "PostStatus": Vocabulary(
        "Where a post is on its way: draft, scheduled or withdrawn → published → withdrawn.",
        {
            "draft": "not published yet; its author and admins see it",
            "scheduled": "a draft that is published by itself at `publish_at`, or as soon after it as that can be",
            "published": "everybody sees it",
            "withdrawn": "taken back; its author and admins see it",
        },
    ),
    "DiffOp": Vocabulary(
        "Where a piece of what differs between two texts stands.",
        {"equal": "in both", "insert": "in this text alone", "delete": "in the other one alone"},
    ),
    "TextFormat": Vocabulary(
        "The language of a source text.",
        {"markdown": "Markdown; raw HTML in it is shown as text", "html": "HTML, of what was imported as such"},
    ),
    "Discussion": Vocabulary(
        "What happens to new comments of a post.",
        {
            "open": "visible at once",
            "held": "those of all but the post's author and moderators wait for a moderator",
            "closed": "refused as `discussion-closed`; what is there stays readable",
        },
    ),
    "CommentState": Vocabulary(
        "Who sees a comment.",
        {
            "visible": "everybody",
            "held": "its author and moderators, until one of them decides",
            "removed": "nobody: a place without text is kept while replies below it are shown; moderators see the text "
            "of what a moderator removed",
        },
    ),
    "NotificationState": Vocabulary(
        "How far the mail of a notification is.",
        {
            "waiting": "on its way; also while it is being retried",
            "sent": "the mail server took it",
            "skipped": "not sent; `why` says why",
            "failed": "could not be delivered; `why` says why",
        },
    ),
    "ExplanationState": Vocabulary(
        "How far the mail about a comment is.",
        {
            "waiting": "on its way; also while it is being retried",
            "sent": "the mail server took it",
            "skipped": "not sent; `why` says why",
            "failed": "could not be delivered; `why` says why",
            "none": "no mail about it was meant for you",
        },
    ),
    "Role": Vocabulary(
        "What a person may do.",
        dict(
            zip(
                ROLES,
                (
                    "read and comment",
                    "write posts",
                    "decide about comments",
                    "all that authors and moderators may, and more",
                ),
                strict=True,
            )
        ),
        open_=True,
    ),
    "NotificationReason": Vocabulary(
        "Why a person is told of a comment.",
        {
            "reply_to_you": "it answers a comment of theirs",
            "on_your_post": "it stands under a post of theirs",
            "followed_thread": "they follow the discussion",
            "waits_for_approval": "they moderate, and it waits for approval",
        },
        open_=True,
    ),
    "MailScope": Vocabulary(
        "Of which comments a person is told by mail.",
        {"all": "all that concern them", "replies": "those that answer a comment of theirs"},
    ),
    "ModerationMail": Vocabulary(
        "How often a moderator is told by mail of what waits for approval.",
        {"off": "never", "hourly": "every hour at most", "daily": "once a day at most"},
    ),
    "WhyNot": Vocabulary(
        "Why there was no mail.",
        {
            "own_comment": "you wrote it yourself",
            "not_concerned": "it neither answers you nor stands in a discussion of yours or one that you follow",
            "unrecorded": "it is older than what is remembered here",
            "unsubscribed": "you had asked for no mail",
            "replies_only": "you had asked for mail about replies to you alone",
            "address_not_confirmed": "you have no confirmed address",
            "address_suppressed": "a mail server said that your address does not exist",
            "comment_held": "it waits for a moderator",
            "comment_removed": "it was removed before the mail went out",
            "post_withdrawn": "the post was not public when the mail was due",
            "restored": "it waited when the site was put back from a backup, and may have been sent before",
            "too_old": "it was too old when the mail could have gone out",
            "imported": "it was imported, and nothing imported is mailed",
            "refused_by_server": "the mail server refused it for good",
            "gave_up": "every attempt failed for days",
            "nothing_waits": "nothing waited for a moderator any more when the mail could have gone out",
            "overtaken": "a decision came while it was not known whether the mail had arrived",
            "not_a_moderator": "you did not moderate any more",
            "moderation_off": "you had asked for no mail about what waits for a moderator",
        },
        open_=True,
    ),
    "Part": Vocabulary(
        "A part of an answer that could not be had in time; it is null there.",
        {
            "comments": "the comments of a page",
            "comment_count": "how many comments there are",
            "people": "names and pictures: authors have an id alone",
            "viewer": "who you are, in a page",
            "discussion": "the discussion has not heard of a change of its post yet",
        },
        open_=True,
    ),
}

NAMES = {tuple(vocabulary.meanings): name for name, vocabulary in VOCABULARIES.items()}


def values(name: str) -> Json:
    """Return a schema that says which values a field has; `with_names` replaces it by the vocabulary's name."""
    return {"type": "string", "enum": list(VOCABULARIES[name].meanings)}


def with_names(schema: Any) -> Any:
    """Return a schema in which a list of values that is a vocabulary's is a reference to it."""
    if isinstance(schema, list):
        return [with_names(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if (name := NAMES.get(tuple(schema.get("enum", ())))) is not None:
        kept = {word: value for word, value in schema.items() if word not in ("type", "enum", "title")}
        return {"$ref": f"#/components/schemas/{name}", **kept}
    return {word: with_names(value) for word, value in schema.items()}


def schema(name: str) -> Json:
    """Return the schema of a vocabulary."""
    one = VOCABULARIES[name]
    meanings = "\n".join(f"- `{value}`: {meaning}" for value, meaning in one.meanings.items())
    known = values(name)
    if not one.open_:
        return {"title": name, "description": f"{one.text}\n\n{meanings}", **known}
    text = f"{one.text} Other values may come later: pass over those you do not know.\n\n{meanings}"
    return {"title": name, "description": text, "anyOf": [{"title": f"Known{name}", **known}, {"type": "string"}]}
