"""Resync: whatever a reader knows, afterwards it knows what the owner says; nothing of it is ever mailed."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.database.pool import Database
from services.chassis.messaging import inbox, outbox
from services.chassis.messaging.stating import Stating
from services.comments import queries as comments_queries
from services.comments.commands.stating import stating as comments_stating
from services.comments.handlers import handlers as comments_handlers
from services.contracts.comments import CommentGone
from services.contracts.event import Envelope, registry
from services.contracts.posts import PostGone, PostStated
from services.contracts.services import STATED, KnownRow
from services.notify import handlers as notify_handlers
from services.notify import queries as notify_queries
from services.people.commands.stating import stating as people_stating
from services.posts.stating import stating as posts_stating
from tests.conftest import NewDatabase, OwnDatabase
from tests.integration.comments_harness import ANN, BOB, Harness, post_fact, refused
from tests.integration.notify_harness import PACKAGES as NOTIFY
from tests.integration.notify_harness import FakeComment, NotifyHarness

NIL = UUID(int=0)
FILL_POSTS = """
insert into posts (
    id, kind, slug, title, body, format, body_html, renderer_version, excerpt, author_id, status, discussion,
    created_at, published_at, revision, version, imported
)
select gen_random_uuid(), 'post', 's' || number, 't', 'b', 'markdown', '<p>b</p>', 1, 'e', gen_random_uuid(),
       'published', 'open', now(), now(), 1, 3, false
from generate_series(1, $1) as number
"""


@pytest.fixture
async def posts(new_database: NewDatabase) -> OwnDatabase:
    made = await new_database("services.chassis", "services.posts")
    async with made.transaction() as tx:
        await tx.execute(FILL_POSTS, 2 * STATED + 7)
    return made


@pytest.fixture
async def comments(new_database: NewDatabase) -> OwnDatabase:
    return await new_database("services.chassis", "services.comments")


async def value(db: OwnDatabase, sql: str, *args: object) -> Any:
    async with db.reader() as reader:
        return await reader.fetchval(sql, *args)


async def change(db: OwnDatabase, *statements: str) -> None:
    async with db.transaction() as tx:
        for statement in statements:
            await tx.execute(statement)


async def state_all(owner: Stating) -> int:
    place: str | None = str(NIL)
    count = 0
    while place is not None:
        answer = await owner.state(UUID(place))
        count, place = count + answer["count"], answer["next"]
    return count


async def deliver(source: OwnDatabase, target: OwnDatabase, by_type: Any) -> list[str]:
    """Do the work of relay and consumer: bring everything unpublished over. Return the kinds of the events."""
    async with source.transaction() as tx:
        rows = await tx.fetch(
            "select id, event_id, type, source, subject, key, payload, epoch from outbox "
            "where published_at is null order by id"
        )
        await tx.execute("update outbox set published_at = now() where published_at is null")
    for row in rows:
        envelope = Envelope(
            row["event_id"],
            row["source"],
            row["type"],
            row["subject"],
            datetime.now(UTC),
            row["key"],
            b"",
            epoch=row["epoch"],
        )
        event = registry()[row["type"]].model_validate_json(row["payload"])
        async with target.transaction() as tx:
            if await inbox.insert_new(tx, [envelope]):
                await by_type[row["type"]](tx, event, envelope)
    return [row["type"].split(".")[3] for row in rows]


async def state_gone(owner: Stating, known: dict[str, Any]) -> int:
    rows = [KnownRow(id=row[0], key=row[1], version=row[3]) for row in known["items"] if not row[4]]
    return int((await owner.state_gone(rows))["count"])


async def test_all_posts_are_stated_in_batches_and_known_afterwards(posts: OwnDatabase, comments: OwnDatabase) -> None:
    owner = posts_stating(posts)
    epoch = (await owner.raise_epoch(0))["epoch"]
    assert await state_all(owner) == 2 * STATED + 7
    await deliver(posts, comments, comments_handlers.by_type)
    assert await value(comments, "select count(*) from discussions where (epoch, version) = ($1, 3)", epoch) == 1007
    first = await owner.rows(NIL, None)
    assert (first["epoch"], len(first["items"])) == (epoch, STATED)
    known = await comments_queries.known_posts(comments, NIL, None)
    assert [row[0] for row in known["items"]] == [row[0] for row in first["items"]]
    assert known["next"] == first["next"]


async def test_stating_waits_for_the_relay(posts: OwnDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FULL", 600)
    owner = posts_stating(posts)
    assert not (await owner.state(NIL))["is_full"]
    second = await owner.state(NIL)
    assert not second["is_full"]
    assert await owner.state(UUID(second["next"])) == {"count": 0, "next": second["next"], "is_full": True}
    assert await owner.state_gone([]) == {"count": 0, "is_full": True}


async def test_a_post_that_the_owner_lacks_is_hidden_and_comes_back(posts: OwnDatabase, comments: OwnDatabase) -> None:
    owner = posts_stating(posts)
    await state_all(owner)
    await deliver(posts, comments, comments_handlers.by_type)
    harness = Harness(comments)
    harness.post_id = await value(posts, "select id from posts order by id limit 1")
    comment = await harness.post_comment()
    await change(
        posts,
        f"create table aside as select * from posts where id = '{harness.post_id}'",
        f"delete from posts where id = '{harness.post_id}'",
    )
    await owner.raise_epoch(0)
    known = await comments_queries.known_posts(comments, NIL, None)
    assert await state_gone(owner, known) == 1
    assert await deliver(posts, comments, comments_handlers.by_type) == ["gone"]
    assert (await refused(harness.page())).kind == "post-unknown"
    assert await value(comments, "select count(*) from comments") == 1
    again = await comments_queries.known_posts(comments, NIL, None)
    assert await state_gone(owner, again) == 0  # said once
    await change(posts, "insert into posts select * from aside")
    await owner.raise_epoch(0)
    await state_all(owner)
    await deliver(posts, comments, comments_handlers.by_type)
    assert [one["id"] for one in await harness.page()] == [comment["id"]]
    assert await value(comments, "select count(*) from discussions where gone") == 0


async def test_gone_is_reversible_without_a_restore(comments: OwnDatabase) -> None:
    """Events of one epoch: gone has one version more than what was known, so an event of before does not undo it."""
    post_id = uuid4()
    now = datetime.now(UTC)
    for event in (post_fact(post_id, version=2), PostGone(post_id=post_id, version=3, occurred_at=now)):
        await give(comments, comments_handlers.by_type, event, 4)
    await give(comments, comments_handlers.by_type, post_fact(post_id, version=2), 4)
    assert await value(comments, "select gone and status = 'withdrawn' from discussions where post_id = $1", post_id)
    stated = PostStated.model_validate(post_fact(post_id, version=2).model_dump())
    await give(comments, comments_handlers.by_type, stated, 5)
    assert await value(comments, "select status from discussions where post_id = $1", post_id) == "published"
    unknown = PostGone(post_id=uuid4(), version=3, occurred_at=now)
    await give(comments, comments_handlers.by_type, unknown, 5)
    assert await value(comments, "select count(*) from discussions") == 1


async def give(db: Database, by_type: Any, event: Any, epoch: int) -> None:
    envelope = Envelope(uuid4(), "/x", event.type, event.subject, datetime.now(UTC), event.key, b"", epoch=epoch)
    async with db.transaction() as tx:
        await by_type[event.type](tx, event, envelope)


async def test_a_lost_read_model_is_whole_again_with_its_counts(posts: OwnDatabase, comments: OwnDatabase) -> None:
    owner = posts_stating(posts)
    await state_all(owner)
    await deliver(posts, comments, comments_handlers.by_type)
    harness = Harness(comments)
    harness.post_id = await value(posts, "select id from posts order by id limit 1")
    top = await harness.post_comment()
    reply = await harness.post_comment(BOB, top["id"])
    await change(comments, "set local session_replication_role = replica", "delete from discussions")
    assert (await refused(harness.page())).kind == "post-unknown"
    await owner.raise_epoch(0)
    await state_all(owner)
    await deliver(posts, comments, comments_handlers.by_type)
    assert await harness.count() == 2
    await harness.remove(reply["id"], BOB)
    assert await harness.count() == 1


async def test_what_reader_knows_wrongly_at_the_same_version_is_mended(
    posts: OwnDatabase, comments: OwnDatabase
) -> None:
    owner = posts_stating(posts)
    await state_all(owner)
    await deliver(posts, comments, comments_handlers.by_type)
    await change(comments, "update discussions set status = 'draft', epoch = 9000000000")
    await owner.raise_epoch(9000000000)
    await state_all(owner)
    await deliver(posts, comments, comments_handlers.by_type)
    assert await value(comments, "select count(*) from discussions where status <> 'published'") == 0


async def test_comments_are_stated_while_people_write(comments: OwnDatabase, new_database: NewDatabase) -> None:
    notify = await new_database(*NOTIFY)
    by_type = notify_handlers.build(0).by_type
    harness = Harness(comments)
    await harness.publish_post()
    first = await harness.post_comment(ANN)
    await deliver(comments, notify, by_type)
    rows = await value(notify, "select count(*) from notifications")
    await change(notify, "set local session_replication_role = replica", "delete from comments")
    owner = comments_stating(comments)
    epoch = (await owner.raise_epoch(0))["epoch"]
    assert await state_all(owner) == 1
    later = await harness.post_comment(BOB, first["id"])
    await deliver(comments, notify, by_type)
    known = (await notify_queries.known_comments(notify, NIL, None))["items"]
    post_id = str(harness.post_id)
    assert known == [(first["id"], post_id, epoch, 1, False), (later["id"], post_id, epoch, 1, False)]
    assert (await owner.rows(NIL, None))["items"] == [(first["id"], 1), (later["id"], 1)]
    # two more: ann is told of the answer, the post's author too; nobody of what was stated
    assert await value(notify, "select count(*) from notifications") == rows + 2


async def test_comments_of_a_lost_discussion_are_gone_until_it_is_back(
    posts: OwnDatabase, comments: OwnDatabase, new_database: NewDatabase
) -> None:
    notify = await new_database(*NOTIFY)
    by_type = notify_handlers.build(0).by_type
    owner = posts_stating(posts)
    await state_all(owner)
    await deliver(posts, comments, comments_handlers.by_type)
    harness = Harness(comments)
    harness.post_id = await value(posts, "select id from posts order by id limit 1")
    said = await harness.post_comment()
    await deliver(comments, notify, by_type)
    await change(comments, "set local session_replication_role = replica", "delete from discussions")
    stated = comments_stating(comments)
    assert await state_all(stated) == 0
    assert (await stated.rows(NIL, None))["items"] == (await stated.rows(NIL, [UUID(said["id"])]))["items"] == []
    assert await state_gone(stated, await notify_queries.known_comments(notify, NIL, None)) == 1
    await deliver(comments, notify, by_type)

    for each in (owner, stated):
        await each.raise_epoch(0)
        await state_all(each)
        await deliver(posts, comments, comments_handlers.by_type)
    await deliver(comments, notify, by_type)
    ((known_id, *_, gone),) = (await notify_queries.known_comments(notify, NIL, None))["items"]
    assert (known_id, gone) == (said["id"], False)


async def test_a_comment_that_is_gone_ends_what_waits_and_makes_nothing(new_database: NewDatabase) -> None:
    harness = NotifyHarness(await new_database(*NOTIFY))
    comment = FakeComment()
    await harness.handle(comment.posted)
    now = datetime.now(UTC)
    gone = CommentGone(comment_id=comment.comment_id, post_id=comment.post_id, version=2, occurred_at=now)
    by_type = notify_handlers.build(0).by_type
    await give(harness.db, by_type, gone, 1)
    assert await harness.ending(comment.parent_author_id, comment.comment_id) == ("skipped", "comment_removed")
    assert await harness.events() == [("skipped", "comment_removed")] * 2
    await give(harness.db, by_type, gone, 1)
    unknown = CommentGone(comment_id=uuid4(), post_id=comment.post_id, version=2, occurred_at=now)
    await give(harness.db, by_type, unknown, 1)
    assert (await harness.rows(), len(await harness.events())) == (2, 2)
    # it was not gone after all: it is known again, and nobody is told a second time
    await give(harness.db, by_type, comment.fact(_stated()), 2)
    assert await harness.ending(comment.parent_author_id, comment.comment_id) == ("skipped", "comment_removed")
    assert await harness.value("select state from comments") == "visible"


def _stated() -> Any:
    return registry()["dev.rapport.comments.stated.v1"]


async def test_people_are_stated_the_erased_ones_too(new_database: NewDatabase) -> None:
    db = await new_database("services.chassis", "services.people")
    await change(
        db,
        "insert into people (id, name, roles) values (gen_random_uuid(), 'Ada', '{author}')",
        "insert into people (id, name, roles, erased_at) values (gen_random_uuid(), null, '{}', now())",
    )
    assert await state_all(people_stating(db)) == 2
    assert await value(db, "select count(*) from outbox where type = 'dev.rapport.people.stated.v1'") == 2
    assert await value(db, "select count(*) from outbox where encode(payload, 'escape') like '%Ada%'") == 0
