"""Queries of posts: lists, single posts, revisions and look-ups."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.contracts.posts import CreatePost, EditPost
from services.posts import commands, exporting, image_rows, queries, syndication

AUTHOR = Caller("gateway", uuid4(), frozenset({"author"}))
OTHER = Caller("gateway", uuid4(), frozenset({"author", "moderator"}))
ADMIN = Caller("gateway", uuid4(), frozenset({"admin"}))
ANONYMOUS = Caller("gateway")


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.posts")
    return made


async def create(db: Database, title: str, *, publish: bool = True) -> dict[str, Any]:
    command = CreatePost(title=title, body=f"Text of {title}", publish=publish)
    return (await commands.create_post(db, AUTHOR, command)).representation


async def test_the_list_contains_every_published_post_once_newest_first(db: Database) -> None:
    published = [await create(db, f"Number {number}") for number in range(7)]
    await create(db, "A draft", publish=False)
    hidden = await create(db, "Withdrawn")
    await commands.withdraw_post(db, AUTHOR, UUID(hidden["id"]))
    seen: list[dict[str, Any]] = []
    cursor: str | None = None
    for limit in (3, 2, 1, 50):
        page = await queries.published_posts(db, cursor, limit)
        seen += page["items"]
        cursor = page["next"]
    assert cursor is None
    expected = sorted(published, key=lambda post: (post["published_at"], post["id"]), reverse=True)
    assert [post["id"] for post in seen] == [post["id"] for post in expected]
    without_text = {
        name: value for name, value in expected[0].items() if name not in ("body", "body_html", "has_own_excerpt")
    }
    assert seen[0] == without_text


async def test_the_last_page_has_no_next(db: Database) -> None:
    for number in range(2):
        await create(db, f"Number {number}")
    assert (await queries.published_posts(db, None, 2))["next"] is None


async def test_new_posts_do_not_shift_a_page(db: Database) -> None:
    first, second = [await create(db, f"Number {number}") for number in range(2)]
    page = await queries.published_posts(db, None, 1)
    await create(db, "Newer")
    rest = await queries.published_posts(db, page["next"], 50)
    assert [page["items"][0]["id"], *(post["id"] for post in rest["items"])] == [second["id"], first["id"]]


@pytest.mark.parametrize("cursor", ["x", "%", "AAAA", "e30"])
async def test_a_cursor_of_another_list_is_malformed(db: Database, cursor: str) -> None:
    post_id = UUID((await create(db, "One"))["id"])
    for asking in (queries.published_posts(db, cursor, 50), queries.revisions(db, ANONYMOUS, post_id, cursor, 50)):
        with pytest.raises(Problem, match="malformed-cursor"):
            await asking


async def test_a_post_is_read_by_id_or_slug(db: Database) -> None:
    post = await create(db, "Επίπεδο")
    for reference in (post["id"], post["id"].upper(), "επίπεδο"):
        assert await queries.post(db, ANONYMOUS, reference) == post


@pytest.mark.parametrize("reference", ["absent", "\0", "\ud800", "a b", "", "x" * 5000, str(uuid4())])
async def test_a_reference_without_a_post_is_not_found(db: Database, reference: str) -> None:
    with pytest.raises(Problem, match="not-found"):
        await queries.post(db, ADMIN, reference)


async def test_drafts_and_their_revisions_are_visible_to_author_and_admin_only(db: Database) -> None:
    draft = await create(db, "Draft", publish=False)
    post_id = UUID(draft["id"])
    for who in (AUTHOR, ADMIN):
        assert (await queries.post(db, who, "draft"))["id"] == draft["id"]
        listed = (await queries.revisions(db, who, post_id, None, 50))["items"]
        assert listed == [await queries.revision(db, who, post_id, 1)]
    for who in (OTHER, ANONYMOUS):
        for asking in (
            queries.post(db, who, "draft"),
            queries.revisions(db, who, post_id, None, 50),
            queries.revision(db, who, post_id, 1),
        ):
            with pytest.raises(Problem, match="not-found"):
                await asking


async def test_the_look_up_returns_every_status(db: Database) -> None:
    draft, public = await create(db, "Draft", publish=False), await create(db, "ResponseHeaders")
    found = await queries.look_up(db, [UUID(draft["id"]), UUID(public["id"]), uuid4()])
    assert {item["id"]: item["status"] for item in found} == {draft["id"]: "draft", public["id"]: "published"}
    assert set(found[0]) == {"id", "kind", "slug", "title", "author_id", "status", "discussion", "version", "revision"}


async def test_titles_of_revisions_are_looked_up(db: Database) -> None:
    post, other = await create(db, "First"), await create(db, "Other")
    post_id = UUID(post["id"])
    await commands.edit_post(db, AUTHOR, post_id, EditPost(title="Second"))
    asked = [(post_id, 1), (post_id, 2), (post_id, 3), (UUID(other["id"]), 1), (uuid4(), 1)]
    found = await queries.look_up_titles(db, asked)
    assert {(item["id"], item["revision"], item["title"]) for item in found} == {
        (post["id"], 1, "First"),
        (post["id"], 2, "Second"),
        (other["id"], 1, "Other"),
    }


async def test_drafts_and_withdrawn_posts_are_listed_to_their_author_and_to_admins(db: Database) -> None:
    drafts = [await create(db, f"Draft {number}", publish=False) for number in range(3)]
    hidden = await create(db, "Withdrawn")
    await commands.withdraw_post(db, AUTHOR, UUID(hidden["id"]))
    await create(db, "Published")
    for caller in (AUTHOR, ADMIN):
        page = await queries.unpublished_posts(db, caller, "draft", None, 2)
        rest = await queries.unpublished_posts(db, caller, "draft", page["next"], 2)
        assert [post["id"] for post in page["items"] + rest["items"]] == [post["id"] for post in reversed(drafts)]
        assert rest["next"] is None
        (withdrawn,) = (await queries.unpublished_posts(db, caller, "withdrawn", None, 50))["items"]
        assert (withdrawn["id"], "body" in withdrawn) == (hidden["id"], False)
        with pytest.raises(Problem, match="malformed-cursor"):
            await queries.unpublished_posts(db, caller, "withdrawn", page["next"], 2)
    for status in ("draft", "scheduled", "withdrawn"):
        assert (await queries.unpublished_posts(db, OTHER, status, None, 50))["items"] == []
        with pytest.raises(Problem, match="sign-in-required"):
            await queries.unpublished_posts(db, ANONYMOUS, status, None, 50)
    assert (await queries.unpublished_posts(db, AUTHOR, "scheduled", None, 50))["items"] == []


@pytest.mark.parametrize(
    ("letter", "length"), [("x", 240_000), ("日", 60_000), ('"', 60_000), ("\u0001", 60_000), ("x", 3_000_000)]
)
async def test_a_page_of_revisions_ends_early_when_the_texts_are_large(db: Database, letter: str, length: int) -> None:
    post_id = UUID((await create(db, "Long"))["id"])
    async with db.transaction() as tx:
        await tx.execute(
            "insert into revisions (post_id, revision, title, body, created_at)"
            " select $1, number, 'Long', repeat($2, $3), now() from generate_series(2, 30) as number",
            post_id,
            letter,
            length,
        )
    seen, cursor = list[int](), None
    while True:
        page = await queries.revisions(db, AUTHOR, post_id, cursor, 200)
        assert len(orjson.dumps(page)) <= max(2 * 1024 * 1024, length) + 1_000
        seen += [one["revision"] for one in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert seen == list(range(30, 0, -1))


async def test_texts_for_feeds_end_where_one_answer_is_full(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [await create(db, f"Number {number}") for number in range(4)]
    draft = await create(db, "A draft", publish=False)
    asked = [UUID(post["id"]) for post in (made[2], draft, made[0], made[3], made[1])]
    found = await syndication.look_up_texts(db, [*asked, uuid4()])
    assert [item["id"] for item in found] == [made[number]["id"] for number in (2, 0, 3, 1)]
    assert found[0]["body_html"] == made[2]["body_html"]
    monkeypatch.setattr(syndication, "MOST_BYTES", 2 * len(made[0]["body_html"]))
    assert await syndication.look_up_texts(db, asked) == found[:2]


async def test_months_have_the_posts_that_were_published_in_them(db: Database) -> None:
    posts = [await create(db, f"Number {number}") for number in range(4)]
    await create(db, "A draft", publish=False)
    async with db.transaction() as tx:
        for post, moment in zip(posts, ("2024-02-29", "2024-03-01", "2024-12-31", "2025-01-01"), strict=True):
            await tx.execute(
                "update posts set published_at = $2::text::timestamptz, edited_at = null where id = $1",
                UUID(post["id"]),
                f"{moment}T23:59:59.999Z",
            )
    months = await syndication.months(db)
    assert [item["month"] for item in months] == ["2024-02", "2024-03", "2024-12", "2025-01"]
    assert months[0]["changed_at"] == "2024-02-29T23:59:59.999Z"
    for item, post in zip(months, posts, strict=True):
        assert [one["slug"] for one in await syndication.addresses(db, item["month"])] == [post["slug"]]
    for wrong in ("2024-00", "24-01", "0000-01", "9999-12", "2024-02-01", "²024-01"):
        with pytest.raises(Problem, match="not-found"):
            await syndication.addresses(db, wrong)


async def test_authors_have_published_posts(db: Database) -> None:
    await create(db, "A draft", publish=False)
    assert await syndication.authors(db) == []
    posts = [await create(db, f"Number {number}") for number in range(2)]
    [author] = await syndication.authors(db)
    assert author["author_id"] == posts[0]["author_id"]
    assert author["changed_at"] == max(post["published_at"] for post in posts)


async def test_all_that_somebody_wrote_is_exported(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "PAGE", 2)
    made = [await create(db, f"Number {number}", publish=number > 0) for number in range(3)]
    command = EditPost(body="Another text")
    await commands.edit_post(db, AUTHOR, UUID(made[1]["id"]), command)
    await commands.withdraw_post(db, AUTHOR, UUID(made[2]["id"]))
    await commands.create_post(db, OTHER, CreatePost(title="Not mine", body="x"))
    exports = (exporting.export_posts, exporting.export_revisions)
    posts, revisions = [await everything(db, export, person(AUTHOR)) for export in exports]
    assert [(one["id"], one["status"]) for one in posts] == [
        (one["id"], status) for one, status in zip(made, ("draft", "published", "withdrawn"), strict=True)
    ]
    assert posts[1]["body"] == "Another text"
    assert [(one["post_id"], one["revision"]) for one in revisions] == [
        (made[0]["id"], 1),
        (made[1]["id"], 1),
        (made[1]["id"], 2),
        (made[2]["id"], 1),
    ]
    monkeypatch.setattr(exporting, "MOST_BYTES", 1)
    assert await everything(db, exporting.export_posts, person(AUTHOR)) == posts, "large texts end a page early"
    assert await everything(db, exporting.export_revisions, person(AUTHOR)) == revisions
    async with db.transaction() as tx:
        await image_rows.insert(tx, (image_id := uuid4()), person(AUTHOR), 3, 2, b"")
        await image_rows.insert(tx, uuid4(), person(OTHER), 3, 2, b"")
    images = await everything(db, exporting.export_images, person(AUTHOR))
    assert images == [{"id": str(image_id), "width": 3, "height": 2}]


def person(caller: Caller) -> UUID:
    assert caller.person_id is not None
    return caller.person_id


Export = Callable[[Database, UUID, str | None], Awaitable[dict[str, Any]]]


async def everything(db: Database, export: Export, person_id: UUID) -> list[dict[str, Any]]:
    """Return the items of all pages."""
    items: list[dict[str, Any]] = []
    page = await export(db, person_id, None)
    while page["next"] is not None:
        items += page["items"]
        page = await export(db, person_id, page["next"])
    return [*items, *page["items"]]
