"""What a command does to the comments above the one it changes."""

from services.chassis.database.pool import Transaction
from services.comments import store
from services.comments.domain.comment import Comment, State
from services.comments.domain.tree import ripple


async def count_above(tx: Transaction, comment: Comment, parent: Comment | None) -> None:
    """Count a new comment in its parent; a parent that was hidden so far is shown now, and so on upwards."""
    if parent is None:
        return
    shown = int(comment.shown)
    above = [parent]
    if shown and not parent.shown:
        above += await store.above(tx, parent.ancestors)
    await store.update_above(tx, ripple(above, added=1, visible=shown, shown=shown))


async def set_state(tx: Transaction, comment: Comment, state: State) -> None:
    """Write the state, and what it means for the post's count and for everything above."""
    visible = int(state == "visible") - int(comment.state == "visible")
    shown = state == "visible" or comment.shown_replies > 0
    await store.update_state(tx, comment.id, state, shown=shown, counted=visible)
    if comment.parent_id is not None:
        above = await store.above(tx, comment.ancestors)
        await store.update_above(tx, ripple(above, visible=visible, shown=int(shown) - int(comment.shown)))
