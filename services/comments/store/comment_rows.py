"""SQL of comments one by one; pages of the tree stand in `listing`. Writers have locked the discussion."""

from collections.abc import Sequence
from uuid import UUID

from services.chassis.database.pool import Reader, Transaction
from services.comments.domain.comment import Comment, Discussion
from services.comments.domain.tree import Change
from services.comments.store.discussion_rows import lock_discussion

COLUMNS = """
    id, post_id, parent_id, path, depth, author_id, parent_author_id, body, format, body_html, state,
    removed_by_author, created_at, edited_at, version, reply_count, shown_replies, all_replies, shown, imported,
    answered_revision
"""

SELECT_COMMENTS = f"select {COLUMNS} from comments where id = any($1::uuid[])"  # noqa: S608  # a constant


async def find(reader: Reader, comment_id: UUID) -> Comment | None:
    """Return the comment with this id."""
    rows = await find_many(reader, [comment_id])
    return rows[0] if rows else None


async def find_many(reader: Reader, ids: Sequence[UUID]) -> list[Comment]:
    """Return the comments with these ids, in no order; unknown ids are left out."""
    return [Comment(*row) for row in await reader.fetch(SELECT_COMMENTS, ids)]


SELECT_NEWEST = f"""
select {COLUMNS} from comments where post_id = $1 and state = 'visible' order by id desc limit $2
"""  # noqa: S608  # a constant


async def newest(reader: Reader, post_id: UUID, limit: int) -> list[Comment]:
    """Return the newest visible comments of a post, wherever in the tree they stand."""
    return [Comment(*row) for row in await reader.fetch(SELECT_NEWEST, post_id, limit)]


SELECT_STRUCTURES = """
select id, post_id, parent_id, path, depth, author_id, parent_author_id, null as body, format, null as body_html, state,
    removed_by_author, created_at, edited_at, version, reply_count, shown_replies, all_replies, shown, imported,
    answered_revision
from comments
where id = any($1::uuid[])
order by id
"""


async def find_structures(reader: Reader, ids: Sequence[UUID]) -> list[Comment]:
    """Return the comments with these ids without their texts, in the order of ids."""
    return [Comment(*row) for row in await reader.fetch(SELECT_STRUCTURES, ids)]


async def find_path(reader: Reader, ids: Sequence[UUID]) -> list[Comment]:
    """Return the comments with these ids, which all stand on one path, the deepest first."""
    return sorted(await find_many(reader, ids), key=lambda comment: -comment.depth)


SELECT_POST_OF = "select post_id from comments where id = $1"


async def lock(tx: Transaction, comment_id: UUID) -> tuple[Discussion, Comment] | None:
    """Lock a comment's discussion and return both; nothing else writes in it before the transaction ends."""
    post_id = await tx.fetchval(SELECT_POST_OF, comment_id)
    if post_id is None:
        return None
    discussion = await lock_discussion(tx, post_id)
    comment = await find(tx, comment_id)
    assert discussion is not None
    assert comment is not None
    return discussion, comment


SELECT_HIDDEN_SEEN_BY = """
select hidden.id, hidden.list_id
from comments as hidden
where not hidden.shown and hidden.id = any(array(
    select encode(substring(held.path from 16 * level + 1 for 16), 'hex')::uuid
    from comments as held, generate_series(0, held.depth) as level
    where held.author_id = $1 and held.post_id = $2 and held.state = 'held'
))
"""


async def hidden_seen_by(reader: Reader, person_id: UUID, post_id: UUID) -> list[tuple[UUID, UUID]]:
    """Return id and list of what only this person sees: their held comments, and the hidden ones above these."""
    return [(row["id"], row["list_id"]) for row in await reader.fetch(SELECT_HIDDEN_SEEN_BY, person_id, post_id)]


SELECT_HIDDEN_SEEN_IN = """
select hidden.id, hidden.list_id
from comments as hidden
where not hidden.shown and hidden.id = any(array(
    select encode(substring(held.path from 16 * level + 1 for 16), 'hex')::uuid
    from comments as held, generate_series(0, held.depth) as level
    where held.author_id = $1 and held.post_id = any($2::uuid[]) and held.state = 'held'
))
"""


async def hidden_seen_in(reader: Reader, person_id: UUID, post_ids: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
    """Return the same for several posts."""
    return [(row["id"], row["list_id"]) for row in await reader.fetch(SELECT_HIDDEN_SEEN_IN, person_id, post_ids)]


MOST_OWN = 50
OWN_BYTES = 4_000

SELECT_OWN = f"""
(select null::uuid as id, null as body, format from comments
 where author_id = $1 and post_id = $2 and state = 'held' limit 1)
union all
(select id, case when octet_length(body) <= {OWN_BYTES} then body end, format from comments
 where author_id = $1 and post_id = $2 and state = 'visible' limit {MOST_OWN + 1})
"""  # noqa: S608  # a constant


async def own_below(reader: Reader, person_id: UUID, post_id: UUID) -> list[tuple[UUID, str, str]] | None:
    """Return id, text and format of a person's visible comments below a post; None if one is held, or much is there.

    Much are more than `MOST_OWN` of them, and a text of more than `OWN_BYTES`.
    """
    found = [tuple(row) for row in await reader.fetch(SELECT_OWN, person_id, post_id)]
    return None if len(found) > MOST_OWN or any(body is None for _, body, _ in found) else found


SELECT_WRITTEN = f"""
select {COLUMNS}
from (
    select {COLUMNS}, sum(octet_length(body)) over (
        order by id rows between unbounded preceding and 1 preceding
    ) as bytes_before
    from (
        select {COLUMNS} from comments where author_id = $1 and id > $2 order by id limit $3
    ) as found
) as measured
where bytes_before is null or bytes_before < $4
order by id
"""  # noqa: S608  # a constant


async def written_by(reader: Reader, person_id: UUID, after: UUID, limit: int, most_bytes: int) -> list[Comment]:
    """Return the next comments of a person behind an id, in any state: one more than it takes to fill `most_bytes`."""
    return [Comment(*row) for row in await reader.fetch(SELECT_WRITTEN, person_id, after, limit, most_bytes)]


SELECT_BY_SOURCE = "select id from comments where site = $1 and source_id = $2"


async def find_by_source(reader: Reader, site: str, source_id: str) -> UUID | None:
    """Return the id under which a comment from elsewhere was imported."""
    found: UUID | None = await reader.fetchval(SELECT_BY_SOURCE, site, source_id)
    return found


SELECT_COUNTS_OF_PEOPLE = """
select comments.author_id as id, count(*) as count
from comments join discussions using (post_id)
where comments.author_id = any($1::uuid[]) and comments.state = 'visible' and discussions.status = 'published'
group by comments.author_id
"""


async def visible_by_person(reader: Reader, person_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Count the visible comments of each of these people on published posts."""
    return {row["id"]: row["count"] for row in await reader.fetch(SELECT_COUNTS_OF_PEOPLE, person_ids)}


# There is no index for this, because only operators ask.
SELECT_COUNTS_BY_STATE = "select state, count(*) as count from comments where author_id = $1 group by state"


async def counts_by_state(reader: Reader, person_id: UUID) -> dict[str, int]:
    """Count the comments of a person by their states, on posts of any status."""
    return {row["state"]: row["count"] for row in await reader.fetch(SELECT_COUNTS_BY_STATE, person_id)}


INSERT_IMPORTED = """
insert into comments (
    id, post_id, parent_id, list_id, path, depth, author_id, parent_author_id, body, format, body_html, state,
    renderer_version, created_at, shown, imported, site, source_id
)
values ($1, $2, $3, coalesce($3::uuid, $2::uuid), $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, true, $15, $16)
on conflict (site, source_id) where site is not null do nothing
"""


def row(comment: Comment, renderer_version: int) -> tuple[object, ...]:
    """Return a new comment as parameters of a statement that inserts it."""
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
    )


COUNT_VISIBLE = "update discussions set visible_count = visible_count + 1 where post_id = $1"


async def insert_imported(tx: Transaction, comment: Comment, renderer_version: int, source: tuple[str, str]) -> bool:
    """Store an imported comment and count it for its post; False when its source (site, source id) is there already."""
    if not await tx.execute(INSERT_IMPORTED, *row(comment, renderer_version), *source):
        return False
    if comment.state == "visible":
        await tx.execute(COUNT_VISIBLE, comment.post_id)
    return True


UPDATE_REPLY_COUNTS = """
update comments set
    all_replies = comments.all_replies + change.all_replies,
    reply_count = comments.reply_count + change.reply_count,
    shown_replies = comments.shown_replies + change.shown_replies,
    shown = change.shown
from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::boolean[])
    as change (id, all_replies, reply_count, shown_replies, shown)
where comments.id = change.id
"""


async def update_reply_counts(tx: Transaction, changes: Sequence[Change]) -> None:
    """Write what changes in the comments above others; each comment at most once."""
    if changes:
        await tx.execute(
            UPDATE_REPLY_COUNTS,
            [change.id for change in changes],
            [change.all_replies for change in changes],
            [change.reply_count for change in changes],
            [change.shown_replies for change in changes],
            [change.shown for change in changes],
        )
