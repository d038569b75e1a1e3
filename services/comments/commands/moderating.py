"""Removal by authors and moderators, and the steps that only a moderator may take."""

from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Kept, Key
from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem, not_found
from services.chassis.http.requests import check_if_match
from services.chassis.identity import Caller
from services.chassis.messaging import outbox
from services.comments.commands.results import TEXT_FIELDS, finish, replayed
from services.comments.domain import comment as rules
from services.comments.domain.comment import Comment, State, Step
from services.comments.domain.tree import changes_above
from services.comments.store import comment_changes, comment_rows
from services.comments.visibility import can_see, lock_visible
from services.contracts.comments import CommentRemoved
from services.contracts.people import is_moderator


async def remove_comment(
    db: Database, caller: Caller, comment_id: UUID, key: Key | None = None, if_match: str | None = None
) -> CommandResult:
    """Remove a comment, as its author (which deletes its text) or as a moderator; also below a withdrawn post.

    Raises:
        Problem: `sign-in-required`, `not-found`, `forbidden`, `stale`, and those of the idempotency key.
    """
    caller.require_person()
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return CommandResult(kept.status, replayed=True)
        locked = await comment_rows.lock(tx, comment_id)
        if locked is None:
            raise not_found()
        discussion, comment = locked
        is_author = rules.is_own(comment, caller)
        if not is_author and not is_moderator(caller.roles):
            if discussion.status != "published" or not await can_see(tx, comment, caller):
                raise not_found()
            raise Problem("forbidden", "Only its author or a moderator may remove a comment.")
        if comment.state != "removed":
            check_if_match(if_match, comment.version, discussion.epoch)
            await set_state(tx, comment, "removed")
            if is_author:
                await comment_changes.delete_text(tx, comment.id, new_version=False)
        elif is_author and not comment.removed_by_author:
            await comment_changes.delete_text(tx, comment.id, new_version=True)
        else:
            return await _removed(tx, comment.id, key)
        if is_author:
            await idempotency.blank(tx, comment.id, [*TEXT_FIELDS])
        now = await comment_rows.find(tx, comment.id)
        assert now is not None
        await outbox.add(tx, rules.fact(CommentRemoved, now, discussion))
        return await _removed(tx, comment.id, key)


async def _removed(tx: Transaction, comment_id: UUID, key: Key | None) -> CommandResult:
    await idempotency.keep(tx, key, Kept(204, None, comment_id, None))
    return CommandResult(204)


async def moderate_comment(
    db: Database, caller: Caller, comment_id: UUID, step: Step, key: Key | None = None
) -> CommandResult:
    """Hold, approve, reject or restore a comment. A step that was taken before changes nothing.

    Raises:
        Problem: `sign-in-required`, `not-found`, `forbidden`, `wrong-state`, and those of the idempotency key.
    """
    caller.require_person()
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return await replayed(tx, kept, caller)
        discussion, comment = await lock_visible(tx, comment_id, caller)
        if not is_moderator(caller.roles):
            raise Problem("forbidden", "Only a moderator may do that.")
        state = rules.state_after(step, comment)
        if state == comment.state:
            return await finish(tx, discussion, comment.id, None, caller, key)
        await set_state(tx, comment, state)
        return await finish(tx, discussion, comment.id, rules.FACTS[step], caller, key)


async def set_state(tx: Transaction, comment: Comment, state: State) -> None:
    """Write a comment's state, and what it changes in the count of its post and in the comments above it."""
    visible = int(state == "visible") - int(comment.state == "visible")
    shown = state == "visible" or comment.shown_replies > 0
    await comment_changes.update_state(tx, comment.id, state, shown=shown, counted=visible)
    if comment.parent_id is not None:
        above = await comment_rows.find_path(tx, comment.ancestors)
        changes = changes_above(above, visible=visible, shown=int(shown) - int(comment.shown))
        await comment_rows.update_reply_counts(tx, changes)
