"""State posts as they are now, for those who read them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from services.chassis.database.pool import Database, Reader, Transaction
from services.chassis.messaging.stating import Stating
from services.contracts.event import Event
from services.contracts.posts import PostGone, PostStated
from services.contracts.services import KnownRow
from services.posts.domain import post as rules
from services.posts.domain.post import Post

SELECT_VERSIONS = "select id, version from posts where id > $1 order by id limit $2"


async def _versions(reader: Reader, after: UUID, limit: int) -> list[tuple[UUID, int]]:
    return [(row["id"], row["version"]) for row in await reader.fetch(SELECT_VERSIONS, after, limit)]


SELECT_VERSIONS_OF = "select id, version from posts where id = any($1::uuid[])"


async def _versions_of(reader: Reader, ids: Sequence[UUID]) -> list[tuple[UUID, int]]:
    return [(row["id"], row["version"]) for row in await reader.fetch(SELECT_VERSIONS_OF, ids)]


LOCK_POSTS = """
select id, kind, slug, '' as title, '' as body, format, '' as body_html, '' as excerpt, author_id, status, discussion,
       created_at, published_at, edited_at, edit_note, revision, version, imported, text_id
from posts
where id > $1
order by id
limit $2
for no key update
"""


async def _lock(tx: Transaction, after: UUID, limit: int) -> list[tuple[UUID, Event]]:
    at = rules.now()
    posts = [Post(**row) for row in await tx.fetch(LOCK_POSTS, after, limit)]
    return [(post.id, rules.fact(PostStated, post, at)) for post in posts]


def _gone(row: KnownRow) -> Event:
    return PostGone(post_id=row.id, version=row.version + 1, occurred_at=datetime.now(UTC))


def stating(db: Database) -> Stating:
    """Return what states the posts of this database."""
    return Stating(db, versions=_versions, versions_of=_versions_of, lock=_lock, gone=_gone)
