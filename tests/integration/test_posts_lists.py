"""Lists of posts by status, tag, author and kind, tags with their numbers, and the deletion of drafts."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.chassis.database.pool import Database
from services.contracts.posts import CreatePost, EditPost
from services.posts import commands, deleting, list_rows, queries
from services.posts.list_rows import BEGINNING, Wanted
from tests.integration.test_posts_commands import (
    ADMIN,
    ANONYMOUS,
    AUTHOR,
    OTHER,
    READER,
    create,
    events,
    refused,
    request_key,
)


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.posts")
    return made


async def titles(db: Database, **wanted: Any) -> list[str]:
    """Return the titles of a list of published posts, read page by page, and check that none stands twice."""
    found: list[str] = []
    cursor = None
    while True:
        page = await queries.published_posts(db, cursor, 2, Wanted(**wanted))
        found += [item["title"] for item in page["items"]]
        if (cursor := page["next"]) is None:
            assert len(set(found)) == len(found)
            return found


async def test_published_posts_are_listed_by_tag_author_and_kind(db: Database) -> None:
    for number in range(5):
        await create(db, f"a{number}", tags=["Kafka"] if number % 2 else ["kafka", "mail"], publish=True)
    await create(db, "b", who=OTHER, tags=["KAFKA"], publish=True)
    await create(db, "page", kind="page", tags=["kafka"], publish=True)
    await create(db, "draft", tags=["kafka"])
    assert await titles(db) == ["b", "a4", "a3", "a2", "a1", "a0"]
    assert await titles(db, tag="kafka") == ["b", "a4", "a3", "a2", "a1", "a0"]
    assert await titles(db, tag="mail") == ["a4", "a2", "a0"]
    assert await titles(db, author_id=OTHER.person_id) == ["b"]
    assert await titles(db, author_id=AUTHOR.person_id, tag="kafka") == ["a4", "a3", "a2", "a1", "a0"]
    assert await titles(db, kind="page") == await titles(db, kind="page", tag="kafka") == ["page"]
    assert await titles(db, tag="none") == []


async def test_a_cursor_belongs_to_its_list(db: Database) -> None:
    for _ in range(3):
        await create(db, tags=["a", "b"], publish=True)
        await create(db)
    choices = [Wanted(), Wanted(tag="a"), Wanted(tag="b"), Wanted(author_id=AUTHOR.person_id), Wanted(kind="page")]
    cursors = [(await queries.published_posts(db, None, 1, wanted))["next"] for wanted in choices[:4]]
    for cursor, own in zip(cursors, choices, strict=False):
        for wanted in choices:
            if wanted != own:
                assert (await refused(queries.published_posts(db, cursor, 1, wanted))).kind == "malformed-cursor"
        assert (await refused(queries.unpublished_posts(db, AUTHOR, "draft", cursor, 1))).kind == "malformed-cursor"


async def test_drafts_are_listed_to_their_author_and_to_admins(db: Database) -> None:
    await create(db, "mine", tags=["Idea"])
    await create(db, "page", kind="page")
    await create(db, "theirs", who=OTHER)

    async def drafts(caller: Any, **wanted: Any) -> list[str]:
        page = await queries.unpublished_posts(db, caller, "draft", None, 50, Wanted(**wanted))
        return [item["title"] for item in page["items"]]

    assert await drafts(AUTHOR) == ["mine"]
    assert await drafts(AUTHOR, kind="page") == ["page"]
    assert await drafts(AUTHOR, tag="idea") == ["mine"]
    assert await drafts(AUTHOR, tag="other") == []
    assert await drafts(AUTHOR, author_id=OTHER.person_id) == []
    assert await drafts(ADMIN) == ["theirs", "mine"]
    assert await drafts(ADMIN, author_id=OTHER.person_id) == ["theirs"]
    assert (await refused(drafts(ANONYMOUS))).kind == "sign-in-required"


async def test_tags_are_counted_by_published_posts(db: Database) -> None:
    for tags in (["Mail", "kafka"], ["Kafka"], ["KAFKA", "zebra"]):
        await create(db, tags=tags, publish=True)
    await create(db, tags=["mail", "draft"])
    await create(db, tags=["mail"], kind="page", publish=True)
    found, cursor = [], None
    while True:
        page = await queries.tags(db, cursor, 1)
        found += page["items"]
        if (cursor := page["next"]) is None:
            break
    assert found == [
        {"tag": "kafka", "post_count": 3},
        {"tag": "Mail", "post_count": 1},
        {"tag": "zebra", "post_count": 1},
    ]


MANY_POSTS = """
insert into posts (id, kind, slug, title, body, format, body_html, renderer_version, excerpt, author_id, status,
                   discussion, created_at, published_at, revision, version, imported, tags)
select gen_random_uuid(), case when n % 50 = 0 then 'page' else 'post' end, 'p' || n, '', '', 'markdown', '', 4, '',
       ('00000000-0000-7000-8000-' || lpad((n % 90)::text, 12, '0'))::uuid, case when n % 4 = 0 then 'draft' else 'published' end,
       'open', now() - n * interval '1 hour', case when n % 4 <> 0 then now() - n * interval '1 hour' end, 1, 1, false, '{}'
from generate_series(1, 9000) as n
"""  # noqa: E501
MANY_TAGS = """
insert into post_tags (post_id, tag, kind, published_at)
select id, tag, kind, published_at from posts, unnest(array['t' || ascii(right(id::text, 1)) % 10, 'all']) as tag
"""


async def test_every_list_is_read_from_its_index_in_order(db: Database) -> None:
    author = UUID("00000000-0000-7000-8000-000000000008")
    rest = ("post", *BEGINNING, 5)
    async with db.transaction() as tx:
        await tx.execute(MANY_POSTS)
        await tx.execute(
            "insert into tags select tag, tag from unnest($1::text[]) as tag", [*map("t{}".format, range(10)), "all"]
        )
        await tx.execute(MANY_TAGS)
        await tx.execute("analyze posts, post_tags, tags")
        await tx.execute("set local enable_bitmapscan = off")  # it would be cheaper here, for a handful of rows
        for sql, args, index in (
            (list_rows.SELECT_PUBLISHED, rest, "posts_of_kind"),
            (list_rows.SELECT_PUBLISHED_OF_AUTHOR, (*rest, author), "posts_of_author"),
            (list_rows.SELECT_TAGGED, (*rest, "t3", None), "post_tags_listed"),
            (list_rows.SELECT_TAGGED, (*rest, "all", None), "post_tags_listed"),
            (list_rows.SELECT_UNPUBLISHED, (*rest, "draft", None), "posts_unpublished_of_all"),
            (list_rows.SELECT_UNPUBLISHED_OF_AUTHOR, (*rest, "draft", None, author), "posts_unpublished_of_author"),
        ):
            plan = "\n".join(row[0] for row in await tx.fetch(f"explain {sql}", *args))
            assert re.search(rf"using {index} on .*\n *Index Cond: .*ROW\(", plan), plan
            assert "Sort" not in plan, plan


async def test_a_draft_is_deleted_for_good(db: Database) -> None:
    post = await create(db, slug="idea", tags=["x"])
    post_id = UUID(post["id"])
    assert (await refused(deleting.delete_draft(db, OTHER, post_id))).kind == "not-found"
    assert (await refused(deleting.delete_draft(db, AUTHOR, post_id, None, '"7-x"'))).kind == "stale"
    key = request_key("d", f"/posts/{post_id}", "DELETE")
    assert (await deleting.delete_draft(db, AUTHOR, post_id, key)).status == 204
    replayed = await deleting.delete_draft(db, AUTHOR, post_id, key)
    assert (replayed.status, replayed.replayed) == (204, True)
    assert (await refused(deleting.delete_draft(db, AUTHOR, post_id))).kind == "not-found"
    assert [(event["type"], event["version"]) for event in await events(db)] == [("drafted", 1), ("deleted", 2)]
    async with db.reader() as reader:
        for table in ("posts", "revisions", "post_tags"):
            assert await reader.fetchval(f"select count(*) from {table}") == 0
    assert (await create(db, slug="idea", who=OTHER))["slug"] == "idea"


async def test_the_kept_answer_of_a_deleted_draft_has_no_text(db: Database) -> None:
    key, command = request_key(), CreatePost(title="Secret", body="text")
    made = await commands.create_post(db, AUTHOR, command, key)
    await deleting.delete_draft(db, AUTHOR, UUID(made.representation["id"]))
    replayed = (await commands.create_post(db, AUTHOR, command, key)).representation
    assert [replayed[name] for name in deleting.TEXTS] == [None] * 4
    assert replayed["id"] == made.representation["id"]


async def test_what_was_published_is_not_deleted(db: Database) -> None:
    post_id = UUID((await create(db, publish=True))["id"])
    assert (await refused(deleting.delete_draft(db, AUTHOR, post_id))).kind == "wrong-state"
    assert (await refused(deleting.delete_draft(db, READER, post_id))).kind == "forbidden"
    await commands.withdraw_post(db, AUTHOR, post_id)
    assert (await refused(deleting.delete_draft(db, AUTHOR, post_id))).kind == "wrong-state"
    assert (await commands.edit_post(db, AUTHOR, post_id, EditPost(title="Still here"))).status == 200


def test_every_time_stands_before_the_beginning() -> None:
    assert datetime(9998, 12, 31, tzinfo=UTC) < BEGINNING[0]  # the last year of an imported post
