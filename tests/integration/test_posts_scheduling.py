"""Scheduled posts on a real PostgreSQL: what commands do with the time, and how the publisher publishes."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.contracts.posts import CreatePost, EditPost
from services.posts import commands, publisher, queries

AUTHOR = Caller("gateway", uuid4(), frozenset({"author"}))
OTHER = Caller("gateway", uuid4(), frozenset({"author"}))
ADMIN = Caller("gateway", uuid4(), frozenset({"admin"}))


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.posts")
    return made


def ahead(hours: float = 1) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


async def create(db: Database, publish_at: datetime | None = None, **fields: Any) -> dict[str, Any]:
    command = CreatePost(title="On letters", body="Some *text*.", publish_at=publish_at, **fields)
    return (await commands.create_post(db, AUTHOR, command)).representation


async def edit(db: Database, post: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return (await commands.edit_post(db, AUTHOR, UUID(post["id"]), EditPost(**fields))).representation


async def come_due(db: Database, *times: tuple[str, int]) -> None:
    """Let the times of these posts lie so many seconds back."""
    async with db.transaction() as tx:
        for post_id, seconds in times:
            await tx.execute(
                "update posts set publish_at = now() - $2::int * interval '1 second' where id = $1", post_id, seconds
            )


async def published_events(db: Database) -> list[dict[str, Any]]:
    async with db.reader() as reader:
        rows = await reader.fetch("select payload from outbox where type like '%.published.v1' order by id")
    return [orjson.loads(row["payload"]) for row in rows]


async def refused(doing: Awaitable[object]) -> Problem:
    with pytest.raises(Problem) as refusal:
        await doing
    return refusal.value


async def test_a_time_is_set_moved_and_taken_back(db: Database) -> None:
    post = await create(db, ahead())
    assert (post["status"], post["published_at"], post["version"]) == ("scheduled", None, 1)
    later = ahead(2)
    moved = await edit(db, post, publish_at=later)
    assert (moved["status"], moved["version"], moved["revision"], moved["edited_at"]) == ("scheduled", 2, 1, None)
    assert datetime.fromisoformat(moved["publish_at"]) == later.replace(microsecond=later.microsecond // 1000 * 1000)
    assert (await edit(db, post, title="Another"))["publish_at"] == moved["publish_at"]
    back = await edit(db, post, publish_at=None)
    assert (back["status"], back["publish_at"], back["version"]) == ("draft", None, 4)
    assert (await edit(db, post, publish_at=None))["version"] == 4


async def test_a_schedule_never_leaves_posts(db: Database) -> None:
    post = await create(db, ahead())
    await edit(db, post, publish_at=ahead(2))
    async with db.reader() as reader:
        rows = await reader.fetch("select payload from outbox order by id")
    facts = [orjson.loads(row["payload"]) for row in rows]
    assert [(fact["status"], fact["version"]) for fact in facts] == [("draft", 1), ("draft", 2)]
    assert not any("publish_at" in fact for fact in facts)
    assert [found["status"] for found in await queries.look_up(db, [UUID(post["id"])])] == ["draft"]


async def test_refusals_change_nothing(db: Database) -> None:
    draft, public = await create(db), await create(db, publish=True)
    with_publish = CreatePost(title="x", body="y", publish=True, publish_at=ahead())
    assert (await refused(commands.create_post(db, AUTHOR, with_publish))).errors[0].field == "publish_at"
    assert (await refused(create(db, ahead(-1)))).errors[0].field == "publish_at"
    assert (await refused(edit(db, draft, publish_at=ahead(24 * 366 * 5)))).errors[0].field == "publish_at"
    for publish_at in (ahead(), None):
        assert (await refused(edit(db, public, publish_at=publish_at))).kind == "wrong-state"
    scheduled = await create(db, ahead())
    assert (await refused(commands.withdraw_post(db, AUTHOR, UUID(scheduled["id"])))).kind == "wrong-state"
    assert (await queries.post(db, AUTHOR, scheduled["id"]))["status"] == "scheduled"
    assert (await queries.post(db, AUTHOR, draft["id"]))["version"] == 1


async def test_it_is_read_and_listed_like_a_draft(db: Database) -> None:
    draft, scheduled = await create(db), await create(db, ahead())
    assert (await refused(queries.post(db, OTHER, scheduled["id"]))).kind == "not-found"
    for who in (AUTHOR, ADMIN):
        assert (await queries.post(db, who, scheduled["slug"]))["status"] == "scheduled"
        for status, expected in (("scheduled", scheduled), ("draft", draft)):
            [item] = (await queries.unpublished_posts(db, who, status, None, 50))["items"]  # type: ignore[arg-type]  # a status
            assert (item["id"], item["status"], item["publish_at"]) == (
                expected["id"],
                status,
                expected["publish_at"],
            )
    assert (await queries.unpublished_posts(db, OTHER, "scheduled", None, 50))["items"] == []


async def test_publishing_now_ends_the_schedule(db: Database) -> None:
    post = await create(db, ahead())
    now = (await commands.publish_post(db, AUTHOR, UUID(post["id"]))).representation
    assert (now["status"], now["publish_at"]) == ("published", None)
    async with db.reader() as reader:
        assert await reader.fetchval("select publish_at from posts") is None


async def test_only_due_drafts_are_published_and_each_says_so_once(db: Database) -> None:
    due, later, draft = await create(db, ahead()), await create(db, ahead()), await create(db)
    await come_due(db, (due["id"], 5))
    begun = datetime.now(UTC) - timedelta(milliseconds=1)
    await publisher.publish_due(db)
    await publisher.publish_due(db)
    shown = await queries.post(db, AUTHOR, due["id"])
    assert (shown["status"], shown["publish_at"], shown["version"], shown["body"]) == (
        "published",
        None,
        2,
        "Some *text*.",
    )
    assert begun <= datetime.fromisoformat(shown["published_at"]) <= datetime.now(UTC)
    [fact] = await published_events(db)
    assert (fact["post_id"], fact["version"], fact["status"], fact["revision"]) == (due["id"], 2, "published", 1)
    assert (await queries.post(db, AUTHOR, later["id"]))["status"] == "scheduled"
    assert (await queries.post(db, AUTHOR, draft["id"]))["status"] == "draft"


async def test_a_withdrawn_post_with_a_time_of_a_former_version_stays_withdrawn(db: Database) -> None:
    post = await create(db, ahead())
    await commands.publish_post(db, AUTHOR, UUID(post["id"]))
    await commands.withdraw_post(db, AUTHOR, UUID(post["id"]))
    await come_due(db, (post["id"], 5))
    await publisher.publish_due(db)
    assert (await queries.post(db, AUTHOR, post["id"]))["status"] == "withdrawn"
    [item] = (await queries.unpublished_posts(db, AUTHOR, "withdrawn", None, 50))["items"]
    assert (item["status"], item["publish_at"]) == ("withdrawn", None)


async def test_lists_keep_the_order_of_the_times(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "BATCH", 4)
    made = [(await create(db, ahead()))["id"] for _ in range(10)]
    expected = made[::3] + made[1::3] + made[2::3]
    await come_due(db, *((post_id, 100 - place) for place, post_id in enumerate(expected)))
    await publisher.publish_due(db)
    listed = (await queries.published_posts(db, None, 50))["items"]
    assert [item["id"] for item in reversed(listed)] == expected
    assert len({item["published_at"] for item in listed}) == 10


async def test_two_publishers_publish_each_draft_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "BATCH", 3)
    made = [(await create(db, ahead()))["id"] for _ in range(30)]
    await come_due(db, *((post_id, 1) for post_id in made))
    await asyncio.gather(*(publisher.publish_due(db) for _ in range(4)))
    await publisher.publish_due(db)
    facts = await published_events(db)
    assert Counter(fact["post_id"] for fact in facts) == dict.fromkeys(made, 1)
    assert {fact["version"] for fact in facts} == {2}


async def test_a_draft_that_is_being_changed_is_published_after_the_change(db: Database) -> None:
    post = await create(db, ahead())
    await come_due(db, (post["id"], 1))
    async with db.transaction() as tx:
        await tx.execute("select from posts where id = $1 for update", post["id"])
        await publisher.publish_due(db)
        assert await published_events(db) == []
        await tx.execute("update posts set publish_at = null where id = $1", post["id"])
    await publisher.publish_due(db)
    assert (await queries.post(db, AUTHOR, post["id"]))["status"] == "draft"
