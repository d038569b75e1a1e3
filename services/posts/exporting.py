"""Everything that a person wrote here, for themselves: their posts of any status, their revisions and pictures."""

from typing import Any
from uuid import UUID

from services.chassis.database.pool import Database
from services.chassis.http import cursors
from services.chassis.http.answer_size import MOST_BYTES
from services.contracts.event import rfc3339
from services.posts import store
from services.posts.domain.post import representation

FIRST = UUID(int=0)
PAGE = 200
DERIVED = ("body_html", "author_id", "version")

SELECT_IDS = """
select id
from (
    select id, sum(octet_length(body)) over (order by id rows between unbounded preceding and 1 preceding) as bytes
    from (select id, body from posts where author_id = $1 and id > $2 order by id limit $3) as found
) as measured
where bytes is null or bytes < $4
order by id
"""


async def export_posts(db: Database, person_id: UUID, cursor: str | None) -> dict[str, Any]:
    """Return the next posts of a person in the order of their ids; behind the last ones comes an empty page.

    Raises:
        Problem: `malformed-cursor`.
    """
    place = cursors.decode(cursor, "exported-posts", UUID)
    async with db.reader() as reader:
        rows = await reader.fetch(SELECT_IDS, person_id, place[0] if place else FIRST, PAGE, MOST_BYTES)
        found = [await store.find(reader, row["id"]) for row in rows]
    items = [
        {name: value for name, value in representation(post).items() if name not in DERIVED} for post in found if post
    ]
    return {"items": items, "next": cursors.encode("exported-posts", rows[-1]["id"]) if rows else None}


SELECT_REVISIONS = """
select post_id, revision, title, body, edit_note, created_at
from (
    select *, sum(octet_length(body)) over (
        order by post_id, revision rows between unbounded preceding and 1 preceding
    ) as bytes
    from (
        select post_id, revisions.revision, revisions.title, revisions.body, revisions.edit_note, revisions.created_at
        from posts join revisions on revisions.post_id = posts.id
        where posts.author_id = $1 and (revisions.post_id, revisions.revision) > ($2, $3)
        order by revisions.post_id, revisions.revision limit $4
    ) as found
) as measured
where bytes is null or bytes < $5
order by post_id, revision
"""


async def export_revisions(db: Database, person_id: UUID, cursor: str | None) -> dict[str, Any]:
    """Return the next revisions of a person's posts; behind the last ones comes an empty page.

    Raises:
        Problem: `malformed-cursor`.
    """
    post_id, revision = cursors.decode(cursor, "exported-revisions", UUID, int) or (FIRST, 0)
    async with db.reader() as reader:
        rows = await reader.fetch(SELECT_REVISIONS, person_id, post_id, revision, PAGE, MOST_BYTES)
    items = [
        {
            "post_id": str(row["post_id"]),
            "revision": row["revision"],
            "title": row["title"],
            "body": row["body"],
            "edit_note": row["edit_note"],
            "created_at": rfc3339(row["created_at"]),
        }
        for row in rows
    ]
    last = (rows[-1]["post_id"], rows[-1]["revision"]) if rows else None
    return {"items": items, "next": cursors.encode("exported-revisions", *last) if last else None}


SELECT_IMAGES = "select id, width, height from images where author_id = $1 and id > $2 order by id limit $3"


async def export_images(db: Database, person_id: UUID, cursor: str | None) -> dict[str, Any]:
    """Return the next pictures that a person stored; behind the last ones comes an empty page.

    Raises:
        Problem: `malformed-cursor`.
    """
    place = cursors.decode(cursor, "exported-images", UUID)
    async with db.reader() as reader:
        rows = await reader.fetch(SELECT_IMAGES, person_id, place[0] if place else FIRST, PAGE)
    items = [{"id": str(row["id"]), "width": row["width"], "height": row["height"]} for row in rows]
    return {"items": items, "next": cursors.encode("exported-images", rows[-1]["id"]) if rows else None}
