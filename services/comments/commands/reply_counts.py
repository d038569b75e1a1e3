"""Reply counts and visibility of the comments above one that changes."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from services.chassis.database.pool import Transaction
from services.comments.domain.comment import Comment, State
from services.comments.domain.tree import Change, changes_above
from services.comments.store import comment_rows


async def count_replies(tx: Transaction, comments: Sequence[Comment], parents: Mapping[UUID, Comment]) -> None:
    """Count new comments in their parents; a parent that was hidden so far is shown now, and so on upwards.

    With a hidden parent only one comment may be given: others could change the same comments above it.
    """
    replies: dict[UUID, list[Comment]] = {}
    for comment in comments:
        if comment.parent_id is not None:
            replies.setdefault(comment.parent_id, []).append(comment)
    changes: list[Change] = []
    for parent_id, below in replies.items():
        parent, shown = parents[parent_id], sum(reply.shown for reply in below)
        above = [parent]
        if shown and not parent.shown:
            above += await comment_rows.find_path(tx, parent.ancestors)
        changes += changes_above(above, added=len(below), visible=shown, shown=shown)
    await comment_rows.update_reply_counts(tx, changes)


async def set_state(tx: Transaction, comment: Comment, state: State) -> None:
    """Write a comment's state, and what it changes in the count of its post and in the comments above it."""
    visible = int(state == "visible") - int(comment.state == "visible")
    shown = state == "visible" or comment.shown_replies > 0
    await comment_rows.update_state(tx, comment.id, state, shown=shown, counted=visible)
    if comment.parent_id is not None:
        above = await comment_rows.find_path(tx, comment.ancestors)
        changes = changes_above(above, visible=visible, shown=int(shown) - int(comment.shown))
        await comment_rows.update_reply_counts(tx, changes)
