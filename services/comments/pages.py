"""One page of a tree in one statement, whatever the size of the thread: a list by keyset, and below each entry a
beginning of its tree in depth-first order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from services.chassis.database.pool import Reader
from services.chassis.identity import Caller
from services.comments import store
from services.comments.domain.comment import Comment
from services.comments.domain.tree import FIRST, NOTHING_OWN, Own, assembled
from services.comments.store import COLUMNS
from services.contracts.people import is_moderator

Order = Literal["asc", "desc"]
ROOM = 100  # comments on a page, entries and what is inlined below them; more only to give every entry's reply a place

PAGE = """
with listed as materialized (
    ENTRIES
), opened as materialized (
    select path as top
    from (select path, all_replies, shown_replies from listed order by id ORDER limit $1::bigint) as entry
    where REPLIES
)
select true as listed, COLUMNS from listed
union all
select false, COLUMNS
from opened
cross join lateral (
    BELOW
) as below
"""
ENTRIES_LIMIT = "$1::bigint + 1"
BELOW = "path > opened.top and path < opened.top || '\\xff'::bytea"
BELOW_LIMIT = """
greatest(0, $2::bigint - (select least(count(*), $1::bigint) from listed)) / greatest(1, (select count(*) from opened))
"""

# What everybody sees is found through the partial indexes, so what is hidden in between costs nothing; what a person
# sees beyond that is added by its ids.
SHOWN = "select COLUMNS from comments where (WHERE) and shown order by KEY limit LIMIT"
SHOWN_AND_OWN = """
select COLUMNS
from (
    (select COLUMNS from comments where (WHERE) and shown order by KEY limit LIMIT)
    union all
    (select COLUMNS from comments where (WHERE) and not shown and id = any($5::uuid[]))
) as found
order by KEY
limit LIMIT
"""
ALL = "select COLUMNS from comments where (WHERE) order by KEY limit LIMIT"
SOURCES = {"everybody": SHOWN, "person": SHOWN_AND_OWN, "moderator": ALL}
REPLIES = {"everybody": "shown_replies > 0", "person": "all_replies > 0", "moderator": "all_replies > 0"}


def _page(where: str, viewer: str, order: Order) -> str:
    source = SOURCES[viewer]
    entries = source.replace("WHERE", where).replace("KEY", f"id {order}").replace("LIMIT", ENTRIES_LIMIT)
    below = source.replace("WHERE", BELOW).replace("KEY", "path").replace("LIMIT", BELOW_LIMIT)
    sql = PAGE.replace("ENTRIES", entries).replace("BELOW", below).replace("REPLIES", REPLIES[viewer])
    return sql.replace("ORDER", order).replace("COLUMNS", COLUMNS)


LIST_PAGES: dict[tuple[str, Order], str] = {
    **{(viewer, "asc"): _page("list_id = $4 and id > $3", viewer, "asc") for viewer in SOURCES},
    **{(viewer, "desc"): _page("list_id = $4 and id < $3", viewer, "desc") for viewer in SOURCES},
}
ONE_PAGES = {viewer: _page("id = $4 and id > $3", viewer, "asc") for viewer in SOURCES}
# A scalar subquery and not a join: so the queue is read in its order and no further than the page.
HELD_PAGE = _page(
    "state = 'held' and id > $3 and (select status from discussions where post_id = comments.post_id) = 'published'",
    "moderator",
    "asc",
)


@dataclass(frozen=True)
class Page:
    """Entries with the beginnings of their trees, and the id behind which the list goes on, if it does."""

    items: list[dict[str, Any]]
    last: UUID | None


async def own_of(reader: Reader, caller: Caller, post_id: UUID) -> Own:
    """What this caller sees below a post beyond everybody. A moderator sees everything and needs no list."""
    if caller.person_id is None or is_moderator(caller.roles):
        return NOTHING_OWN
    hidden = await store.own_hidden(reader, caller.person_id, post_id)
    counts: dict[UUID, int] = {}
    for _, list_id in hidden:
        counts[list_id] = counts.get(list_id, 0) + 1
    return Own(frozenset(comment_id for comment_id, _ in hidden), counts)


async def list_page(
    reader: Reader, list_id: UUID, caller: Caller, own: Own, *, after: UUID, limit: int, order: Order = "asc"
) -> Page:
    """A page of the top level of a post, or of the replies of a comment, behind `after`."""
    viewer = _viewer(caller, own)
    args = [limit, max(2 * limit, ROOM), after, list_id, *([list(own.ids)] if viewer == "person" else [])]
    return await _read(reader, LIST_PAGES[viewer, order], args, caller, own, limit, order)


async def held_page(reader: Reader, caller: Caller, *, after: UUID, limit: int) -> Page:
    """A page of the moderators' queue: what is held below published posts, without what stands below it."""
    return await _read(reader, HELD_PAGE, [limit, 0, after], caller, NOTHING_OWN, limit, "asc")


async def one(reader: Reader, comment: Comment, caller: Caller, own: Own) -> dict[str, Any] | None:
    """A comment with the beginning of its replies; None if this caller may not see it."""
    viewer = _viewer(caller, own)
    args = [1, ROOM, FIRST, comment.id, *([list(own.ids)] if viewer == "person" else [])]
    page = await _read(reader, ONE_PAGES[viewer], args, caller, own, 1, "asc")
    return page.items[0] if page.items else None


def _viewer(caller: Caller, own: Own) -> str:
    return "moderator" if is_moderator(caller.roles) else "person" if own.ids else "everybody"


async def _read(
    reader: Reader, sql: str, args: Sequence[object], caller: Caller, own: Own, limit: int, order: Order
) -> Page:
    listed: list[Comment] = []
    below: list[Comment] = []
    for is_listed, *values in await reader.fetch(sql, *args):
        (listed if is_listed else below).append(Comment(*values))
    listed.sort(key=lambda comment: comment.id, reverse=order == "desc")
    below.sort(key=lambda comment: comment.path)
    entries = listed[:limit]
    return Page(assembled(entries, below, caller, own), entries[-1].id if len(listed) > limit else None)
