"""The tree: what a change of one comment changes in those above it, and how its pages are nested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.chassis.http import cursors
from services.chassis.identity import Caller
from services.comments.domain.comment import Comment, representation
from services.contracts.people import is_moderator

FIRST = UUID(int=0)
LAST = UUID(int=(1 << 128) - 1)
INLINE_LEVELS = 20  # JSON nests three times as deep, and readers of JSON have limits


@dataclass(frozen=True)
class Change:
    """What changes in one comment because something below it did: differences of its counts, and its new `shown`."""

    id: UUID
    all_replies: int
    reply_count: int
    shown_replies: int
    shown: bool


def changes_above(above: Sequence[Comment], *, added: int = 0, visible: int = 0, shown: int = 0) -> list[Change]:
    """Return the changes above comments that were added, or became visible (1) or not (-1), or shown (1) or not (-1).

    Args:
        above: the comments above them, the nearest first; those at the end that do not change may be left out.
        added, visible, shown: what changes in the counts of the nearest one.
    """
    changes: list[Change] = []
    newly_shown = shown
    for comment in above:
        is_nearest = not changes
        if not newly_shown and not (is_nearest and (added or visible)):
            break
        stays_shown = comment.state == "visible" or comment.shown_replies + newly_shown > 0
        changes.append(
            Change(
                id=comment.id,
                all_replies=added if is_nearest else 0,
                reply_count=visible if is_nearest else 0,
                shown_replies=newly_shown,
                shown=stays_shown,
            )
        )
        newly_shown = int(stays_shown) - int(comment.shown)
    return changes


@dataclass(frozen=True)
class SeenHidden:
    """The hidden comments below a post that one person sees: their own held ones, and those above these.

    Attributes:
        counts: how many of `ids` stand in each list, by the id of their parent (or the post).
    """

    ids: frozenset[UUID] = frozenset()
    counts: Mapping[UUID, int] | None = None

    def under(self, comment_id: UUID) -> int:
        """Return how many of `ids` are direct replies of this comment."""
        return self.counts.get(comment_id, 0) if self.counts else 0


NO_HIDDEN = SeenHidden()


def replies_list(comment_id: UUID) -> str:
    """Return the name of the list of a comment's direct replies, for cursors."""
    return f"replies/{comment_id}"


def nest(
    listed: Sequence[Comment], below: Sequence[Comment], caller: Caller, hidden: SeenHidden
) -> list[dict[str, Any]]:
    """Return the listed comments in their order, each with the beginning of its tree.

    Args:
        below: of each listed comment (all of one depth) a beginning of what stands below it, in depth-first order.
    """
    nodes: dict[UUID | None, dict[str, Any]] = {comment.id: representation(comment, caller) for comment in listed}
    items = list(nodes.values())
    inlined = list(listed)
    last_reply: dict[UUID | None, UUID] = {}
    for comment in below:
        # A parent that was hidden between two statements is missing; what only this caller sees below it is left out.
        parent = nodes.get(comment.parent_id)
        if parent is None or comment.depth - listed[0].depth > INLINE_LEVELS:
            continue
        node = nodes[comment.id] = representation(comment, caller)
        parent["replies"]["items"].append(node)
        inlined.append(comment)
        last_reply[comment.parent_id] = comment.id
    for comment in inlined:
        replies = nodes[comment.id]["replies"]
        if len(replies["items"]) < replies_seen(comment, caller, hidden):
            replies["next"] = cursors.encode(replies_list(comment.id), last_reply.get(comment.id, FIRST))
    return items


def replies_seen(comment: Comment, caller: Caller, hidden: SeenHidden) -> int:
    """Return how many direct replies this caller sees, whole or as tombstones."""
    return comment.all_replies if is_moderator(caller.roles) else comment.shown_replies + hidden.under(comment.id)
