"""SQL of the times at which drafts are to be published."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.posts.domain.post import Post

SET_TIME = """
update posts set publish_at = $2::timestamptz, scheduled_by = case when $2 is not null then $3::uuid end where id = $1
"""


async def set_time(tx: Transaction, post: Post, person_id: UUID | None = None) -> None:
    """Store when a post, whose row this transaction has locked or inserted, is to be published, and who said so."""
    await tx.execute(SET_TIME, post.id, post.publish_at, person_id)


LOCK_DUE = """
select id, kind, slug, '' as title, '' as body, format, '' as body_html, '' as excerpt, author_id, status, discussion,
       created_at, published_at, edited_at, edit_note, revision, version, imported, publish_at, text_id,
       scheduled_by is distinct from author_id
           or not exists (select from people where person_id = author_id and not is_author) as is_wanted
from posts
where status = 'draft' and publish_at <= $1
order by publish_at, id
limit $2
for update skip locked
"""


async def lock_due(tx: Transaction, at: datetime, limit: int) -> list[tuple[Post, bool]]:
    """Lock drafts whose time has come, in its order, and return them without their texts.

    Each with whether it is to be published: not if its author, who made the schedule, is known as no author any more.
    A draft that another transaction has locked is left to it; the next look finds it if it is still due.
    """
    rows = [dict(row) for row in await tx.fetch(LOCK_DUE, at, limit)]
    return [(Post(**{name: row[name] for name in row if name != "is_wanted"}), row["is_wanted"]) for row in rows]


LOCK_SCHEDULED_OF = """
select id, kind, slug, '' as title, '' as body, format, '' as body_html, '' as excerpt, author_id, status, discussion,
       created_at, published_at, edited_at, edit_note, revision, version, imported, publish_at, text_id
from posts
where author_id = $1 and status = 'draft' and publish_at is not null
order by id
for update
"""


async def lock_scheduled_of(tx: Transaction, author_id: UUID) -> list[Post]:
    """Lock the scheduled drafts of a person, whoever scheduled them, and return them without their texts."""
    return [Post(**row) for row in await tx.fetch(LOCK_SCHEDULED_OF, author_id)]


END_SCHEDULE = """
update posts set status = $2, published_at = $3, publish_at = null, scheduled_by = null, version = $4 where id = $1
"""


async def end(tx: Transaction, posts: Sequence[Post]) -> None:
    """Store that posts, whose rows this transaction has locked, are published, or are drafts without a time again."""
    await tx.executemany(END_SCHEDULE, [(post.id, post.status, post.published_at, post.version) for post in posts])


SELECT_OVERDUE = """
select count(*) as count, min(publish_at) as since
from posts
where status = 'draft' and publish_at <= $1
"""


async def overdue(reader: Reader, at: datetime) -> Any:
    """Return how many drafts' time has come, and since when."""
    return await reader.fetchrow(SELECT_OVERDUE, at)
