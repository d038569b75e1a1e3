"""Edit a comment, as its author."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Key
from services.chassis.database.pool import Database
from services.chassis.errors import Problem, not_found
from services.chassis.http.requests import check_if_match
from services.chassis.identity import Caller
from services.chassis.text.renderer import RENDERER_VERSION, render
from services.comments.commands.results import finish, replayed
from services.comments.domain import comment as rules
from services.comments.domain.comment import Comment
from services.comments.store import comment_changes
from services.comments.visibility import find_visible, lock_visible
from services.contracts.comments import CommentEdited, EditComment


async def edit_comment(
    db: Database,
    caller: Caller,
    comment_id: UUID,
    command: EditComment,
    key: Key | None = None,
    if_match: str | None = None,
    *,
    window: timedelta,
    picture_hosts: Collection[str] = (),
) -> CommandResult:
    """Edit a comment, within `window` after it was posted. A held comment stays held.

    It is looked at twice: before the text is rendered, which may be costly, and again when it is stored.

    Raises:
        Problem: `sign-in-required`, `not-found` (also for a removed one), `forbidden`, `edit-window-over`, `stale`,
            `invalid` for the body, and those of the idempotency key.
    """
    owner = caller.require_person()
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return await replayed(tx, kept, caller)
        discussion, comment, _ = await find_visible(tx, comment_id, caller)
        _check(comment, discussion.epoch, caller, window, if_match)
    html = await render(
        command.body, "markdown", "comment", anchor=str(comment_id), picture_hosts=picture_hosts, owner=owner
    )
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return await replayed(tx, kept, caller)
        discussion, comment = await lock_visible(tx, comment_id, caller)
        now = _check(comment, discussion.epoch, caller, window, if_match)
        if (command.body, "markdown") != (comment.body, comment.format):
            await comment_changes.update_text(tx, comment.id, command.body, html, RENDERER_VERSION, now)
            return await finish(tx, discussion, comment.id, CommentEdited, caller, key)
        return await finish(tx, discussion, comment.id, None, caller, key)


def _check(comment: Comment, epoch: int, caller: Caller, window: timedelta, if_match: str | None) -> datetime:
    """Refuse an edit that is not allowed, and return the time of one that is.

    Raises:
        Problem: `not-found`, `forbidden`, `edit-window-over`, `stale`.
    """
    if comment.state == "removed":
        raise not_found()
    if not rules.is_own(comment, caller):
        raise Problem("forbidden", "Only its author may edit a comment.")
    now = datetime.now(UTC)
    if now - comment.created_at > window:
        raise Problem("edit-window-over")
    check_if_match(if_match, comment.version, epoch)
    return now
