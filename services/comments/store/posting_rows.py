"""SQL of posting: all that a batch of comments writes, in one statement."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.pool import Transaction
from services.chassis.messaging import outbox
from services.comments.domain.comment import TWINS_WITHIN, Comment, Discussion
from services.comments.domain.tree import Change
from services.comments.store import comment_rows


class New(NamedTuple):
    """What is written for one comment.

    Attributes:
        event: made by `outbox.new_row`.
        answer: made by `idempotency.row`.
        change: what it changes in its parent, which is shown; None without a parent, and below a hidden one.
    """

    comment: Comment
    text_key: int
    event: tuple[object, ...]
    answer: tuple[object, ...]
    change: Change | None


class NotWritten(NamedTuple):
    """Why nothing was written for a comment.

    Attributes:
        is_current: its discussion and its parent were as given, and not locked.
        is_fresh: its key can be used.
        twin_id: the same text, still unedited, that the same person posted at the same place less than `TWINS_WITHIN`
            before.
    """

    is_current: bool
    is_fresh: bool
    twin_id: UUID | None


# What was decided beforehand is written if it still holds. `locked` are the discussions that nobody else has locked and
# that are as they were read; `parents` those comments that are answered, and still shown. A locked row is the newest
# version of it, but twins are looked for in the statement's snapshot. Had another transaction posted between that and
# the lock, the discussion would have another writer (`xmin`) than in the snapshot: whoever posts writes its row, as
# `counted` does also for what is held.
#
# The arrays stand in subqueries to hide their lengths from the planner, which would else make a plan for each batch;
# that costs more than the statement. Rows are found one by one, for a plan that is made while a table is small, and
# kept, would else read all of it.
OWN_PARAMETERS = 27
INSERT_IF_CURRENT = f"""
with expected as (
    select post_id, post_epoch, post_version, revision, own_epoch
    from unnest(
        (select $1::uuid[]), (select $2::bigint[]), (select $3::bigint[]), (select $4::int[]), (select $5::bigint[])
    ) as expected (post_id, post_epoch, post_version, revision, own_epoch)
), locked as materialized (
    select expected.post_id, discussion.writer
    from expected cross join lateral (
        select discussions.xmin as writer
        from discussions
        where discussions.post_id = expected.post_id and discussions.epoch = expected.post_epoch
            and discussions.version = expected.post_version
            and discussions.revision is not distinct from expected.revision
            and (select number from epoch) = expected.own_epoch
        for no key update of discussions skip locked
    ) as discussion
), changes as (
    select id, all_replies, reply_count, shown_replies, place
    from unnest((select $6::uuid[]), (select $7::int[]), (select $8::int[]), (select $9::int[]), (select $10::bigint[]))
        as change (id, all_replies, reply_count, shown_replies, place)
), parents as materialized (
    select changes.place
    from changes cross join lateral (
        select from comments
        where comments.id = changes.id and comments.shown
            and exists (select from locked where locked.post_id = comments.post_id)
        for no key update of comments
    ) as parent
), answers as ({idempotency.answers(OWN_PARAMETERS)}
), given as (
    select id, post_id, parent_id, coalesce(parent_id, post_id) as list_id, path, depth, author_id, parent_author_id,
        body, format, body_html, state, renderer_version, created_at, shown, text_key, answered_revision, place
    from unnest(
        (select $11::uuid[]), (select $12::uuid[]), (select $13::uuid[]), (select $14::bytea[]),
        (select $15::smallint[]), (select $16::uuid[]), (select $17::uuid[]), (select $18::text[]),
        (select $19::text[]), (select $20::text[]), (select $21::text[]), (select $22::smallint[]),
        (select $23::timestamptz[]), (select $24::boolean[]), (select $25::bigint[]), (select $26::int[])
    ) with ordinality as given (
        id, post_id, parent_id, path, depth, author_id, parent_author_id, body,
        format, body_html, state, renderer_version, created_at, shown, text_key, answered_revision, place
    )
), judged as materialized (
    select given.*,
        coalesce(locked.writer = (select seen.xmin from discussions as seen where seen.post_id = given.post_id), false)
            and (changes.place is null or parents.place is not null) as is_current,
        {idempotency.IS_FRESH} as is_fresh,
        coalesce(
            (select twin.id from comments as twin
             where twin.author_id = given.author_id and twin.post_id = given.post_id and twin.text_key = given.text_key
                 and twin.state = 'visible' and twin.list_id = given.list_id
                 and twin.created_at > given.created_at - $27::interval
             limit 1),
            (select twin.id from comments as twin
             where twin.author_id = given.author_id and twin.post_id = given.post_id and twin.text_key = given.text_key
                 and twin.state = 'held' and twin.list_id = given.list_id
                 and twin.created_at > given.created_at - $27::interval
             limit 1)
        ) as twin_id
    from given
    left join locked using (post_id)
    left join changes using (place)
    left join parents using (place)
    join answers using (place)
), new as (
    select * from judged where is_current and is_fresh and twin_id is null
), inserted as (
    insert into comments (
        id, post_id, parent_id, list_id, path, depth, author_id, parent_author_id,
        body, format, body_html, state, renderer_version, created_at, shown, text_key, answered_revision
    )
    select id, post_id, parent_id, list_id, path, depth, author_id, parent_author_id,
        body, format, body_html, state, renderer_version, created_at, shown, text_key, answered_revision
    from new
), counted as (
    update discussions set visible_count = discussions.visible_count + added.visible
    from (select post_id, count(*) filter (where state = 'visible') as visible from new group by post_id) as added
    where discussions.post_id = added.post_id
), answered as (
    update comments set
        all_replies = comments.all_replies + added.all_replies,
        reply_count = comments.reply_count + added.reply_count,
        shown_replies = comments.shown_replies + added.shown_replies
    from (
        select changes.id, sum(changes.all_replies) as all_replies, sum(changes.reply_count) as reply_count,
            sum(changes.shown_replies) as shown_replies
        from new join changes using (place)
        group by changes.id
    ) as added
    where comments.id = added.id
), told as ({outbox.insert_with_each("new", OWN_PARAMETERS + len(idempotency.TYPES))}
), kept as ({idempotency.insert_with_each("new")}
)
select id, is_current, is_fresh, twin_id from judged where not (is_current and is_fresh and twin_id is null)
"""  # noqa: S608  # constants


async def insert_if_current(
    tx: Transaction, discussions: Collection[Discussion], new: Sequence[New], renderer_version: int
) -> dict[UUID, NotWritten]:
    """Store new comments, each with its event and its answer, and count them.

    Their discussions are locked, if nobody else has locked them, so the caller needs no lock and no more than a
    statement; one who has locked them finds all of them current.

    Args:
        discussions: those of the comments, as they were when it was decided what to store.
        new: no two of them are twins of each other or have the same key.

    Returns:
        Those that were not stored, by id.

    Raises:
        NotNullViolationError: another transaction has stored one of the keys meanwhile.
    """
    changes = [(one.change, place) for place, one in enumerate(new, 1) if one.change]
    found = await tx.fetch(
        INSERT_IF_CURRENT,
        [discussion.post_id for discussion in discussions],
        [discussion.post_epoch for discussion in discussions],
        [discussion.post_version for discussion in discussions],
        [discussion.revision for discussion in discussions],
        [discussion.epoch for discussion in discussions],
        [change.id for change, _ in changes],
        [change.all_replies for change, _ in changes],
        [change.reply_count for change, _ in changes],
        [change.shown_replies for change, _ in changes],
        [place for _, place in changes],
        *zip(*(comment_rows.row(one.comment, renderer_version) for one in new), strict=True),
        [one.text_key for one in new],
        [one.comment.answered_revision for one in new],
        TWINS_WITHIN,
        *zip(*(one.answer for one in new), strict=True),
        *zip(*(one.event for one in new), strict=True),
    )
    if len(found) < len(new):
        outbox.added(tx)
    return {comment_id: NotWritten(*rest) for comment_id, *rest in found}
