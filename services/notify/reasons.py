"""Reasons for which somebody is told of a comment, with their words."""

from collections.abc import Iterable, Sequence
from enum import StrEnum


class Reason(StrEnum):
    """Why somebody is told of a comment: the value in rows and events, and how mails and explanations say it.

    Attributes:
        deed: what the commenter did, before the title of the post.
        because: why the mail comes.
        cause: the same about one comment.
    """

    REPLY_TO_YOU = (
        *("reply_to_you", "answered you under"),
        *("somebody answered your comment", "it answers your comment"),
    )
    ON_YOUR_POST = (
        *("on_your_post", "commented on your post"),
        *("somebody commented on your post", "it was written under your post"),
    )
    FOLLOWED_THREAD = (
        *("followed_thread", "commented on"),
        *("you follow the discussion", "you follow the discussion in which it was written"),
    )
    # of rows that a newer version has written
    UNKNOWN = "unknown", "commented on", "it concerns you", "it concerns you"

    deed: str
    because: str
    cause: str

    def __new__(cls, value: str, deed: str, because: str, cause: str) -> "Reason":
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.deed, reason.because, reason.cause = deed, because, cause
        return reason

    @classmethod
    def all_of(cls, names: Iterable[str]) -> list["Reason"]:
        """Return the reasons with these names, each once, and at least one."""
        by_name = {reason.value: reason for reason in cls}
        return list(dict.fromkeys(by_name.get(name, cls.UNKNOWN) for name in names)) or [cls.UNKNOWN]


def in_mails(reasons: Sequence[str]) -> tuple[str, str]:
    """Return what the commenter did, by the first of the reasons, and why the mail comes, by all of them."""
    known = Reason.all_of(reasons)
    return known[0].deed, " and ".join(reason.because for reason in known)
