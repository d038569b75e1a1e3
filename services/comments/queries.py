"""The read side of comments."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import orjson

from services.chassis.database.pool import Database, Reader
from services.chassis.errors import Problem
from services.chassis.http import cursors
from services.chassis.http.answer_size import fitting
from services.chassis.identity import Caller
from services.chassis.messaging.stating import known_rows
from services.comments import listing, numbering
from services.comments.domain.comment import Discussion, of_discussion, representation
from services.comments.domain.tree import FIRST, LAST, nest, replies_list
from services.comments.store import comment_rows, discussion_rows
from services.comments.store.page_rows import Order
from services.comments.visibility import find_visible, seen_hidden_by, seen_hidden_in
from services.contracts.event import rfc3339
from services.contracts.people import is_moderator
from services.contracts.services import STATED

Sort = Literal["oldest", "newest"]
ORDERS: Mapping[Sort, Order] = {"oldest": "asc", "newest": "desc"}
REPLIES = 50  # on a later page of replies, where a person reads


def _place(cursor: str | None, list_name: str, start: UUID) -> UUID:
    """Return the id behind which a page begins."""
    values = cursors.decode(cursor, list_name, UUID)
    after: UUID = values[0] if values else start
    return after


def _answer(page: listing.Page, list_name: str, post_author_id: UUID | None = None) -> dict[str, Any]:
    items = page.items if post_author_id is None else _by_author(page.items, post_author_id)
    return {"items": items, "next": cursors.encode(list_name, page.last) if page.last else None}


def _by_author(items: list[dict[str, Any]], post_author_id: UUID) -> list[dict[str, Any]]:
    """Name in each entry the author of the post that it and what is inlined below it are about."""
    for item in items:
        item["post_author_id"] = str(post_author_id)
    return items


async def comments(
    db: Database, caller: Caller, post_id: UUID, sort: Sort, cursor: str | None, limit: int
) -> dict[str, Any]:
    """Return a page of the top level of a post, each comment with the beginning of its tree.

    Raises:
        Problem: `malformed-cursor`, `post-unknown`.
    """
    list_name = _top_list(post_id, sort)
    after = _place(cursor, list_name, FIRST if sort == "oldest" else LAST)
    async with db.reader() as reader:
        hidden = await seen_hidden_by(reader, caller, post_id)
        page = await listing.list_page(reader, post_id, caller, hidden, after=after, limit=limit, order=ORDERS[sort])
        # The page says whose post it is, so that most pages are one statement.
        post_author_id = page.post_author_id or (await _published(reader, post_id)).post_author_id
    return _answer(page, list_name, post_author_id)


async def numbered(
    db: Database, caller: Caller, post_id: UUID, sort: Sort, cursor: str | None, limit: int, number: int
) -> dict[str, Any]:
    """Return the same for people who leaf through it: also which page it is, of how many, and the way back.

    Args:
        number: of the page, unless a cursor tells the place; past the last page comes the last one.

    Raises:
        Problem: `malformed-cursor`, `post-unknown`.
    """
    list_name = _top_list(post_id, sort)
    async with db.reader() as reader:
        hidden = await seen_hidden_by(reader, caller, post_id)
        top = numbering.TopLevel(post_id, caller, hidden, ORDERS[sort])
        after = _place(cursor, list_name, top.start)
        if not cursor and number > 1:
            after = await numbering.find_start(reader, top, number, limit)
        page = await listing.list_page(
            reader, post_id, caller, hidden, after=after, limit=limit, order=top.order, room=2 * limit
        )
        position = numbering.Position(1, 1)
        if page.last is not None or after != top.start:
            position = await numbering.position_of(reader, top, after, limit)
        post_author_id = page.post_author_id or (await _published(reader, post_id)).post_author_id
    return _answer(page, list_name, post_author_id) | {
        "page": position.page,
        "pages": position.pages,
        "previous": cursors.encode(list_name, position.previous) if position.previous else None,
    }


def _top_list(post_id: UUID, sort: Sort) -> str:
    return f"comments/{post_id}/{sort}"


async def _published(reader: Reader, post_id: UUID) -> Discussion:
    """Return the discussion of a published post.

    Raises:
        Problem: `post-unknown`.
    """
    discussion = await discussion_rows.find_discussion(reader, post_id)
    if discussion is None or discussion.status != "published":
        raise Problem("post-unknown")
    return discussion


async def newest(db: Database, caller: Caller, post_id: UUID, limit: int) -> dict[str, Any]:
    """Return the newest visible comments of a post without their replies, as far as they fit into one answer.

    Raises:
        Problem: `post-unknown`.
    """
    async with db.reader() as reader:
        discussion = await _published(reader, post_id)
        found = await comment_rows.newest(reader, post_id, limit)
    items = _by_author([representation(one, caller) for one in found], discussion.post_author_id)
    shown, _ = fitting(items, (len(orjson.dumps(item)) for item in items))
    return {"items": shown}


async def comment(db: Database, caller: Caller, comment_id: UUID) -> dict[str, Any]:
    """Return one comment with the beginning of its tree.

    Raises:
        Problem: `not-found`.
    """
    async with db.reader() as reader:
        discussion, found, hidden = await find_visible(reader, comment_id, caller)
        shown = await listing.with_replies(reader, found, caller, hidden)
    return shown | of_discussion(discussion)


async def replies(db: Database, caller: Caller, comment_id: UUID, cursor: str | None, limit: int) -> dict[str, Any]:
    """Return a page of a comment's direct replies, oldest first, each with the beginning of its tree.

    Raises:
        Problem: `malformed-cursor`, `not-found`.
    """
    after = _place(cursor, replies_list(comment_id), FIRST)
    async with db.reader() as reader:
        discussion, _, hidden = await find_visible(reader, comment_id, caller)
        page = await listing.list_page(reader, comment_id, caller, hidden, after=after, limit=limit)
    return _answer(page, replies_list(comment_id), discussion.post_author_id)


async def with_context(db: Database, caller: Caller, comment_id: UUID, cursor: str | None) -> dict[str, Any]:
    """Return the comments above one, from the top level down, and it with its replies or a later page of them.

    Raises:
        Problem: `malformed-cursor`, `not-found`.
    """
    list_name = replies_list(comment_id)
    after = _place(cursor, list_name, FIRST)
    async with db.reader() as reader:
        discussion, found, hidden = await find_visible(reader, comment_id, caller)
        above, left = await listing.above(reader, found, caller)
        if cursor is None:
            shown = await listing.with_replies(reader, found, caller, hidden, left)
        else:
            page = await listing.list_page(reader, comment_id, caller, hidden, after=after, limit=REPLIES, most=left)
            shown = representation(found, caller) | {"replies": _answer(page, list_name)}
    return {"above": _by_author(above, discussion.post_author_id), "comment": shown | of_discussion(discussion)}


async def by_state(
    db: Database, caller: Caller, state: listing.ListedState, cursor: str | None, limit: int
) -> dict[str, Any]:
    """Return a page of the moderators' queue, oldest first, or of what was removed, newest first.

    Raises:
        Problem: `sign-in-required`, `forbidden`, `malformed-cursor`.
    """
    caller.require_person()
    if not is_moderator(caller.roles):
        raise Problem("forbidden", "Only a moderator may see what waits, and what was removed.")
    list_name = "held" if state == "held" else "removed"  # the rejected ones are the same list
    after = _place(cursor, list_name, FIRST if state == "held" else LAST)
    async with db.reader() as reader:
        page = await listing.state_page(reader, caller, state, after=after, limit=limit)
        post_ids = {UUID(item["post_id"]) for item in page.items}
        discussions = await discussion_rows.find_discussions(reader, list(post_ids))
    for item in page.items:
        item["post_author_id"] = str(discussions[UUID(item["post_id"])].post_author_id)
    return _answer(page, list_name)


async def own_comments(db: Database, caller: Caller, cursor: str | None, limit: int) -> dict[str, Any]:
    """Return a page of what the caller wrote and still sees whole, newest first, without what stands below it.

    Raises:
        Problem: `sign-in-required`, `malformed-cursor`.
    """
    person_id = caller.require_person()
    list_name = f"by/{person_id}"
    after = _place(cursor, list_name, LAST)
    async with db.reader() as reader:
        entries, has_more = await listing.author_page(reader, caller, person_id, after=after, limit=limit)
        post_ids = list({comment.post_id for comment in entries})
        hidden = await seen_hidden_in(reader, caller, post_ids)
        discussions = await discussion_rows.find_discussions(reader, post_ids)
    items = nest(entries, [], caller, hidden)
    for item in items:
        item["post_author_id"] = str(discussions[UUID(item["post_id"])].post_author_id)
    return {"items": items, "next": cursors.encode(list_name, entries[-1].id) if has_more else None}


async def own_below(db: Database, caller: Caller, post_id: UUID) -> list[dict[str, str]] | None:
    """Return the texts of the caller's visible comments below a post; None if they see more there than everybody does.

    That is so where one of theirs is held, and they may have too much to be asked for apart.

    Raises:
        Problem: `sign-in-required`.
    """
    person_id = caller.require_person()
    async with db.reader() as reader:
        found = await comment_rows.own_below(reader, person_id, post_id)
    return None if found is None else [{"id": str(id), "body": body, "format": format} for id, body, format in found]


async def waiting(db: Database) -> int:
    """Count what waits for a moderator below published posts; `MOST_WAITING` stands for more, too."""
    async with db.reader() as reader:
        return await listing.count_held(reader)


async def version_of_post(db: Database, post_id: UUID) -> dict[str, int | None]:
    """Return the epoch and the version of the post that its discussion follows; no version for an unknown post."""
    async with db.reader() as reader:
        epoch, version = await discussion_rows.find_version(reader, post_id) or (0, None)
    return {"epoch": epoch, "version": version}


async def known_posts(db: Database, after: UUID, ids: Sequence[UUID] | None) -> dict[str, Any]:
    """Return what this service knows of the next posts behind `after`, or of those with these ids."""
    async with db.reader() as reader:
        rows = await discussion_rows.known_posts(reader, after, ids, STATED)
    return known_rows(rows, is_page=ids is None)


async def counts(db: Database, post_ids: Sequence[UUID]) -> dict[str, int]:
    """Count the visible comments of each post; 0 for one that is unknown or not published."""
    async with db.reader() as reader:
        found = await discussion_rows.visible_by_post(reader, post_ids)
    return {str(post_id): found.get(post_id, 0) for post_id in post_ids}


async def counts_of_people(db: Database, person_ids: Sequence[UUID]) -> dict[str, int]:
    """Count the visible comments of each person on published posts; 0 for one who is unknown."""
    async with db.reader() as reader:
        found = await comment_rows.visible_by_person(reader, person_ids)
    return {str(person_id): found.get(person_id, 0) for person_id in person_ids}


async def counts_by_state(db: Database, person_id: UUID) -> dict[str, int]:
    """Count the comments of a person by their states, for an operator; 0 for one who is unknown."""
    async with db.reader() as reader:
        found = await comment_rows.counts_by_state(reader, person_id)
    return {state: found.get(state, 0) for state in ("visible", "held", "removed")}


async def look_up(db: Database, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Return these comments for other services, whatever their state and that of their posts, without unknown ids."""
    async with db.reader() as reader:
        found = await comment_rows.find_many(reader, ids)
        discussions = await discussion_rows.find_discussions(reader, list({comment.post_id for comment in found}))
    return [
        {
            "id": str(comment.id),
            "post_id": str(comment.post_id),
            "parent_id": None if comment.parent_id is None else str(comment.parent_id),
            "author_id": str(comment.author_id),
            "parent_author_id": None if comment.parent_author_id is None else str(comment.parent_author_id),
            "post_author_id": str(discussions[comment.post_id].post_author_id),
            "depth": comment.depth,
            "state": comment.state,
            "body": comment.body,
            "format": comment.format,
            "body_html": comment.body_html,
            "created_at": rfc3339(comment.created_at),
            "imported": comment.imported,
            "epoch": discussions[comment.post_id].epoch,
            "version": comment.version,
            "post_status": discussions[comment.post_id].status,
            "ancestors": [str(ancestor) for ancestor in comment.ancestors],
        }
        for comment in found
    ]
