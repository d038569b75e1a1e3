"""Pages of the tree: a list read by keyset, and below each of its entries a beginning of its tree in depth-first order.

A page is at most two statements, whatever the size of the thread. What everybody sees is read through the partial
indexes (`where shown`), so that hidden comments in between cost nothing; those that a person sees are added by id.
"""

# ruff: noqa: S608  # the statements are constants

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from services.chassis.database.pool import Reader
from services.chassis.identity import Caller
from services.comments.domain.comment import Comment
from services.comments.domain.tree import NO_HIDDEN, SeenHidden, nest, replies_seen
from services.comments.store.comment_rows import COLUMNS
from services.contracts.people import is_moderator

Order = Literal["asc", "desc"]
ROOM = 100  # comments on a page, entries and what is inlined below them; more only to give every entry's reply a place


@dataclass(frozen=True)
class Page:
    """Entries with the beginnings of their trees, and the id behind which the list goes on, if it does."""

    items: list[dict[str, Any]]
    last: UUID | None


async def list_page(
    reader: Reader, list_id: UUID, caller: Caller, hidden: SeenHidden, *, after: UUID, limit: int, order: Order = "asc"
) -> Page:
    """Return a page of the top level of a post, or of the replies of a comment, behind `after`."""
    listed = await _listed(reader, list_id, caller, hidden, after, limit + 1, order)
    entries = listed[:limit]
    below = await _below(reader, entries, caller, hidden, max(2 * limit, ROOM))
    return Page(nest(entries, below, caller, hidden), entries[-1].id if len(listed) > limit else None)


LISTED_SHOWN_AND_HIDDEN = {
    "asc": f"""
        (select {COLUMNS} from comments where list_id = $1 and id > $2 and shown order by id limit $3)
        union all
        (select {COLUMNS} from comments where list_id = $1 and id > $2 and not shown and id = any($4::uuid[]))
        order by id limit $3
    """,
    "desc": f"""
        (select {COLUMNS} from comments where list_id = $1 and id < $2 and shown order by id desc limit $3)
        union all
        (select {COLUMNS} from comments where list_id = $1 and id < $2 and not shown and id = any($4::uuid[]))
        order by id desc limit $3
    """,
}
LISTED_ALL = {
    "asc": f"select {COLUMNS} from comments where list_id = $1 and id > $2 order by id limit $3",
    "desc": f"select {COLUMNS} from comments where list_id = $1 and id < $2 order by id desc limit $3",
}


async def _listed(
    reader: Reader, list_id: UUID, caller: Caller, hidden: SeenHidden, after: UUID, limit: int, order: Order
) -> list[Comment]:
    if is_moderator(caller.roles):
        rows = await reader.fetch(LISTED_ALL[order], list_id, after, limit)
    else:
        rows = await reader.fetch(LISTED_SHOWN_AND_HIDDEN[order], list_id, after, limit, list(hidden.ids))
    return [Comment(*row) for row in rows]


# A scalar subquery and no join, so that the queue is read in its order and no further than the page.
HELD = f"""
select {COLUMNS} from comments
where state = 'held' and id > $1 and (select status from discussions where post_id = comments.post_id) = 'published'
order by id limit $2
"""


async def held_page(reader: Reader, caller: Caller, *, after: UUID, limit: int) -> Page:
    """Return a page of the moderators' queue: what is held below published posts, without what stands below it."""
    listed = [Comment(*row) for row in await reader.fetch(HELD, after, limit + 1)]
    entries = listed[:limit]
    return Page(nest(entries, [], caller, NO_HIDDEN), entries[-1].id if len(listed) > limit else None)


async def with_replies(reader: Reader, comment: Comment, caller: Caller, hidden: SeenHidden) -> dict[str, Any]:
    """Return a comment with the beginning of its tree."""
    return nest([comment], await _below(reader, [comment], caller, hidden, ROOM), caller, hidden)[0]


BELOW_SHOWN = rf"""
select {COLUMNS}
from unnest($1::bytea[]) as opened (top)
cross join lateral (
    select {COLUMNS} from comments where path > top and path < top || '\xff'::bytea and shown order by path limit $2
) as below
"""
BELOW_SHOWN_AND_HIDDEN = rf"""
select {COLUMNS}
from unnest($1::bytea[]) as opened (top)
cross join lateral (
    (select {COLUMNS} from comments where path > top and path < top || '\xff'::bytea and shown order by path limit $2)
    union all
    (select {COLUMNS} from comments
     where path > top and path < top || '\xff'::bytea and not shown and id = any($3::uuid[]))
    order by path limit $2
) as below
"""
BELOW_ALL = rf"""
select {COLUMNS}
from unnest($1::bytea[]) as opened (top)
cross join lateral (
    select {COLUMNS} from comments where path > top and path < top || '\xff'::bytea order by path limit $2
) as below
"""


async def _below(
    reader: Reader, entries: Sequence[Comment], caller: Caller, hidden: SeenHidden, room: int
) -> list[Comment]:
    """Return the beginnings of the entries' trees, which share the room that the entries leave."""
    tops = [entry.path for entry in entries if replies_seen(entry, caller, hidden)]
    if not tops:
        return []
    share = (room - len(entries)) // len(tops)
    if is_moderator(caller.roles):
        rows = await reader.fetch(BELOW_ALL, tops, share)
    elif hidden.ids:
        rows = await reader.fetch(BELOW_SHOWN_AND_HIDDEN, tops, share, list(hidden.ids))
    else:  # most callers; asking for no ids below each entry costs about 4 % of a page
        rows = await reader.fetch(BELOW_SHOWN, tops, share)
    return sorted((Comment(*row) for row in rows), key=lambda comment: comment.path)
