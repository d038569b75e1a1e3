"""Reply counts and visibility of the comments above new ones."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from services.chassis.database.pool import Transaction
from services.comments.domain.comment import Comment
from services.comments.domain.tree import Change, changes_above
from services.comments.store import comment_rows


async def count_replies(tx: Transaction, comments: Sequence[Comment], parents: Mapping[UUID, Comment]) -> None:
    """Add new comments to the counts of their parents: to `reply_count` the visible ones, to `all_replies` all.

    A parent that was hidden so far is shown now, and so on upwards. Later changes of a state are counted by
    `moderating.set_state`.

    With a hidden parent only one comment may be given: others could change the same comments above it.
    """
    replies: dict[UUID, list[Comment]] = {}
    for comment in comments:
        if comment.parent_id is not None:
            replies.setdefault(comment.parent_id, []).append(comment)
    changes: list[Change] = []
    for parent_id, below in replies.items():
        # a new comment has no replies, so it is shown exactly if it is visible
        parent, shown = parents[parent_id], sum(reply.shown for reply in below)
        above = [parent]
        if shown and not parent.shown:
            above += await comment_rows.find_path(tx, parent.ancestors)
        changes += changes_above(above, added=len(below), visible=shown, shown=shown)
    await comment_rows.update_reply_counts(tx, changes)
