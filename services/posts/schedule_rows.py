"""SQL of the times at which drafts are to be published."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.chassis.database.pool import Reader, Transaction
from services.posts.domain.post import Post

SET_TIME = "update posts set publish_at = $2 where id = $1"


async def set_time(tx: Transaction, post: Post) -> None:
    """Store when a post, whose row this transaction has locked or inserted, is to be published."""
    await tx.execute(SET_TIME, post.id, post.publish_at)


LOCK_DUE = """
select id, kind, slug, '' as title, '' as body, format, '' as body_html, '' as excerpt, author_id, status, discussion,
       created_at, published_at, edited_at, edit_note, revision, version, imported, publish_at
from posts
where status = 'draft' and publish_at <= $1
order by publish_at, id
limit $2
for update skip locked
"""


async def lock_due(tx: Transaction, at: datetime, limit: int) -> list[Post]:
    """Lock drafts whose time has come, in its order, and return them without their texts.

    One that another transaction has locked is left to it; the next look finds it if it is still due.
    """
    return [Post(**row) for row in await tx.fetch(LOCK_DUE, at, limit)]


PUBLISH = "update posts set status = $2, published_at = $3, publish_at = $4, version = $5 where id = $1"


async def publish(tx: Transaction, posts: Sequence[Post]) -> None:
    """Store the publication of posts whose rows this transaction has locked."""
    rows = [(post.id, post.status, post.published_at, post.publish_at, post.version) for post in posts]
    await tx.executemany(PUBLISH, rows)


SELECT_OVERDUE = """
select count(*) as count, min(publish_at) as since
from posts
where status = 'draft' and publish_at <= $1
"""


async def overdue(reader: Reader, at: datetime) -> Any:
    """Return how many drafts' time has come, and since when."""
    return await reader.fetchrow(SELECT_OVERDUE, at)
