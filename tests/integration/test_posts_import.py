"""Import of posts: dates, state and HTML are kept, and a repetition changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.contracts.posts import EditPost, ImportPost
from services.posts import commands, queries

ADMIN = Caller("gateway", uuid4(), frozenset({"admin"}))
THEN = datetime(2012, 1, 4, 16, 38, 5, tzinfo=UTC)


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.posts")
    return made


def command(source_id: str = "1", **fields: Any) -> ImportPost:
    given = {"title": "Old", "body": "<b>Bold</b>", "created_at": THEN, "status": "published"} | fields
    return ImportPost(site="https://blog.example", source_id=source_id, author_id=uuid4(), **given)


async def import_post(db: Database, **fields: Any) -> dict[str, Any]:
    post_id, created = await commands.import_post(db, command(str(uuid4()), **fields))
    assert created
    return await queries.post(db, ADMIN, str(post_id))


async def types(db: Database) -> list[tuple[str, bool]]:
    async with db.reader() as reader:
        rows = await reader.fetch("select type, payload from outbox order by id")
    return [(row["type"].split(".")[3], orjson.loads(row["payload"])["imported"]) for row in rows]


async def test_dates_state_and_html_are_kept(db: Database) -> None:
    published = datetime(2012, 2, 1, tzinfo=UTC)
    post = await import_post(db, published_at=published, discussion="closed", kind="page", slug="%ce%b5-2")
    assert (post["created_at"], post["published_at"]) == ("2012-01-04T16:38:05.000Z", "2012-02-01T00:00:00.000Z")
    assert (post["status"], post["discussion"], post["kind"], post["slug"]) == ("published", "closed", "page", "ε-2")
    assert (post["format"], post["body"]) == ("html", "<b>Bold</b>")
    assert "<b>Bold</b>" in post["body_html"]
    assert await types(db) == [("imported", True)]


async def test_texts_may_be_empty_and_dates_old(db: Database) -> None:
    post = await import_post(db, title="", body="", created_at=datetime(1899, 5, 1, tzinfo=UTC))
    assert (post["title"], post["body"], post["excerpt"]) == ("", "", "")
    assert post["created_at"] == post["published_at"] == "1899-05-01T00:00:00.000Z"
    assert post["slug"] == UUID(post["id"]).hex


async def test_an_unpublished_post_is_a_draft_without_a_date_of_publication(db: Database) -> None:
    post = await import_post(db, status="draft", published_at=THEN)
    assert (post["status"], post["published_at"]) == ("draft", None)
    assert (await queries.published_posts(db, None, 50))["items"] == []


async def test_hostile_html_is_sanitised(db: Database) -> None:
    post = await import_post(
        db, body='<p onclick="x()">a<script>alert(1)</script></p>', excerpt="<script>x</script> <i>b</i>"
    )
    assert "onclick" not in post["body_html"]
    assert "script" not in post["body_html"]
    assert post["excerpt"] == "b"


async def test_the_excerpt_is_the_given_one_or_the_beginning(db: Database) -> None:
    assert (await import_post(db, excerpt="By <em>hand</em>"))["excerpt"] == "By hand"
    long = (await import_post(db, body="word " * 400))["excerpt"]
    assert 150 < len(long) <= 200


async def test_a_repeated_import_changes_nothing(db: Database) -> None:
    first, created = await commands.import_post(db, command())
    again, anew = await commands.import_post(db, command(title="Otherwise"))
    assert (created, anew) == (True, False)
    assert first == again
    assert (await queries.post(db, ADMIN, str(first)))["title"] == "Old"
    assert len(await types(db)) == 1
    other_site = ImportPost(site="https://other.example", source_id="1", author_id=uuid4(), created_at=THEN)
    assert (await commands.import_post(db, other_site))[1]


async def test_concurrent_imports_of_one_source_create_one_post(db: Database) -> None:
    outcomes = await asyncio.gather(*(commands.import_post(db, command(title=f"T{n % 3}")) for n in range(9)))
    assert len({post_id for post_id, _ in outcomes}) == 1
    assert [created for _, created in outcomes].count(True) == 1
    assert len(await types(db)) == 1


async def test_a_taken_slug_gets_a_number(db: Database) -> None:
    made = [(await import_post(db, slug="about"))["slug"] for _ in range(2)]
    assert made == ["about", "about-2"]


async def test_later_events_are_marked_as_imported_and_html_stays_html(db: Database) -> None:
    post_id, _ = await commands.import_post(db, command(format="html"))
    edited = await commands.edit_post(db, ADMIN, post_id, EditPost(body="*not* <i>Markdown</i>"))
    assert edited.representation["format"] == "html"
    assert "*not* <i>Markdown</i>" in edited.representation["body_html"]
    await commands.withdraw_post(db, ADMIN, post_id)
    assert await types(db) == [("imported", True), ("edited", True), ("withdrawn", True)]


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"created_at": datetime(1, 1, 1, tzinfo=UTC)}, "created_at"), ({"source_id": "🦊" * 512}, "source_id")],
)
async def test_an_impossible_source_or_date_is_refused(db: Database, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Problem) as refusal:
        await commands.import_post(db, command(**fields))
    assert refusal.value.errors[0].field == field
    assert await types(db) == []
