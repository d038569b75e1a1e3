"""Number the pages of the top level of a discussion, for people who leaf through it (ADR 48).

Pages are read by keyset; a number is turned into the place where its page begins, and back. Both are counted in an
index alone, and no further than `MOST_COUNTED` comments: behind them a discussion goes on with Earlier and Later.
"""

# ruff: noqa: S608  # the statements are constants

from dataclasses import dataclass
from uuid import UUID

from services.chassis.database.pool import Reader
from services.chassis.identity import Caller
from services.comments.domain.tree import FIRST, LAST, SeenHidden
from services.comments.store.page_rows import Order
from services.contracts.people import is_moderator

MOST_COUNTED = 2_000


@dataclass(frozen=True)
class TopLevel:
    """The top level of a post as one person sees it, in an order."""

    post_id: UUID
    caller: Caller
    hidden: SeenHidden
    order: Order

    @property
    def start(self) -> UUID:
        """The id behind which the first page begins."""
        return FIRST if self.order == "asc" else LAST

    @property
    def seen(self) -> str:
        """The first ids in order, as SQL: of the list $1 as many as $2, with those of $3 among the hidden ones."""
        return (SEEN_ALL if is_moderator(self.caller.roles) else SEEN)[self.order]


@dataclass(frozen=True)
class Position:
    """Where in a list a page stands.

    Attributes:
        page: its number; None where it begins behind the comments that are counted.
        pages: how many there are; None for more than are counted.
        previous: the id behind which the page before begins, where that page cannot be found by its number.
    """

    page: int | None
    pages: int | None
    previous: UUID | None = None


# Ids of one list, compared and ordered as its index has them: by id alone, they might be read from among those of all
# discussions. A person's own hidden comments stand in their list too, or a page would begin behind the end of the one
# before.
OF_LIST = f"(list_id, id) > ($1, '{FIRST}'::uuid) and (list_id, id) < ($1, '{LAST}'::uuid)"
SEEN = {
    "asc": f"""
        (select list_id, id from comments where {OF_LIST} and shown order by list_id, id limit $2)
        union all
        (select list_id, id from comments where list_id = $1 and not shown and id = any($3::uuid[]))
        order by list_id, id limit $2
    """,
    "desc": f"""
        (select list_id, id from comments where {OF_LIST} and shown order by list_id desc, id desc limit $2)
        union all
        (select list_id, id from comments where list_id = $1 and not shown and id = any($3::uuid[]))
        order by list_id desc, id desc limit $2
    """,
}
SEEN_ALL = {
    "asc": f"select list_id, id from comments where {OF_LIST} and $3::uuid[] is not null order by list_id, id limit $2",
    "desc": f"""
        select list_id, id from comments where {OF_LIST} and $3::uuid[] is not null
        order by list_id desc, id desc limit $2
    """,
}


async def find_start(reader: Reader, top: TopLevel, page: int, limit: int) -> UUID:
    """Return the id behind which a page begins; past the last page that is counted, that of the last one."""
    before = min((page - 1) * limit, MOST_COUNTED // limit * limit)
    if before <= 0:
        return top.start
    last, count = await _last_of(reader, top, before + 1)
    if count > before:
        last, _ = await _last_of(reader, top, before)
    elif count:
        before = (count - 1) // limit * limit
        last = (await _last_of(reader, top, before))[0] if before else None
    return last or top.start


async def _last_of(reader: Reader, top: TopLevel, most: int) -> tuple[UUID | None, int]:
    """Return the last of the first so many ids, and how many they are."""
    backwards = "desc" if top.order == "asc" else "asc"
    row = await reader.fetchrow(
        f"select id, count(*) over () from ({top.seen}) as seen order by id {backwards} limit 1",
        top.post_id,
        most,
        list(top.hidden.ids),
    )
    return (row[0], row[1]) if row is not None else (None, 0)


async def position_of(reader: Reader, top: TopLevel, after: UUID, limit: int) -> Position:
    """Return where the page stands that begins behind an id.

    A page that began where an earlier one ended may begin a little beside the multiple of `limit` by now, since
    comments come and go: its number is the nearest one.
    """
    up_to = "id <= $4" if top.order == "asc" else "id >= $4"
    row = await reader.fetchrow(
        f"select count(*), count(*) filter (where {up_to}) from ({top.seen}) as seen",
        top.post_id,
        MOST_COUNTED + 1,
        list(top.hidden.ids),
        after,
    )
    assert row is not None
    count, before = row
    page = max(2, round(before / limit) + 1) if before else 1
    pages = max(page, -(-count // limit)) if count <= MOST_COUNTED else None
    if before <= MOST_COUNTED:
        return Position(page, pages)
    return Position(None, pages, await _start_of_page_before(reader, top, after, limit))


BEFORE = {
    "asc": f"""
        (select list_id, id from comments where {OF_LIST} and (list_id, id) <= ($1, $4::uuid) and shown
         order by list_id desc, id desc limit $2)
        union all
        (select list_id, id from comments where list_id = $1 and id <= $4 and not shown and id = any($3::uuid[]))
        order by list_id desc, id desc offset $2 - 1 limit 1
    """,
    "desc": f"""
        (select list_id, id from comments where {OF_LIST} and (list_id, id) >= ($1, $4::uuid) and shown
         order by list_id, id limit $2)
        union all
        (select list_id, id from comments where list_id = $1 and id >= $4 and not shown and id = any($3::uuid[]))
        order by list_id, id offset $2 - 1 limit 1
    """,
}
BEFORE_ALL = {
    "asc": f"""
        select list_id, id from comments where {OF_LIST} and (list_id, id) <= ($1, $4::uuid) and $3::uuid[] is not null
        order by list_id desc, id desc offset $2 - 1 limit 1
    """,
    "desc": f"""
        select list_id, id from comments where {OF_LIST} and (list_id, id) >= ($1, $4::uuid) and $3::uuid[] is not null
        order by list_id, id offset $2 - 1 limit 1
    """,
}


async def _start_of_page_before(reader: Reader, top: TopLevel, after: UUID, limit: int) -> UUID | None:
    """Return the id behind which a page of `limit` comments begins that ends with an id; None for the beginning."""
    before = (BEFORE_ALL if is_moderator(top.caller.roles) else BEFORE)[top.order]
    row = await reader.fetchrow(before, top.post_id, limit + 1, list(top.hidden.ids), after)
    return row["id"] if row is not None else None
