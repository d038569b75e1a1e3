"""What a restored database of comments does again: what was removed or held since the backup is so again.

What was written since is lost with its text: it is only counted. An approval is not repeated: a moderator sees the
comment once more.
"""

from collections.abc import Collection, Mapping
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.pool import Transaction
from services.chassis.messaging import outbox
from services.chassis.messaging.history import History, Said
from services.comments.commands.moderating import set_state
from services.comments.commands.results import TEXT_FIELDS
from services.comments.domain import comment as rules
from services.comments.domain.comment import Comment, Discussion
from services.comments.store import comment_changes, comment_rows
from services.contracts.comments import CommentFact, CommentHeld, CommentRemoved

HIDDEN = {"visible": 0, "held": 1, "removed": 2}


async def restored(tx: Transaction, history: History, epoch: int) -> Mapping[str, int]:
    """Remove and hold again what was removed or held; return what was done and what is lost.

    Args:
        epoch: that of the backup.
    """
    done = {"comments removed again": 0, "comments held again": 0, "comments lost": 0, "edits and approvals lost": 0}
    removed = history.subjects(CommentRemoved)
    for comment_id, said in history.newest(CommentFact).items():
        locked = await comment_rows.lock(tx, comment_id)
        if locked is None:
            done["comments lost"] += 1
            continue
        discussion, comment = locked
        if not said.is_newer_than(epoch, comment.version):
            continue
        deletes_text = _deletes_text(comment, said, removed)
        if HIDDEN[said.event.state] <= HIDDEN[comment.state] and not deletes_text:
            done["edits and approvals lost"] += said.event.version > comment.version
            continue
        await _hide(tx, discussion, comment, said.event.state, deletes_text=deletes_text)
        done["comments removed again" if said.event.state == "removed" else "comments held again"] += 1
    return done


def _deletes_text(comment: Comment, said: Said[CommentFact], removed: Collection[UUID]) -> bool:
    """Return whether the author may have deleted the text since.

    Events do not say who removed a comment, and only an author's removal deletes the text. A text that was deleted must
    not come back, so that of every comment that was removed and not only rejected is deleted.
    """
    return said.event.state == "removed" and comment.id in removed and not comment.removed_by_author


async def _hide(
    tx: Transaction, discussion: Discussion, comment: Comment, state: rules.State, *, deletes_text: bool
) -> None:
    if state != comment.state:
        await set_state(tx, comment, state)
    if deletes_text:
        await comment_changes.delete_text(tx, comment.id, new_version=state == comment.state)
        await idempotency.blank(tx, comment.id, [*TEXT_FIELDS])
    now = await comment_rows.find(tx, comment.id)
    assert now is not None
    await outbox.add(tx, rules.fact(CommentHeld if state == "held" else CommentRemoved, now, discussion))
