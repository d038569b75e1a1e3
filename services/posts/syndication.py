"""What feeds and the sitemap need of published posts: their texts, and where each stands and since when."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.errors import not_found
from services.chassis.http.answer_size import MOST_BYTES
from services.contracts.event import rfc3339

MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
MOST_ADDRESSES = 50_000  # of one file of a sitemap (sitemaps.org)
MOST_AUTHORS = 10_000

SELECT_TEXTS = """
select posts.id, posts.body_html
from (
    select posts.id, asked.place, sum(octet_length(posts.body_html)) over (order by asked.place) as bytes
    from unnest($1::uuid[]) with ordinality as asked (id, place) join posts on posts.id = asked.id
    where posts.status = 'published'
) as fitting join posts on posts.id = fitting.id
where fitting.bytes <= $2
order by fitting.place
"""


async def look_up_texts(db: Database, post_ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Return the HTML of these posts in this order, of the published ones, as far as they fit into one answer."""
    async with db.reader() as reader:
        rows = await reader.fetch(SELECT_TEXTS, post_ids, MOST_BYTES)
    return [{"id": str(row["id"]), "body_html": row["body_html"]} for row in rows]


SELECT_MONTHS = """
select to_char(published_at at time zone 'UTC', 'YYYY-MM') as month,
       max(greatest(published_at, edited_at)) as changed_at
from posts
where status = 'published'
group by month
order by month
"""


async def months(db: Database) -> list[dict[str, Any]]:
    """Return the months in which posts and pages were published, and when the newest change of one of them was."""
    async with db.reader() as reader:
        rows = await reader.fetch(SELECT_MONTHS)
    return [{"month": row["month"], "changed_at": rfc3339(row["changed_at"])} for row in rows]


SELECT_AUTHORS = """
select author_id, max(greatest(published_at, edited_at)) as changed_at
from posts
where status = 'published' and kind = 'post'
group by author_id
order by author_id
limit $1
"""


async def authors(db: Database) -> list[dict[str, Any]]:
    """Return who has published posts, and when the newest change of one of them was."""
    async with db.reader() as reader:
        rows = await reader.fetch(SELECT_AUTHORS, MOST_AUTHORS)
    return [{"author_id": str(row["author_id"]), "changed_at": rfc3339(row["changed_at"])} for row in rows]


SELECT_ADDRESSES = """
select slug, greatest(published_at, edited_at) as changed_at
from posts
where status = 'published' and published_at >= $1 and published_at < $2
order by published_at desc, id desc
limit $3
"""


async def addresses(db: Database, month: str) -> list[dict[str, Any]]:
    """Return the slug and the last change of each post and page that was published in a month, newest first.

    Raises:
        Problem: `not-found` for what is no month, such as `2026-11`.
    """
    found = MONTH.fullmatch(month)
    if found is None or found[1] in ("0000", "9999"):
        raise not_found()
    year, number = int(found[1]), int(found[2])
    begins = datetime(year, number, 1, tzinfo=UTC)
    ends = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    async with db.reader() as reader:
        rows = await reader.fetch(SELECT_ADDRESSES, begins, ends, MOST_ADDRESSES)
    return [{"slug": row["slug"], "changed_at": rfc3339(row["changed_at"])} for row in rows]
