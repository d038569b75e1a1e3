"""Events of people in posts: schedules of former authors end, and pictures of the erased are deleted."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.database.pool import Database
from services.chassis.identity import Caller
from services.contracts.event import Envelope
from services.contracts.people import (
    PersonConfirmed,
    PersonErased,
    PersonFact,
    PersonImported,
    PersonRenamed,
    PersonRolesChanged,
    PersonStated,
)
from services.contracts.posts import CreatePost, EditPost
from services.posts import authors, commands, image_rows, publisher, queries
from services.posts.handlers import handlers

ADMIN = Caller("gateway", uuid4(), frozenset({"admin"}))
WRITER, READER = ("reader", "author"), ("reader",)


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.posts")
    return made


@pytest.fixture
def anna() -> Caller:
    return Caller("gateway", uuid4(), frozenset({"author"}))


async def hear(
    db: Database, kind: type[PersonFact], who: Caller, roles: tuple[str, ...], version: int, epoch: int = 0, **more: Any
) -> None:
    assert who.person_id is not None
    fact = kind(person_id=who.person_id, roles=roles, version=version, occurred_at=datetime.now(UTC), **more)
    source = "/services/people"
    envelope = Envelope(uuid4(), source, fact.type, fact.subject, fact.occurred_at, fact.key, b"", epoch=epoch)
    async with db.transaction() as tx:
        await handlers.by_type[fact.type](tx, fact, envelope)


async def scheduled(db: Database, author: Caller, by: Caller | None = None) -> dict[str, Any]:
    """Schedule a draft of the author, by another person if one is given."""
    time = datetime.now(UTC) + timedelta(hours=1)
    own = CreatePost(title="On letters", body="Some text.", publish_at=None if by else time)
    post = (await commands.create_post(db, author, own)).representation
    if by is not None:
        post = (await commands.edit_post(db, by, UUID(post["id"]), EditPost(publish_at=time))).representation
    assert post["status"] == "scheduled"
    return dict(post)


async def status(db: Database, post: dict[str, Any]) -> str:
    return str((await queries.post(db, ADMIN, post["id"]))["status"])


async def come_due(db: Database) -> None:
    async with db.transaction() as tx:
        await tx.execute("update posts set publish_at = now() - interval '1 s' where publish_at is not null")
    await publisher.publish_due(db)


async def events_about(db: Database, post: dict[str, Any]) -> list[str]:
    async with db.reader() as reader:
        rows = await reader.fetch("select type from outbox where subject = $1 order by id", UUID(post["id"]))
    return [row["type"].split(".")[3] for row in rows]


@pytest.mark.parametrize(
    ("kind", "more"),
    [(PersonRolesChanged, {}), (PersonErased, {}), (PersonStated, {}), (PersonStated, {"erased": True})],
)
async def test_what_a_former_author_scheduled_is_a_draft(
    db: Database, anna: Caller, kind: type[PersonFact], more: dict[str, Any]
) -> None:
    if kind is not PersonStated:  # else posts hears of her for the first time
        await hear(db, PersonRolesChanged, anna, WRITER, 2)
    own, by_admin, others = await scheduled(db, anna), await scheduled(db, anna, ADMIN), await scheduled(db, ADMIN)
    await hear(db, kind, anna, READER, 3, **more)
    assert [await status(db, post) for post in (own, by_admin, others)] == ["draft", "draft", "scheduled"]
    found = await queries.post(db, anna, own["id"])
    assert (found["version"], found["publish_at"], found["body"]) == (2, None, "Some text.")
    assert await events_about(db, own) == ["drafted", "edited"]
    await come_due(db)
    assert [await status(db, post) for post in (own, others)] == ["draft", "published"]


async def test_authors_keep_their_schedules(db: Database, anna: Caller) -> None:
    post = await scheduled(db, anna)
    await hear(db, PersonConfirmed, anna, WRITER, 1)
    await hear(db, PersonRenamed, anna, ("reader", "admin"), 2)
    await hear(db, PersonRolesChanged, anna, READER, 1)  # late: the newest state counts
    await come_due(db)
    assert await status(db, post) == "published"


async def test_what_is_scheduled_with_a_token_of_before_is_given_up(db: Database, anna: Caller) -> None:
    """The token lives longer than the role: posts has heard of the loss, the gateway has not."""
    await hear(db, PersonRolesChanged, anna, READER, 3)
    late, by_admin = await scheduled(db, anna), await scheduled(db, anna, ADMIN)
    await come_due(db)
    assert await status(db, late) == "draft"
    assert await events_about(db, late) == ["drafted", "edited"]
    assert (await queries.post(db, anna, late["id"]))["publish_at"] is None
    assert await status(db, by_admin) == "published"
    again = await scheduled(db, anna)
    await hear(db, PersonRolesChanged, anna, WRITER, 4)
    await come_due(db)
    assert await status(db, again) == "published"


@pytest.mark.parametrize("kind", [PersonImported, PersonStated])
async def test_what_an_admin_scheduled_of_an_imported_author_stays(
    db: Database, anna: Caller, kind: type[PersonFact]
) -> None:
    post = await scheduled(db, anna, ADMIN)
    await hear(db, kind, anna, READER, 1, imported=True)
    await hear(db, PersonStated, anna, READER, 1, epoch=7, imported=True)
    await come_due(db)
    assert await status(db, post) == "published"


async def picture_of(db: Database, who: Caller) -> UUID:
    made = uuid4()
    assert who.person_id is not None
    async with db.transaction() as tx:
        await image_rows.insert(tx, made, who.person_id, 4, 3, b"RIFF")
    return made


async def pictures(db: Database) -> set[UUID]:
    async with db.reader() as reader:
        return {row["id"] for row in await reader.fetch("select id from images")}


async def test_pictures_of_an_erased_person_are_deleted(
    db: Database, anna: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authors, "PICTURES_AT_ONCE", 2)
    monkeypatch.setattr(authors, "POSTS_AT_ONCE", 2)
    hers, others = [await picture_of(db, anna) for _ in range(5)], await picture_of(db, ADMIN)
    shown = [
        (await commands.create_post(db, anna, CreatePost(title="x", body="y", cover=cover))).representation
        for cover in hers[:3]
    ]
    await authors.delete_pictures(db)
    assert len(await pictures(db)) == 6
    await hear(db, PersonErased, anna, (), 3)
    await authors.delete_pictures(db)
    assert await pictures(db) == {others}
    for post in shown:
        found = await queries.post(db, ADMIN, post["id"])
        assert (found["cover"], found["version"], found["body"]) == (None, 2, "y")
        assert await events_about(db, post) == ["drafted", "edited"]
    await picture_of(db, anna)  # by a request that was under way
    await authors.delete_pictures(db)
    assert await pictures(db) == {others}


@pytest.mark.parametrize("late", [True, False])
async def test_an_erasure_counts_however_late_it_comes_and_for_good(db: Database, anna: Caller, late: bool) -> None:
    await picture_of(db, anna)
    post = await scheduled(db, anna)
    await hear(db, PersonStated, anna, WRITER, 5, epoch=3)
    await hear(db, PersonErased, anna, (), 2 if late else 6, epoch=0 if late else 3)
    await hear(db, PersonStated, anna, WRITER, 9, epoch=4)
    await authors.delete_pictures(db)
    assert await pictures(db) == set()
    await scheduled(db, anna)
    await come_due(db)
    assert await status(db, post) == "draft"


async def test_people_who_were_erased_long_ago_are_not_looked_at_again(db: Database, anna: Caller) -> None:
    await hear(db, PersonErased, anna, (), 2)
    await authors.delete_pictures(db)
    flag = "select pictures_deleted from people"
    async with db.transaction() as tx:
        assert await tx.fetchval(flag) is False
        await tx.execute("update people set erased_at = now() - interval '11 minutes'")
    await picture_of(db, anna)
    await authors.delete_pictures(db)
    async with db.reader() as reader:
        assert await reader.fetchval(flag) is True
    assert await pictures(db) == set()


async def test_what_is_known_of_people_is_shown_to_be_compared(db: Database, anna: Caller) -> None:
    ben, start = Caller("gateway", uuid4(), frozenset()), UUID(int=0)
    await hear(db, PersonConfirmed, anna, WRITER, 1)
    await hear(db, PersonConfirmed, ben, READER, 1)
    await hear(db, PersonErased, ben, (), 2, epoch=7)
    ids = [str(who.require_person()) for who in (anna, ben)]
    rows = [(ids[0], ids[0], 0, 1, False), (ids[1], ids[1], 7, 2, False)]
    assert await queries.known_people(db, start, None) == {"items": sorted(rows), "next": None}
    assert (await queries.known_people(db, start, [UUID(ids[1]), uuid4()]))["items"] == rows[1:]
    assert (await queries.known_people(db, UUID(max(ids)), None))["items"] == []
