"""SQL of changes to one comment that stands: its text, its HTML, its state. Writers have locked the discussion."""

from datetime import datetime
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.chassis.text.rerendering import Stored
from services.comments.domain.comment import State

UPDATE_TEXT = """
update comments set
    body = $2, body_html = $3, text_key = null, renderer_version = $4, edited_at = $5, version = version + 1
where id = $1
"""


async def update_text(
    tx: Transaction, comment_id: UUID, body: str, body_html: str, renderer_version: int, edited_at: datetime
) -> None:
    """Replace a comment's text."""
    await tx.execute(UPDATE_TEXT, comment_id, body, body_html, renderer_version, edited_at)


SELECT_OUTDATED = """
select id, body, format from comments
where renderer_version < $1 and body is not null and ($2::uuid is null or id > $2)
order by id
limit $3
"""


async def find_outdated(reader: Reader, renderer_version: int, after: UUID | None, limit: int) -> list[Stored]:
    """Return the next texts that an older renderer has rendered, by id."""
    return [Stored(**row) for row in await reader.fetch(SELECT_OUTDATED, renderer_version, after, limit)]


UPDATE_HTML = """
update comments set body_html = $4, renderer_version = $5
where id = $1 and body = $2 and format = $3 and renderer_version < $5
"""


async def update_html(tx: Transaction, text: Stored, html: str, renderer_version: int) -> bool:
    """Replace the HTML of a text; return False when the text has changed, gone or was rendered meanwhile."""
    return await tx.execute(UPDATE_HTML, text.id, text.body, text.format, html, renderer_version) == 1


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


DELETE_TEXT = """
update comments set
    body = null, body_html = null, text_key = null, removed_by_author = true, version = version + $2
where id = $1
"""


async def delete_text(tx: Transaction, comment_id: UUID, *, new_version: bool) -> None:
    """Delete the text of a comment that its author removed."""
    await tx.execute(DELETE_TEXT, comment_id, int(new_version))
