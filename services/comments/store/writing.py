"""SQL that writes comments. Whoever calls it has locked the discussion."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.chassis.database.pool import Transaction
from services.comments.domain.comment import Comment, State
from services.comments.domain.tree import Change

INSERT_COMMENT = """
insert into comments (
    id, post_id, parent_id, list_id, path, depth, author_id, parent_author_id, body, format, body_html, state,
    renderer_version, created_at, shown, imported, site, source_id
)
values ($1, $2, $3, coalesce($3::uuid, $2::uuid), $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
on conflict (site, source_id) where site is not null do nothing
"""
COUNT_VISIBLE = """
update discussions set visible_count = discussions.visible_count + added.count
from unnest($1::uuid[], $2::int[]) as added (post_id, count)
where discussions.post_id = added.post_id
"""


def _row(comment: Comment, renderer_version: int, source: tuple[str, str] | None = None) -> tuple[object, ...]:
    return (
        comment.id,
        comment.post_id,
        comment.parent_id,
        comment.path,
        comment.depth,
        comment.author_id,
        comment.parent_author_id,
        comment.body,
        comment.format,
        comment.body_html,
        comment.state,
        renderer_version,
        comment.created_at,
        comment.shown,
        comment.imported,
        *(source or (None, None)),
    )


async def insert(
    tx: Transaction, comment: Comment, renderer_version: int, source: tuple[str, str] | None = None
) -> bool:
    """Store a new comment and count it for its post; False when its source (site, source id) is there already."""
    if not await tx.execute(INSERT_COMMENT, *_row(comment, renderer_version, source)):
        return False
    if comment.state == "visible":
        await tx.execute(COUNT_VISIBLE, [comment.post_id], [1])
    return True


async def insert_all(tx: Transaction, comments: Sequence[Comment], renderer_version: int) -> None:
    """Store several new comments and count them for their posts."""
    if comments:
        await tx.executemany(INSERT_COMMENT, [_row(comment, renderer_version) for comment in comments])
    visible = Counter(comment.post_id for comment in comments if comment.state == "visible")
    if visible:
        await tx.execute(COUNT_VISIBLE, list(visible), list(visible.values()))


UPDATE_ABOVE = """
update comments set
    all_replies = comments.all_replies + change.all_replies,
    reply_count = comments.reply_count + change.reply_count,
    shown_replies = comments.shown_replies + change.shown_replies,
    shown = change.shown
from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::boolean[])
    as change (id, all_replies, reply_count, shown_replies, shown)
where comments.id = change.id
"""


async def update_above(tx: Transaction, changes: Sequence[Change]) -> None:
    """Write what a change of one comment means for those above it."""
    if changes:
        await tx.execute(
            UPDATE_ABOVE,
            [change.id for change in changes],
            [change.all_replies for change in changes],
            [change.reply_count for change in changes],
            [change.shown_replies for change in changes],
            [change.shown for change in changes],
        )


UPDATE_TEXT = """
update comments set body = $2, body_html = $3, renderer_version = $4, edited_at = $5, version = version + 1
where id = $1
"""


async def update_text(
    tx: Transaction, comment_id: UUID, body: str, body_html: str, renderer_version: int, edited_at: datetime
) -> None:
    await tx.execute(UPDATE_TEXT, comment_id, body, body_html, renderer_version, edited_at)


UPDATE_STATE = """
with changed as (
    update comments set state = $2, shown = $3, version = version + 1 where id = $1 returning post_id
)
update discussions set visible_count = visible_count + $4
from changed
where discussions.post_id = changed.post_id and $4 <> 0
"""


async def update_state(tx: Transaction, comment_id: UUID, state: State, *, shown: bool, counted: int) -> None:
    """Write a comment's new state; `counted` is what it adds to the visible comments of its post."""
    await tx.execute(UPDATE_STATE, comment_id, state, shown, counted)


BLANK = """
update comments set body = null, body_html = null, removed_by_author = true, version = version + $2 where id = $1
"""


async def blank(tx: Transaction, comment_id: UUID, *, new_version: bool) -> None:
    """Take the text out of what its author removed."""
    await tx.execute(BLANK, comment_id, int(new_version))
