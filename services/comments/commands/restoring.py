"""Apply to a restored database what comments has said since the snapshot: the last word counts, of all but texts.

A text that was written since is lost; a comment whose text was edited since is shown by no approval, only hidden.
"""

from collections.abc import Mapping

from services.chassis.database import idempotency
from services.chassis.database.pool import Transaction
from services.chassis.messaging import outbox
from services.chassis.messaging.history import History
from services.comments.commands.moderating import set_state
from services.comments.commands.results import TEXT_FIELDS
from services.comments.domain import comment as rules
from services.comments.domain.comment import Comment, Discussion, State
from services.comments.store import comment_changes, comment_rows
from services.contracts.comments import CommentEdited, CommentFact, CommentRemoved, CommentStated

DONE: Mapping[State, str] = {
    "removed": "comments removed again",
    "held": "comments held again",
    "visible": "comments shown again",
}


async def apply_history(tx: Transaction, history: History, epoch: int) -> Mapping[str, int]:
    """Remove, hold and show again; return what was done and what is lost.

    Args:
        epoch: that of the backup.
    """
    done = dict.fromkeys((*DONE.values(), "comments lost", "edits lost"), 0)
    for comment_id, said in history.newest(CommentFact).items():
        locked = await comment_rows.lock(tx, comment_id)
        if locked is None:
            done["comments lost"] += 1
        elif said.is_newer_than(epoch, locked[1].version):
            discussion, comment = locked
            state = said.event.state
            removed = history.has_newer(CommentRemoved, comment_id, epoch, comment.version)
            deletes_text = _deletes_text(comment, state, removed=removed)
            if state != "removed" and history.has_newer(CommentEdited, comment_id, epoch, comment.version):
                done["edits lost"] += 1
                state = comment.state if state == "visible" else state
            if state == "visible" and comment.body is None:
                state = comment.state
            if state != comment.state or deletes_text:
                await _set(tx, discussion, comment, state, deletes_text=deletes_text)
                done[DONE[state]] += 1
    return done


def _deletes_text(comment: Comment, state: State, *, removed: bool) -> bool:
    """Return whether the author may have deleted the text since.

    Events do not say who removed a comment, and only an author's removal deletes the text. A text that was deleted must
    not come back, so that of every comment that was removed since and not only rejected is deleted.
    """
    return state == "removed" and removed and not comment.removed_by_author


async def _set(tx: Transaction, discussion: Discussion, comment: Comment, state: State, *, deletes_text: bool) -> None:
    if state != comment.state:
        await set_state(tx, comment, state)
    if deletes_text:
        await comment_changes.delete_text(tx, comment.id, new_version=state == comment.state)
        await idempotency.blank(tx, comment.id, [*TEXT_FIELDS])
    now = await comment_rows.find(tx, comment.id)
    assert now is not None
    await outbox.add(tx, rules.fact(CommentStated, now, discussion))  # nobody is told of it a second time
