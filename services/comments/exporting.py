"""Everything that a person wrote here, for themselves: what was removed, and what no public post shows, too."""

from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.http import cursors
from services.chassis.http.answer_size import MOST_BYTES
from services.comments.domain.comment import Comment
from services.comments.domain.tree import FIRST
from services.comments.store import comment_rows
from services.contracts.event import rfc3339

LIST = "exported-comments"
PAGE = 500


async def export_comments(db: Database, person_id: UUID, cursor: str | None) -> dict[str, Any]:
    """Return the next comments of a person, oldest first; behind the last ones comes an empty page.

    Raises:
        Problem: `malformed-cursor`.
    """
    place = cursors.decode(cursor, LIST, UUID)
    async with db.reader() as reader:
        found = await comment_rows.written_by(reader, person_id, place[0] if place else FIRST, PAGE, MOST_BYTES)
    return {
        "items": [_exported(comment) for comment in found],
        "next": cursors.encode(LIST, found[-1].id) if found else None,
    }


def _exported(comment: Comment) -> dict[str, Any]:
    return {
        "id": str(comment.id),
        "post_id": str(comment.post_id),
        "parent_id": None if comment.parent_id is None else str(comment.parent_id),
        "body": comment.body,
        "format": comment.format,
        "state": comment.state,
        "created_at": rfc3339(comment.created_at),
        "edited_at": None if comment.edited_at is None else rfc3339(comment.edited_at),
        "answered_revision": comment.answered_revision,
        "imported": comment.imported,
    }
