"""SQL of pages of the tree: entries of a list, and what stands below them, in one statement.

What everybody sees is read through the partial indexes (`where shown`), so that hidden comments in between cost
nothing; those that a person sees are added by id. Texts that are long or not shown are not read.
"""

# ruff: noqa: S608  # the statements are constants

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from services.chassis.database.pool import Reader
from services.comments.store.comment_rows import COLUMNS

Order = Literal["asc", "desc"]
LONG_BYTES = 4_000


def _columns(body: str) -> str:
    """Return `COLUMNS` as SQL without texts that are long, then how long the HTML is, and whether there is such a text.

    Args:
        body: the text as it was typed, for whom it is shown to.
    """
    return f"""
        id, post_id, parent_id, path, depth, author_id, parent_author_id,
        case when octet_length({body}) <= {LONG_BYTES} then {body} end as body, format,
        case when octet_length(body_html) <= {LONG_BYTES} then body_html end as body_html, state,
        removed_by_author, created_at, edited_at, version, reply_count, shown_replies, all_replies, shown, imported,
        answered_revision, octet_length(body_html) as html_bytes,
        coalesce(greatest(octet_length({body}), octet_length(body_html)) > {LONG_BYTES}, false) as is_long
    """


PAGE_COLUMNS = _columns("body")
OWN_COLUMNS = _columns("case when author_id = $5 then body end")
FIELDS = len(COLUMNS.split(","))


def _page(listed: str, has_replies: str, below: str, order: Order) -> str:
    """Return the statement of a page: one entry more than $3, and of the others' trees what fits beside them into $4.

    Args:
        listed: selects the entries.
        has_replies: whether there is something below an entry.
        below: selects what stands below `top`, as much as `share`.
    """
    return f"""
        with listed as materialized ({listed}),
        entries as materialized (select * from listed order by id {order} limit $3),
        opened (top, share) as (
            select path, ($4 - (select count(*) from entries)) / count(*) over () from entries where {has_replies}
        )
        select {COLUMNS}, html_bytes, is_long, true as is_listed,
            (select post_author_id from discussions where post_id = $1 and status = 'published') as post_author_id
        from listed
        union all
        select {COLUMNS}, html_bytes, is_long, false, null from opened cross join lateral ({below}) as below
    """


BELOW = r"path > top and path < top || '\xff'::bytea"
Place = tuple[UUID, UUID, int, int]  # the list, the id behind which it is read, how many entries, and room for all

PAGE_OF_SHOWN: dict[Order, str] = {
    "asc": _page(
        f"select {OWN_COLUMNS} from comments where list_id = $1 and id > $2 and shown order by id limit $3 + 1",
        "shown_replies > 0",
        f"select {OWN_COLUMNS} from comments where {BELOW} and shown order by path limit share",
        "asc",
    ),
    "desc": _page(
        f"select {OWN_COLUMNS} from comments where list_id = $1 and id < $2 and shown order by id desc limit $3 + 1",
        "shown_replies > 0",
        f"select {OWN_COLUMNS} from comments where {BELOW} and shown order by path limit share",
        "desc",
    ),
}


async def of_shown(reader: Reader, order: Order, place: Place, person_id: UUID | None) -> list[Any]:
    """Return the rows of a page for somebody who sees no more than everybody."""
    return await reader.fetch(PAGE_OF_SHOWN[order], *place, person_id)


BELOW_SHOWN_AND_HIDDEN = f"""
    (select {OWN_COLUMNS} from comments where {BELOW} and shown order by path limit share)
    union all
    (select {OWN_COLUMNS} from comments where {BELOW} and not shown and id = any($6::uuid[]))
    order by path limit share
"""
PAGE_OF_SHOWN_AND_HIDDEN: dict[Order, str] = {
    "asc": _page(
        f"""
        (select {OWN_COLUMNS} from comments where list_id = $1 and id > $2 and shown order by id limit $3 + 1)
        union all
        (select {OWN_COLUMNS} from comments where list_id = $1 and id > $2 and not shown and id = any($6::uuid[]))
        order by id limit $3 + 1
        """,
        "shown_replies > 0 or id = any($7::uuid[])",
        BELOW_SHOWN_AND_HIDDEN,
        "asc",
    ),
    "desc": _page(
        f"""
        (select {OWN_COLUMNS} from comments where list_id = $1 and id < $2 and shown order by id desc limit $3 + 1)
        union all
        (select {OWN_COLUMNS} from comments where list_id = $1 and id < $2 and not shown and id = any($6::uuid[]))
        order by id desc limit $3 + 1
        """,
        "shown_replies > 0 or id = any($7::uuid[])",
        BELOW_SHOWN_AND_HIDDEN,
        "desc",
    ),
}


async def of_shown_and_hidden(
    reader: Reader, order: Order, place: Place, person_id: UUID | None, ids: Sequence[UUID], above: Sequence[UUID]
) -> list[Any]:
    """Return the same with hidden comments of these ids, which stand in the lists below those of `above`."""
    return await reader.fetch(PAGE_OF_SHOWN_AND_HIDDEN[order], *place, person_id, ids, above)


PAGE_OF_ALL: dict[Order, str] = {
    "asc": _page(
        f"select {PAGE_COLUMNS} from comments where list_id = $1 and id > $2 order by id limit $3 + 1",
        "all_replies > 0",
        f"select {PAGE_COLUMNS} from comments where {BELOW} order by path limit share",
        "asc",
    ),
    "desc": _page(
        f"select {PAGE_COLUMNS} from comments where list_id = $1 and id < $2 order by id desc limit $3 + 1",
        "all_replies > 0",
        f"select {PAGE_COLUMNS} from comments where {BELOW} order by path limit share",
        "desc",
    ),
}


async def of_all(reader: Reader, order: Order, place: Place) -> list[Any]:
    """Return the rows of a page for moderators."""
    return await reader.fetch(PAGE_OF_ALL[order], *place)
