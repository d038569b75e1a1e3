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
from services.contracts.posts import CompleteImport, EditPost, ImportPost
from services.posts import commands, importing, queries, rerendering

ADMIN = Caller("gateway", uuid4(), frozenset({"admin"}))
NOBODY = Caller("gateway", None, frozenset())
THEN = datetime(2012, 1, 4, 16, 38, 5, tzinfo=UTC)


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.posts")
    return made


def command(source_id: str = "1", **fields: Any) -> ImportPost:
    given = {"title": "Old", "body": "<b>Bold</b>", "created_at": THEN, "status": "published"} | fields
    return ImportPost(site="https://blog.example", source_id=source_id, author_id=uuid4(), **given)


async def import_post(db: Database, **fields: Any) -> dict[str, Any]:
    post_id, created = await importing.import_post(db, command(str(uuid4()), **fields))
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
    first, created = await importing.import_post(db, command())
    again, anew = await importing.import_post(db, command(title="Otherwise"))
    assert (created, anew) == (True, False)
    assert first == again
    assert (await queries.post(db, ADMIN, str(first)))["title"] == "Old"
    assert len(await types(db)) == 1
    other_site = ImportPost(site="https://other.example", source_id="1", author_id=uuid4(), created_at=THEN)
    assert (await importing.import_post(db, other_site))[1]


async def test_concurrent_imports_of_one_source_create_one_post(db: Database) -> None:
    outcomes = await asyncio.gather(*(importing.import_post(db, command(title=f"T{n % 3}")) for n in range(9)))
    assert len({post_id for post_id, _ in outcomes}) == 1
    assert [created for _, created in outcomes].count(True) == 1
    assert len(await types(db)) == 1


async def test_a_taken_slug_gets_a_number(db: Database) -> None:
    made = [(await import_post(db, slug="about"))["slug"] for _ in range(2)]
    assert made == ["about", "about-2"]


async def test_later_events_are_marked_as_imported_and_html_stays_html(db: Database) -> None:
    post_id, _ = await importing.import_post(db, command(format="html"))
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
        await importing.import_post(db, command(**fields))
    assert refusal.value.errors[0].field == field
    assert await types(db) == []


async def test_posts_of_one_moment_are_listed_by_the_number_of_their_source(db: Database) -> None:
    for number in (9, 10, 100, 2):
        await importing.import_post(db, command(str(number), title=f"{number}"))
    listed = (await queries.published_posts(db, None, 50))["items"]
    assert [post["title"] for post in listed] == ["100", "10", "9", "2"]


async def found(db: Database, address: str, caller: Caller = NOBODY) -> str | None:
    try:
        return str((await queries.post_of_address(db, caller, address))["slug"])
    except Problem as problem:
        assert problem.kind == "not-found"
        return None


async def test_a_post_is_found_by_the_addresses_it_had(db: Database) -> None:
    addresses = ["/2009/02/07/%D7%A9%d7%9c%D7%95%D7%9D/", "/?p=12", "http-is-no-path", "/", "/%00"]
    await importing.import_post(db, command(slug="old", addresses=addresses))
    for address in (
        "/2009/02/07/שלום",
        "/2009/02/07/%d7%a9%d7%9c%d7%95%d7%9d",
        "//2009/02/./07/x/../%D7%A9%D7%9C%D7%95%D7%9D/?utm_source=x",
        "/index.php/2009/02/07/שלום/comment-page-3/",
        "/2009/02/07/שלום/feed/",
        "/?p=12",
        "/index.php?page_id=0012&preview=true",
    ):
        assert await found(db, address) == "old", address
    for address in ("/", "/2009/02/07/", "/?p=1", "/?p=12x", "/?p=%00", "", "?", "/\ud800", "/" + "x" * 5000):
        assert await found(db, address) is None, address


async def test_an_address_leads_only_to_what_its_reader_may_see(db: Database) -> None:
    await importing.import_post(db, command("1", slug="draft", status="draft", addresses=["/a"]))
    assert (await found(db, "/a"), await found(db, "/a", ADMIN)) == (None, "draft")
    await importing.import_post(db, command("2", slug="first", addresses=["/A/"]))
    await importing.import_post(db, command("3", slug="second", addresses=["/a"]))
    assert await found(db, "/a") == "first"


async def test_a_repeated_import_adds_addresses(db: Database) -> None:
    await importing.import_post(db, command(slug="old"))
    await importing.import_post(db, command(slug="old", addresses=["/x/y"]))
    assert await found(db, "/X/Y/") == "old"
    assert len(await types(db)) == 1


async def test_an_import_is_completed_unless_somebody_changed_the_post(db: Database) -> None:
    post_id, _ = await importing.import_post(db, command())
    body = '<a href="/posts/other">x</a>'
    assert await rerendering.complete_import(db, CompleteImport(post_id=post_id, body=body))
    assert not await rerendering.complete_import(db, CompleteImport(post_id=post_id, body=body))
    post = await queries.post(db, ADMIN, str(post_id))
    assert (post["body"], post["version"], post["revision"]) == (body, 1, 1)
    assert 'href="/posts/other"' in post["body_html"]
    [revision] = (await queries.revisions(db, ADMIN, post_id, None, 50))["items"]
    assert revision["body"] == body
    await commands.edit_post(db, ADMIN, post_id, EditPost(body="mine"))
    assert not await rerendering.complete_import(db, CompleteImport(post_id=post_id, body=body))
    assert (await queries.post(db, ADMIN, str(post_id)))["body"] == "mine"
    assert await types(db) == [("imported", True), ("edited", True)]
    with pytest.raises(Problem) as refusal:
        await rerendering.complete_import(db, CompleteImport(post_id=uuid4(), body=""))
    assert refusal.value.kind == "not-found"
