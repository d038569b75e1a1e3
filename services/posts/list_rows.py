"""SQL of the lists of posts: each statement reads its page from one index, in order, and no more than that.

Lists begin behind a place at which nothing stands: a condition that may be switched off is no bound of an index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from services.chassis.database.pool import Reader
from services.posts.domain.post import Post

Place = tuple[datetime, UUID]
BEGINNING: Place = datetime(9999, 12, 31, tzinfo=UTC), UUID(int=(1 << 128) - 1)


@dataclass(frozen=True)
class Wanted:
    """Which posts a list has.

    Attributes:
        author_id: None for everybody's.
        tag: folded; None for any.
    """

    kind: Literal["post", "page"] = "post"
    author_id: UUID | None = None
    tag: str | None = None

    @property
    def name(self) -> str:
        """Return what tells cursors of this list from those of others; nothing for the list without a choice."""
        if self == EVERY_POST:
            return ""
        return f"/{self.kind}/{self.author_id or ''}/{self.tag or ''}"


EVERY_POST = Wanted()

SELECT_PUBLISHED = """
select id, kind, slug, title, '' as body, format, '' as body_html, excerpt, author_id, status, discussion,
       created_at, published_at, edited_at, edit_note, revision, version, imported, cover, tags, word_count
from posts
where status = 'published' and kind = $1
      and (published_at, id) < ($2, $3)
order by published_at desc, id desc
limit $4
"""
SELECT_PUBLISHED_OF_AUTHOR = """
select id, kind, slug, title, '' as body, format, '' as body_html, excerpt, author_id, status, discussion,
       created_at, published_at, edited_at, edit_note, revision, version, imported, cover, tags, word_count
from posts
where status = 'published' and kind = $1 and author_id = $5
      and (published_at, id) < ($2, $3)
order by published_at desc, id desc
limit $4
"""
SELECT_TAGGED = """
select id, posts.kind, slug, title, '' as body, format, '' as body_html, excerpt, author_id, status, discussion,
       created_at, posts.published_at, edited_at, edit_note, revision, version, imported, cover, tags, word_count
from post_tags join posts on posts.id = post_tags.post_id
where post_tags.tag = $5 and post_tags.kind = $1 and post_tags.published_at is not null and status = 'published'
      and (post_tags.published_at, post_tags.post_id) < ($2, $3)
      and ($6::uuid is null or author_id = $6)
order by post_tags.published_at desc, post_tags.post_id desc
limit $4
"""


async def published_before(reader: Reader, wanted: Wanted, place: Place | None, limit: int) -> list[Post]:
    """Return published posts without their bodies, newest first, after the position `place`."""
    moment, post_id = place or BEGINNING
    args: Sequence[object] = wanted.kind, moment, post_id, limit
    if wanted.tag is not None:
        rows = await reader.fetch(SELECT_TAGGED, *args, wanted.tag, wanted.author_id)
    elif wanted.author_id is not None:
        rows = await reader.fetch(SELECT_PUBLISHED_OF_AUTHOR, *args, wanted.author_id)
    else:
        rows = await reader.fetch(SELECT_PUBLISHED, *args)
    return [Post(**row) for row in rows]


SELECT_UNPUBLISHED = """
select id, kind, slug, title, '' as body, format, '' as body_html, excerpt, author_id, status, discussion,
       created_at, published_at, edited_at, edit_note, revision, version, imported, cover, tags, word_count
from posts
where status = $5 and status <> 'published' and (status <> 'draft' or publish_at is null)
      and kind = $1
      and ($6::text is null or exists (select from post_tags where post_id = id and tag = $6))
      and (created_at, id) < ($2, $3)
order by created_at desc, id desc
limit $4
"""
SELECT_UNPUBLISHED_OF_AUTHOR = """
select id, kind, slug, title, '' as body, format, '' as body_html, excerpt, author_id, status, discussion,
       created_at, published_at, edited_at, edit_note, revision, version, imported, cover, tags, word_count
from posts
where status = $5 and status <> 'published' and (status <> 'draft' or publish_at is null)
      and kind = $1 and author_id = $7
      and ($6::text is null or exists (select from post_tags where post_id = id and tag = $6))
      and (created_at, id) < ($2, $3)
order by created_at desc, id desc
limit $4
"""
SELECT_SCHEDULED = """
select id, kind, slug, title, '' as body, format, '' as body_html, excerpt, author_id, status, discussion,
       created_at, published_at, edited_at, edit_note, revision, version, imported, cover, tags, word_count, publish_at
from posts
where status = 'draft' and publish_at is not null and kind = $1 and ($6::uuid is null or author_id = $6)
      and ($5::text is null or exists (select from post_tags where post_id = id and tag = $5))
      and (created_at, id) < ($2, $3)
order by created_at desc, id desc
limit $4
"""  # of all authors: few posts are scheduled at a time


async def unpublished_before(
    reader: Reader, status: str, wanted: Wanted, place: Place | None, limit: int
) -> list[Post]:
    """Return posts of a status other than published without their bodies, newest first, after the position `place`.

    The status is the one that is shown: what is `scheduled` is no `draft` here.
    """
    moment, post_id = place or BEGINNING
    if status == "scheduled":
        rows = await reader.fetch(SELECT_SCHEDULED, wanted.kind, moment, post_id, limit, wanted.tag, wanted.author_id)
        return [Post(**row) for row in rows]
    args: Sequence[object] = wanted.kind, moment, post_id, limit, status, wanted.tag
    if wanted.author_id is not None:
        rows = await reader.fetch(SELECT_UNPUBLISHED_OF_AUTHOR, *args, wanted.author_id)
    else:
        rows = await reader.fetch(SELECT_UNPUBLISHED, *args)
    return [Post(**row) for row in rows]


SELECT_COUNTS = """
select counted.tag, spelling, post_count
from (
    select tag, count(*)::integer as post_count from post_tags
    where kind = 'post' and published_at is not null
    group by tag
) as counted join tags on tags.tag = counted.tag
where $1::integer is null or post_count < $1 or (post_count = $1 and counted.tag collate "C" > $2)
order by post_count desc, counted.tag collate "C"
limit $3
"""


async def tags_after(reader: Reader, place: tuple[int, str] | None, limit: int) -> list[Mapping[str, Any]]:
    """Return the tags of published posts, each with its spelling and number of posts, the most used first."""
    count, tag = place or (None, None)
    return list(await reader.fetch(SELECT_COUNTS, count, tag, limit))
