"""Pages of the tree: a list read by keyset, and below each of its entries a beginning of its tree in depth-first order.

A page is one statement, whatever the size of the thread, and one more for entries or what is below them where texts are
long: those are read only if they are shown.
"""

# ruff: noqa: S608  # the statements are constants

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal
from uuid import UUID

import orjson

from services.chassis.database.pool import Reader
from services.chassis.http import cursors
from services.chassis.http.answer_size import MOST_BYTES, fitting
from services.chassis.identity import Caller
from services.comments.domain.comment import Comment, is_own, representation
from services.comments.domain.tree import FIRST, NO_HIDDEN, SeenHidden, nest, replies_list, replies_seen
from services.comments.store import page_rows
from services.comments.store.page_rows import FIELDS, PAGE_COLUMNS, Order
from services.contracts.comments import ROOM, room_of_page
from services.contracts.people import is_moderator

ListedState = Literal["held", "rejected", "removed"]
MOST_WAITING = 1_000  # counted no further
FIELDS_BYTES = 600  # what a comment has beside its text
LONGEST_ESCAPE = 6  # bytes of JSON for a character


@dataclass(frozen=True)
class Page:
    """Entries with the beginnings of their trees, and the id behind which the list goes on, if it does.

    Attributes:
        post_author_id: the author of the post whose top level it is, if it is published and the page is not empty.
    """

    items: list[dict[str, Any]]
    last: UUID | None
    post_author_id: UUID | None = None


async def list_page(
    reader: Reader,
    list_id: UUID,
    caller: Caller,
    hidden: SeenHidden,
    *,
    after: UUID,
    limit: int,
    order: Order = "asc",
    most: int = MOST_BYTES,
    room: int | None = None,
) -> Page:
    """Return a page of the top level of a post, or of the replies of a comment, behind `after`, in so many bytes.

    Args:
        room: how many comments it may have, with those inlined below its entries; by default that of `room_of_page`.
    """
    place = (list_id, after, limit, room or room_of_page(limit))
    if is_moderator(caller.roles):
        rows = await page_rows.of_all(reader, order, place)
    elif hidden.ids:
        rows = await page_rows.of_shown_and_hidden(
            reader, order, place, caller.person_id, list(hidden.ids), list(hidden.counts or ())
        )
    else:  # most callers; asking for no ids below each entry costs about 4 % of a page
        rows = await page_rows.of_shown(reader, order, place, caller.person_id)
    in_order = sorted(rows, key=itemgetter("path"))
    listed = [row for row in in_order if row["is_listed"]]
    if order == "desc":
        listed.reverse()
    entries, left = await _fitting(reader, listed[:limit], caller, most)
    below = [row for row in in_order if not row["is_listed"]]
    if len(entries) < min(len(listed), limit):
        tops = {entry.path for entry in entries}
        below = [row for row in below if row["path"][: len(entries[0].path)] in tops]
    replies, _ = await _fitting(reader, below, caller, left, least=0)
    last = entries[-1].id if len(listed) > len(entries) else None
    return Page(nest(entries, replies, caller, hidden), last, rows[0]["post_author_id"] if rows else None)


async def _fitting(
    reader: Reader, rows: Sequence[Any], caller: Caller, most: int, *, least: int = 1
) -> tuple[Sequence[Comment], int]:
    """Return the comments of the first rows whose JSON has at most `most` bytes, and how many bytes are left.

    Args:
        least: how many are returned whatever their size.
    """
    if any(row["is_long"] for row in rows):
        comments = await _with_long_texts(reader, rows, caller, most)
    else:
        comments = [Comment._make(row[:FIELDS]) for row in rows]
    letters = sum(len(one.body_html or "") + len(one.body or "") for one in comments)
    at_most = FIELDS_BYTES * len(comments) + LONGEST_ESCAPE * letters
    if at_most <= most // 2:  # nearly always, and measuring takes longer
        return comments, most - at_most
    return fitting(comments, (_size(one, caller) for one in comments), most, least=least)


def _size(comment: Comment, caller: Caller) -> int:
    """Return about how many bytes of JSON the comment has for this caller."""
    shown = [comment.body_html]
    if is_moderator(caller.roles) or is_own(comment, caller):
        shown.append(comment.body)
    return FIELDS_BYTES + sum(len(orjson.dumps(text)) for text in shown)


SELECT_TEXTS = """
select id, case when $2 or author_id = $3 then body end as body, body_html from comments where id = any($1::uuid[])
"""


async def _with_long_texts(reader: Reader, rows: Sequence[Any], caller: Caller, most: int) -> list[Comment]:
    """Return the comments of the first rows whose HTML has at most `most` bytes, at least one."""
    read, _ = fitting(rows, (row["html_bytes"] or 0 for row in rows), most)
    comments = [Comment._make(row[:FIELDS]) for row in read]
    long = [row["id"] for row in read if row["is_long"]]
    texts = {
        row["id"]: row for row in await reader.fetch(SELECT_TEXTS, long, is_moderator(caller.roles), caller.person_id)
    }
    for number, one in enumerate(comments):
        if (text := texts.get(one.id)) is not None:
            is_gone = text["body_html"] is None  # removed by its author since the row was read
            comments[number] = one._replace(
                body=text["body"], body_html=text["body_html"], state="removed" if is_gone else one.state
            )
    return comments


# A scalar subquery and no join, so that a queue is read in its order and no further than the page.
HELD = f"""
select {PAGE_COLUMNS} from comments
where state = 'held' and id > $1 and (select status from discussions where post_id = comments.post_id) = 'published'
order by id limit $2
"""
REMOVED = f"""
select {PAGE_COLUMNS} from comments
where state = 'removed' and not removed_by_author and id < $1
    and (select status from discussions where post_id = comments.post_id) = 'published'
order by id desc limit $2
"""


async def state_page(reader: Reader, caller: Caller, state: ListedState, *, after: UUID, limit: int) -> Page:
    """Return a page of what moderators find by its state below published posts, without what stands below it.

    What its author removed has no text any more, so all that can still be read was rejected.
    """
    listed = await reader.fetch(HELD if state == "held" else REMOVED, after, limit + 1)
    entries, _ = await _fitting(reader, listed[:limit], caller, MOST_BYTES)
    return Page(nest(entries, [], caller, NO_HIDDEN), entries[-1].id if len(listed) > len(entries) else None)


OF_AUTHOR = f"""
select {PAGE_COLUMNS} from comments
where author_id = $1 and id < $2 and state <> 'removed'
    and (select status from discussions where post_id = comments.post_id) = 'published'
order by id desc limit $3
"""


async def author_page(
    reader: Reader, caller: Caller, person_id: UUID, *, after: UUID, limit: int
) -> tuple[Sequence[Comment], bool]:
    """Return a page of what a person wrote below published posts and sees whole, and whether there is more."""
    listed = await reader.fetch(OF_AUTHOR, person_id, after, limit + 1)
    entries, _ = await _fitting(reader, listed[:limit], caller, MOST_BYTES)
    return entries, len(listed) > len(entries)


COUNT_HELD = f"""
select count(*) from (
    select from comments
    where state = 'held' and (select status from discussions where post_id = comments.post_id) = 'published'
    limit {MOST_WAITING}
) as waiting
"""


async def count_held(reader: Reader) -> int:
    """Count what is held below published posts, up to `MOST_WAITING`."""
    count: int = await reader.fetchval(COUNT_HELD)
    return count


ABOVE = f"select {PAGE_COLUMNS} from comments where id = any($1::uuid[]) order by depth desc"


async def above(reader: Reader, comment: Comment, caller: Caller) -> tuple[list[dict[str, Any]], int]:
    """Return the comments above one, from the top level down, and how many bytes they leave to the comment itself.

    They get half of the room; if that is too little, those at the top are left out.
    """
    if not comment.ancestors:
        return [], MOST_BYTES
    rows = await reader.fetch(ABOVE, comment.ancestors)
    nearest, left = await _fitting(reader, rows, caller, MOST_BYTES // 2)
    return [_with_open_end(one, caller) for one in reversed(nearest)], MOST_BYTES // 2 + left


def _with_open_end(comment: Comment, caller: Caller) -> dict[str, Any]:
    """Return a comment without its replies, of which it has at least one, and where they begin."""
    shown = representation(comment, caller)
    shown["replies"]["next"] = cursors.encode(replies_list(comment.id), FIRST)
    return shown


WITH_REPLIES_SHOWN = rf"""
select {PAGE_COLUMNS} from comments where path > $1 and path < $1 || '\xff'::bytea and shown order by path limit $2
"""
WITH_REPLIES_SHOWN_AND_HIDDEN = rf"""
(select {PAGE_COLUMNS} from comments where path > $1 and path < $1 || '\xff'::bytea and shown order by path limit $2)
union all
(select {PAGE_COLUMNS} from comments
 where path > $1 and path < $1 || '\xff'::bytea and not shown and id = any($3::uuid[]))
order by path limit $2
"""
WITH_REPLIES_ALL = rf"""
select {PAGE_COLUMNS} from comments where path > $1 and path < $1 || '\xff'::bytea order by path limit $2
"""


async def with_replies(
    reader: Reader, comment: Comment, caller: Caller, hidden: SeenHidden, most: int = MOST_BYTES
) -> dict[str, Any]:
    """Return a comment with the beginning of its tree, which has at most so many bytes."""
    left = most - len(orjson.dumps((comment.body_html, comment.body)))
    rows: Sequence[Any] = ()
    if not replies_seen(comment, caller, hidden):
        pass
    elif is_moderator(caller.roles):
        rows = await reader.fetch(WITH_REPLIES_ALL, comment.path, ROOM - 1)
    elif hidden.ids:
        rows = await reader.fetch(WITH_REPLIES_SHOWN_AND_HIDDEN, comment.path, ROOM - 1, list(hidden.ids))
    else:
        rows = await reader.fetch(WITH_REPLIES_SHOWN, comment.path, ROOM - 1)
    below, _ = await _fitting(reader, rows, caller, left, least=0)
    return nest([comment], below, caller, hidden)[0]
