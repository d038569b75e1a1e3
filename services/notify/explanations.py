"""Explain to a person how a notification ended, in words."""

from collections.abc import Mapping

from services.notify.domain import Reason

STATE_TEXTS: Mapping[str, str] = {
    "waiting": "A mail about this comment is on its way to you, because {reasons}.",
    "sent": "A mail about this comment was sent to you, because {reasons}.",
    "skipped": "No mail was sent about this comment, although {reasons}: {why}.",
    "failed": "The mail about this comment, meant for you because {reasons}, could not be delivered: {why}.",
    "none": "No mail about this comment was meant for you: {why}.",
}

MODERATION_TEXTS: Mapping[str, str] = {
    "waiting": "A mail that tells you, as a moderator, that it waits for approval is on its way to you.",
    "sent": "A mail told you, as a moderator, that it waited for approval.",
    "skipped": "No mail told you, as a moderator, that it waited for approval: {why}.",
    "failed": "The mail that was to tell you, as a moderator, that it waited could not be delivered: {why}.",
    "none": "It waits for approval. A mail tells moderators, as often as each of them chose, of what is new.",
}

WHY_TEXTS: Mapping[str, str] = {
    "own_comment": "you wrote it yourself",
    "not_concerned": "it neither answers you nor stands under a post of yours or in a discussion that you follow",
    "unrecorded": "it is older than what is remembered here",
    "unsubscribed": "you had asked for no mail about answers",
    "replies_only": "you had asked for mail about replies to you alone",
    "address_not_confirmed": "you have no confirmed address",
    "address_suppressed": "a mail server said earlier that your address does not exist",
    "comment_held": "it waits for a moderator",
    "comment_removed": "it was removed before the mail went out",
    "post_withdrawn": "the post was not public when the mail was due",
    "nothing_waits": "nothing waited any more when the mail could have gone out",
    "overtaken": "a decision came while nobody knew whether the mail had arrived; the next names what waits then",
    "not_a_moderator": "you did not moderate here any more",
    "moderation_off": "you had asked for no mail about what waits",
    "too_old": "it was too old when the mail could have gone out",
    "restored": "it waited when this site was put back from a backup, and may have been sent before",
    "imported": "it was imported from another site, and nothing imported is ever mailed",
    "refused_by_server": "the mail server refused it for good",
    "gave_up": "every attempt failed for days",
}


def in_words(state: str, why: str | None, reasons: tuple[str, ...]) -> str:
    """Return one sentence that tells a person how a notification ended."""
    named = " and ".join(reason.cause for reason in Reason.all_of(reasons))
    return STATE_TEXTS[state].format(reasons=named, why=WHY_TEXTS.get(why or "", why or ""))


def moderation_in_words(state: str, why: str | None) -> str:
    """Return one sentence that tells a moderator what became of the mail that was to name a waiting comment."""
    return MODERATION_TEXTS[state].format(why=WHY_TEXTS.get(why or "", why or ""))
