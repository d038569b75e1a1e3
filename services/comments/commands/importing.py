"""Import of comments from elsewhere."""

from collections.abc import Collection
from uuid import UUID

from services.chassis.database.pool import Database, Transaction
from services.chassis.database.sources import checked_source
from services.chassis.errors import Problem, invalid
from services.chassis.ids import id_at, moment_of
from services.chassis.messaging import outbox
from services.chassis.text.renderer import RENDERER_VERSION, render
from services.comments.commands.reply_counts import count_replies
from services.comments.domain import comment as rules
from services.comments.domain.comment import Comment, new_comment
from services.comments.store import comment_rows, discussion_rows
from services.contracts.comments import CommentImported, ImportComment

NOT_ARRIVED = "The post has not arrived here."


async def import_comment(
    db: Database, command: ImportComment, *, picture_hosts: Collection[str] = ()
) -> tuple[UUID, bool]:
    """Import a comment from elsewhere with its date and state. Return its id and whether it is new here.

    A repetition, also at the same time, changes nothing, and an earlier one is not rendered again. No mail is ever sent
    about what was imported.

    Raises:
        Problem: `post-unknown` while the post has not arrived here; `invalid` for a parent that is not there, for a
            source or a date that cannot be kept.
    """
    source = checked_source(command.site, command.source_id)
    try:
        comment_id = id_at(command.created_at, command.source_id)
        created_at = moment_of(comment_id)
    except (ValueError, OverflowError):
        raise invalid("created_at", "must be between the years 1970 and 9999") from None
    async with db.reader() as reader:
        if (known := await comment_rows.find_by_source(reader, *source)) is not None:
            return known, False
        if await discussion_rows.find_discussion(reader, command.post_id) is None:
            raise Problem("post-unknown", NOT_ARRIVED)
    html = await render(
        command.body,
        command.format,
        "comment",
        anchor=str(comment_id),
        picture_hosts=picture_hosts,
        may_be_empty=True,
    )
    async with db.transaction() as tx:
        if (known := await comment_rows.find_by_source(tx, *source)) is not None:
            return known, False
        discussion = await discussion_rows.lock_discussion(tx, command.post_id)
        if discussion is None:
            raise Problem("post-unknown", NOT_ARRIVED)
        parent = await _imported_parent(tx, command)
        comment = new_comment(
            parent,
            id=comment_id,
            post_id=command.post_id,
            author_id=command.author_id,
            body=command.body,
            format=command.format,
            body_html=html,
            state=command.state,
            created_at=created_at,
            imported=True,
        )
        if not await comment_rows.insert_imported(tx, comment, RENDERER_VERSION, source):
            known = await comment_rows.find_by_source(tx, *source)
            assert known is not None
            return known, False
        await count_replies(tx, [comment], {parent.id: parent} if parent else {})
        await outbox.add(tx, rules.fact(CommentImported, comment, discussion))
        return comment_id, True


async def _imported_parent(tx: Transaction, command: ImportComment) -> Comment | None:
    """Return the comment that was imported before as the parent of this one.

    Raises:
        Problem: `invalid` naming `parent_source_id`.
    """
    if command.parent_source_id is None:
        return None
    parent_id = await comment_rows.find_by_source(tx, command.site, command.parent_source_id)
    parent = None if parent_id is None else await comment_rows.find(tx, parent_id)
    if parent is None or parent.post_id != command.post_id:
        raise invalid("parent_source_id", "was not imported to this post before")
    rules.check_depth(parent, "parent_source_id")
    return parent
