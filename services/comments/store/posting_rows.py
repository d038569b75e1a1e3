"""SQL of posting: what a batch of comments reads under locks, and what it writes, in one statement each."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import Key
from services.chassis.database.pool import Transaction
from services.chassis.messaging import outbox
from services.comments.domain.comment import TWINS_WITHIN, Comment, Discussion
from services.comments.store import comment_rows

Lock = Literal["skip locked", "wait"]

LOCK = """
with locked as materialized (
    select post_id, post_author_id, status, discussion as mode, (select number from epoch) as epoch, revision
    from discussions
    where post_id = any($1::uuid[])
    order by post_id
    for no key update {lock}
)
select {is_fresh} as is_fresh, locked.post_id, post_author_id, status, mode, epoch, revision
from unnest((select $1::uuid[]), (select $2::uuid[]), (select $3::text[]))
    with ordinality as asked (post_id, person_id, key, place)
left join locked using (post_id)
order by place
"""
SQL_OF_LOCK = {
    "skip locked": LOCK.format(lock="skip locked", is_fresh=idempotency.is_fresh("asked")),
    "wait": LOCK.format(lock="", is_fresh=idempotency.is_fresh("asked")),
}


async def lock(
    tx: Transaction, places: Sequence[tuple[UUID, Key | None]], lock: Lock
) -> tuple[dict[UUID, Discussion], list[bool]]:
    """Lock discussions and keys until the transaction ends, for comments with distinct keys.

    Discussions are locked one after the other in the order of their ids, so that batches cannot block each other:
    nothing else changes their trees meanwhile.

    Args:
        places: of each comment the post that it is about, and its key.
        lock: whether discussions that another transaction has locked are left out or waited for.

    Returns:
        The discussions by post, and of each comment whether its key can be used.
    """
    keys = [key for _, key in places]
    rows = await tx.fetch(
        SQL_OF_LOCK[lock],
        [post_id for post_id, _ in places],
        [key and key.person_id for key in keys],
        [key and key.key for key in keys],
    )
    discussions: dict[UUID, Discussion] = {}
    for _, post_id, *rest in rows:
        if post_id is not None and post_id not in discussions:
            discussions[post_id] = Discussion(post_id, *rest)
    return discussions, [key is None or row["is_fresh"] for key, row in zip(keys, rows, strict=True)]


# It sees what was committed before the locks were granted: its snapshot is taken after that. The arrays stand in
# subqueries to hide their lengths from the planner, which would else make a plan for each batch; that costs more than
# the statement.
OWN_PARAMETERS = 17
INSERT_UNLESS_TWIN = f"""
with given as (
    select id, post_id, parent_id, coalesce(parent_id, post_id) as list_id, path, depth, author_id, parent_author_id,
        body, format, body_html, state, renderer_version, created_at, shown, text_key, answered_revision, place
    from unnest(
        (select $1::uuid[]), (select $2::uuid[]), (select $3::uuid[]), (select $4::bytea[]),
        (select $5::smallint[]), (select $6::uuid[]), (select $7::uuid[]), (select $8::text[]),
        (select $9::text[]), (select $10::text[]), (select $11::text[]), (select $12::smallint[]),
        (select $13::timestamptz[]), (select $14::boolean[]), (select $15::bigint[]), (select $16::int[])
    ) with ordinality as given (
        id, post_id, parent_id, path, depth, author_id, parent_author_id, body,
        format, body_html, state, renderer_version, created_at, shown, text_key, answered_revision, place
    )
), judged as materialized (
    select given.*, coalesce(
        (select twin.id from comments as twin
         where twin.author_id = given.author_id and twin.post_id = given.post_id and twin.text_key = given.text_key
             and twin.state = 'visible' and twin.list_id = given.list_id
             and twin.created_at > given.created_at - $17::interval
         limit 1),
        (select twin.id from comments as twin
         where twin.author_id = given.author_id and twin.post_id = given.post_id and twin.text_key = given.text_key
             and twin.state = 'held' and twin.list_id = given.list_id
             and twin.created_at > given.created_at - $17::interval
         limit 1)
    ) as twin_id
    from given
), new as (
    select * from judged where twin_id is null
), inserted as (
    insert into comments (
        id, post_id, parent_id, list_id, path, depth, author_id, parent_author_id,
        body, format, body_html, state, renderer_version, created_at, shown, text_key, answered_revision
    )
    select id, post_id, parent_id, list_id, path, depth, author_id, parent_author_id,
        body, format, body_html, state, renderer_version, created_at, shown, text_key, answered_revision
    from new
), counted as (
    update discussions set visible_count = discussions.visible_count + added.count
    from (select post_id, count(*) as count from new where state = 'visible' group by post_id) as added
    where discussions.post_id = added.post_id
), told as ({outbox.insert_with_each("new", OWN_PARAMETERS)}
), kept as ({idempotency.insert_with_each("new", OWN_PARAMETERS + len(outbox.TYPES))}
)
select id, twin_id from judged where twin_id is not null
"""  # noqa: S608  # constants


async def insert_new(
    tx: Transaction,
    comments: Sequence[Comment],
    text_keys: Sequence[int],
    renderer_version: int,
    events: Sequence[tuple[object, ...]],
    answers: Sequence[tuple[object, ...]],
) -> dict[UUID, UUID]:
    """Store new comments, each with its event and its answer, and count them for their posts.

    A twin is the same text, still unedited, that the same person posted at the same place less than `TWINS_WITHIN`
    before; no two of the given ones may be twins of each other.

    Args:
        events: made by `outbox.new_row`.
        answers: made by `idempotency.row`.

    Returns:
        The twins of those that were not stored because they have one, by id.

    Raises:
        NotNullViolationError: another transaction has stored one of the keys meanwhile.
    """
    columns = zip(*(comment_rows.row(comment, renderer_version) for comment in comments), strict=True)
    revisions = [comment.answered_revision for comment in comments]
    found = await tx.fetch(
        INSERT_UNLESS_TWIN,
        *(*columns, text_keys, revisions, TWINS_WITHIN),
        *zip(*events, strict=True),
        *zip(*answers, strict=True),
    )
    if len(found) < len(comments):
        outbox.added(tx)
    return {row["id"]: row["twin_id"] for row in found}
