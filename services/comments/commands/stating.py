"""State comments as they are now, for those who read them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from services.chassis.database.pool import Database, Reader, Transaction
from services.chassis.messaging.stating import Stating
from services.comments.domain import comment as rules
from services.comments.store import comment_rows, discussion_rows
from services.contracts.comments import CommentGone, CommentStated
from services.contracts.event import Event
from services.contracts.services import KnownRow

# What hangs below no discussion, as after a loss of rows, is seen by nobody: its readers hear that it is gone.
SELECT_VERSIONS = """
select id, comments.version from comments join discussions using (post_id) where id > $1 order by id limit $2
"""


async def _versions(reader: Reader, after: UUID, limit: int) -> list[tuple[UUID, int]]:
    return [(row["id"], row["version"]) for row in await reader.fetch(SELECT_VERSIONS, after, limit)]


SELECT_VERSIONS_OF = """
select id, comments.version from comments join discussions using (post_id) where id = any($1::uuid[])
"""


async def _versions_of(reader: Reader, ids: Sequence[UUID]) -> list[tuple[UUID, int]]:
    return [(row["id"], row["version"]) for row in await reader.fetch(SELECT_VERSIONS_OF, ids)]


SELECT_PLACES = """
select id, post_id from comments join discussions using (post_id) where id > $1 order by id limit $2
"""


async def _lock(tx: Transaction, after: UUID, limit: int) -> list[tuple[UUID, Event]]:
    places = await tx.fetch(SELECT_PLACES, after, limit)
    discussions = await discussion_rows.lock_discussions(tx, {row["post_id"] for row in places})
    comments = await comment_rows.find_structures(tx, [row["id"] for row in places])
    return [(one.id, rules.fact(CommentStated, one, discussions[one.post_id])) for one in comments]


def _gone(row: KnownRow) -> Event:
    return CommentGone(comment_id=row.id, post_id=row.key, version=row.version + 1, occurred_at=datetime.now(UTC))


def stating(db: Database) -> Stating:
    """Return what states the comments of this database. Their discussions are locked, as by their commands."""
    return Stating(db, versions=_versions, versions_of=_versions_of, lock=_lock, gone=_gone)
