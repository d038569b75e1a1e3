"""SQL that reads comments one by one; pages of the tree stand in `pages`."""

from collections.abc import Sequence
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.comments.domain.comment import Comment, Discussion
from services.comments.store.discussions import lock_discussion

COLUMNS = """
    id, post_id, parent_id, path, depth, author_id, parent_author_id, body, format, body_html, state,
    removed_by_author, created_at, edited_at, version, reply_count, shown_replies, all_replies, shown, imported
"""

SELECT_COMMENTS = f"select {COLUMNS} from comments where id = any($1::uuid[])"  # noqa: S608  # a constant


async def find(reader: Reader, comment_id: UUID) -> Comment | None:
    rows = await find_many(reader, [comment_id])
    return rows[0] if rows else None


async def find_many(reader: Reader, ids: Sequence[UUID]) -> list[Comment]:
    return [Comment(*row) for row in await reader.fetch(SELECT_COMMENTS, ids)]


async def above(reader: Reader, ids: Sequence[UUID]) -> list[Comment]:
    """The comments with these ids, which all stand on one path, the deepest first."""
    return sorted(await find_many(reader, ids), key=lambda comment: -comment.depth)


SELECT_POST_OF = "select post_id from comments where id = $1"


async def lock(tx: Transaction, comment_id: UUID) -> tuple[Discussion, Comment] | None:
    """The comment and its discussion, which is locked; nobody writes a comment of it before the transaction ends."""
    post_id = await tx.fetchval(SELECT_POST_OF, comment_id)
    if post_id is None:
        return None
    discussion = await lock_discussion(tx, post_id)
    comment = await find(tx, comment_id)
    assert discussion is not None
    assert comment is not None
    return discussion, comment


SELECT_OWN_HIDDEN = """
select hidden.id, hidden.list_id
from comments as hidden
where not hidden.shown and hidden.id = any(array(
    select encode(substring(held.path from 16 * level + 1 for 16), 'hex')::uuid
    from comments as held, generate_series(0, held.depth) as level
    where held.author_id = $1 and held.post_id = $2 and held.state = 'held'
))
"""


async def own_hidden(reader: Reader, person_id: UUID, post_id: UUID) -> list[tuple[UUID, UUID]]:
    """Id and list of what only this person finds below a post: their held comments and what stands above these."""
    return [(row["id"], row["list_id"]) for row in await reader.fetch(SELECT_OWN_HIDDEN, person_id, post_id)]


SELECT_BY_SOURCE = "select id from comments where site = $1 and source_id = $2"


async def find_by_source(reader: Reader, site: str, source_id: str) -> UUID | None:
    """The id under which something from elsewhere was imported."""
    found: UUID | None = await reader.fetchval(SELECT_BY_SOURCE, site, source_id)
    return found


SELECT_COUNTS_OF_PEOPLE = """
select comments.author_id as id, count(*) as count
from comments join discussions using (post_id)
where comments.author_id = any($1::uuid[]) and comments.state = 'visible' and discussions.status = 'published'
group by comments.author_id
"""


async def visible_by_person(reader: Reader, person_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Visible comments of each of these people on published posts."""
    return {row["id"]: row["count"] for row in await reader.fetch(SELECT_COUNTS_OF_PEOPLE, person_ids)}
