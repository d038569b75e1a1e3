"""Commands of posts on a real PostgreSQL: state and event in one transaction, and concurrency."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Key
from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.contracts.posts import CreatePost, EditPost
from services.posts import commands, queries

AUTHOR = Caller("gateway", uuid4(), frozenset({"author"}))
OTHER = Caller("gateway", uuid4(), frozenset({"author"}))
ADMIN = Caller("gateway", uuid4(), frozenset({"admin"}))
READER = Caller("gateway", uuid4(), frozenset({"reader"}))
ANONYMOUS = Caller("gateway")


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.posts")
    return made


async def events(db: Database) -> list[dict[str, Any]]:
    async with db.reader() as reader:
        rows = await reader.fetch("select type, payload from outbox order by id")
    return [{"type": row["type"].split(".")[3]} | orjson.loads(row["payload"]) for row in rows]


async def create(db: Database, title: str = "On letters", *, who: Caller = AUTHOR, **fields: Any) -> dict[str, Any]:
    command = CreatePost(title=title, body=fields.pop("body", "Some *text*."), **fields)
    return (await commands.create_post(db, who, command)).representation


def request_key(text: str = "k", path: str = "/posts", method: str = "POST", body: object = None) -> Key:
    assert AUTHOR.person_id is not None
    return Key(AUTHOR.person_id, text, method, path, idempotency.digest(body))


async def refused(doing: Awaitable[object]) -> Problem:
    with pytest.raises(Problem) as refusal:
        await doing
    return refusal.value


async def test_a_post_is_drafted_published_edited_and_withdrawn(db: Database) -> None:
    post = await create(db)
    post_id = UUID(post["id"])
    assert (post["status"], post["slug"], post["published_at"], post["version"]) == ("draft", "on-letters", None, 1)
    assert post["body_html"] == "<p>Some <em>text</em>.</p>\n"
    assert post["excerpt"] == "Some text."

    first = (await commands.publish_post(db, AUTHOR, post_id)).representation
    assert first["published_at"] is not None
    changed = EditPost(body="Other *text*.", edit_note="Clearer", discussion="held")
    edited = (await commands.edit_post(db, AUTHOR, post_id, changed)).representation
    assert (edited["revision"], edited["edit_note"], edited["discussion"]) == (2, "Clearer", "held")
    assert edited["body_html"] == "<p>Other <em>text</em>.</p>\n"
    withdrawn = (await commands.withdraw_post(db, AUTHOR, post_id)).representation
    again = (await commands.publish_post(db, ADMIN, post_id)).representation
    assert again["published_at"] == first["published_at"]
    assert (withdrawn["status"], again["status"], again["version"]) == ("withdrawn", "published", 5)

    published = await events(db)
    assert [event["type"] for event in published] == ["drafted", "published", "edited", "withdrawn", "published"]
    assert [event["version"] for event in published] == [1, 2, 3, 4, 5]
    assert published[2]["discussion"] == "held"
    assert not any("Some" in str(event) or "Other" in str(event) for event in published)


async def test_create_and_publish_is_one_event(db: Database) -> None:
    post = await create(db, publish=True)
    assert post["status"] == "published"
    assert post["published_at"] == post["created_at"]
    assert [event["type"] for event in await events(db)] == ["published"]


async def test_an_edit_without_a_change_publishes_no_event(db: Database) -> None:
    post = await create(db, publish=True)
    post_id = UUID(post["id"])
    await commands.publish_post(db, AUTHOR, post_id)
    same = await commands.edit_post(db, AUTHOR, post_id, EditPost(title="On letters", body="Some *text*."))
    assert same.representation == post
    assert len(await events(db)) == 1
    page = await queries.revisions(db, ANONYMOUS, post_id, None, 50)
    assert [revision["revision"] for revision in page["items"]] == [1]


async def test_every_revision_is_kept(db: Database) -> None:
    post_id = UUID((await create(db, publish=True))["id"])
    for number in range(2, 6):
        await commands.edit_post(db, AUTHOR, post_id, EditPost(body=f"Text {number}", edit_note=f"Note {number}"))
    page = await queries.revisions(db, ANONYMOUS, post_id, None, 3)
    rest = await queries.revisions(db, ANONYMOUS, post_id, page["next"], 3)
    assert [item["revision"] for item in page["items"] + rest["items"]] == [5, 4, 3, 2, 1]
    assert rest["next"] is None
    assert page["items"][0] | {"created_at": ""} == {
        "revision": 5,
        "title": "On letters",
        "body": "Text 5",
        "edit_note": "Note 5",
        "created_at": "",
    }
    assert rest["items"][-1]["body"] == "Some *text*."


async def test_refusals_have_an_order_and_change_nothing(db: Database) -> None:
    draft, public = UUID((await create(db))["id"]), UUID((await create(db, publish=True))["id"])
    before = await events(db)
    edit = EditPost(edit_note="Without a text")
    assert (await refused(create(db, who=ANONYMOUS))).kind == "sign-in-required"
    assert (await refused(create(db, who=READER))).kind == "forbidden"
    for post_id, who, kind in (
        (draft, ANONYMOUS, "sign-in-required"),
        (uuid4(), AUTHOR, "not-found"),
        (draft, OTHER, "not-found"),
        (public, OTHER, "forbidden"),
        (public, READER, "forbidden"),
        (public, AUTHOR, "stale"),
    ):
        assert (await refused(commands.edit_post(db, who, post_id, edit, None, '"99-x"'))).kind == kind
    for who, kind in ((ANONYMOUS, "sign-in-required"), (OTHER, "not-found"), (AUTHOR, "wrong-state")):
        assert (await refused(commands.withdraw_post(db, who, draft))).kind == kind
    assert (await refused(commands.publish_post(db, OTHER, draft))).kind == "not-found"
    assert (await refused(commands.edit_post(db, AUTHOR, public, edit))).errors[0].field == "edit_note"
    lost_role = Caller("gateway", AUTHOR.person_id, frozenset())
    assert (await refused(commands.edit_post(db, lost_role, draft, EditPost(title="Mine")))).kind == "forbidden"
    assert await events(db) == before


async def test_if_match_accepts_the_present_version_only(db: Database) -> None:
    post_id = UUID((await create(db))["id"])
    done = await commands.edit_post(db, AUTHOR, post_id, EditPost(title="Second"), None, '"1-abc"')
    assert done.representation["version"] == 2
    late = commands.edit_post(db, AUTHOR, post_id, EditPost(title="Third"), None, '"1-abc"')
    assert (await refused(late)).kind == "stale"
    assert (await queries.post(db, AUTHOR, str(post_id)))["title"] == "Second"


async def test_concurrent_edits_become_revisions_without_a_gap(db: Database) -> None:
    post_id = UUID((await create(db, publish=True))["id"])
    edits = (commands.edit_post(db, AUTHOR, post_id, EditPost(body=f"Text {number}")) for number in range(8))
    done = await asyncio.gather(*edits)
    assert sorted(one.representation["version"] for one in done) == list(range(2, 10))
    published = [event["version"] for event in await events(db)]
    assert published == sorted(published)
    page = await queries.revisions(db, ANONYMOUS, post_id, None, 50)
    assert [item["revision"] for item in page["items"]] == list(range(9, 0, -1))


async def test_a_given_slug_is_unique_and_a_generated_one_gets_a_number(db: Database) -> None:
    assert (await create(db, slug="chosen"))["slug"] == "chosen"
    taken = await refused(create(db, slug="chosen"))
    assert (taken.kind, taken.errors[0].field) == ("invalid", "slug")
    assert [(await create(db, "Chosen"))["slug"] for _ in range(2)] == ["chosen-2", "chosen-3"]
    assert (await refused(create(db, slug="Not One"))).errors[0].field == "slug"
    assert len(await events(db)) == 3


async def test_concurrent_generated_slugs_are_different(db: Database) -> None:
    made = await asyncio.gather(*(create(db, "The same title") for _ in range(20)))
    numbers = ["the-same-title", *(f"the-same-title-{number}" for number in range(2, 21))]
    assert sorted(post["slug"] for post in made) == sorted(numbers)


async def test_concurrent_requests_for_one_slug_create_one_post(db: Database) -> None:
    tries = (create(db, f"Title {number}", slug="wanted") for number in range(6))
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    problems = [outcome for outcome in outcomes if isinstance(outcome, Problem)]
    assert len(problems) == 5
    assert {problem.kind for problem in problems} == {"invalid"}


async def test_a_title_without_letters_uses_the_id_as_slug(db: Database) -> None:
    post = await create(db, "…")
    assert post["slug"] == UUID(post["id"]).hex
    assert (await queries.post(db, AUTHOR, post["slug"]))["id"] == post["id"]


async def test_a_repeated_request_is_replayed(db: Database) -> None:
    key = request_key(body={"title": "Once"})
    command = CreatePost(title="Once", body="Text.")
    first = await commands.create_post(db, AUTHOR, command, key)
    assert (first.status, first.location, first.replayed) == (201, f"/v1/posts/{first.representation['id']}", False)
    post_id = UUID(first.representation["id"])
    await commands.edit_post(db, AUTHOR, post_id, EditPost(title="Changed since"))
    again = await commands.create_post(db, AUTHOR, command, key)
    assert (again.status, again.location, again.replayed) == (201, first.location, True)
    assert again.representation == first.representation | {"version": 2}
    other = request_key(body={"title": "Else"})
    refusal = await refused(commands.create_post(db, AUTHOR, CreatePost(title="Else", body="Text."), other))
    assert refusal.kind == "idempotency-key-reused"
    assert [event["type"] for event in await events(db)] == ["drafted", "edited"]


async def test_a_replayed_edit_is_not_stale_and_a_refused_one_stores_no_key(db: Database) -> None:
    post_id = UUID((await create(db))["id"])
    key = request_key("e", f"/posts/{post_id}", "PATCH")
    stale = await refused(commands.edit_post(db, AUTHOR, post_id, EditPost(title="New"), key, '"9-x"'))
    assert stale.kind == "stale"
    done = await commands.edit_post(db, AUTHOR, post_id, EditPost(title="New"), key, '"1-x"')
    again = await commands.edit_post(db, AUTHOR, post_id, EditPost(title="New"), key, '"1-x"')
    assert again.replayed
    assert again.representation == done.representation
    for command, name in ((commands.publish_post, "p"), (commands.withdraw_post, "w")):
        once = [await command(db, AUTHOR, post_id, request_key(name, f"/{name}")) for _ in range(2)]
        assert [one.replayed for one in once] == [False, True]
    assert [event["type"] for event in await events(db)] == ["drafted", "edited", "published", "withdrawn"]


async def test_concurrent_requests_under_one_key_create_one_post(db: Database) -> None:
    tries = (commands.create_post(db, AUTHOR, CreatePost(title="Once", body="x"), request_key()) for _ in range(8))
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    kinds = {outcome.kind for outcome in outcomes if isinstance(outcome, Problem)}
    ids = {outcome.representation["id"] for outcome in outcomes if isinstance(outcome, CommandResult)}
    assert kinds <= {"still-running"}
    assert len(ids) == 1
    assert len(await events(db)) == 1
