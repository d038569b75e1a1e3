"""Events of posts: each updates a discussion, and the newest version counts."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.database.pool import Database
from services.chassis.messaging import outbox
from services.chassis.messaging.consumer import Consumer
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.comments import queries
from services.comments.domain.comment import Discussion
from services.comments.handlers import handlers
from services.comments.store import discussion_rows
from services.contracts.event import Envelope
from services.contracts.posts import (
    PostDeleted,
    PostDrafted,
    PostEdited,
    PostFact,
    PostImported,
    PostPublished,
    PostStated,
    PostWithdrawn,
)
from services.contracts.topics import POSTS
from tests.integration.comments_harness import Harness, post_fact
from tests.waiting import eventually

TYPES: tuple[type[PostFact], ...] = (PostDrafted, PostPublished, PostEdited, PostWithdrawn, PostImported, PostStated)


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.comments")
    return made


def as_type(kind: type[PostFact], fact: PostFact) -> PostFact:
    return kind.model_validate(fact.model_dump())


async def handle(db: Database, fact: PostFact) -> None:
    envelope = Envelope(uuid4(), "/services/posts", fact.type, fact.post_id, datetime.now(UTC), fact.post_id, b"")
    async with db.transaction() as tx:
        await handlers.by_type[fact.type](tx, fact, envelope)


async def known(db: Database, post_id: UUID) -> Discussion | None:
    async with db.reader() as reader:
        return await discussion_rows.find_discussion(reader, post_id)


@pytest.mark.parametrize("kind", TYPES)
async def test_each_event_of_a_post_updates_its_discussion(db: Database, kind: type[PostFact]) -> None:
    post_id = uuid4()
    fact = as_type(kind, post_fact(post_id, status="withdrawn", discussion="held"))
    await handle(db, fact)
    stated = Discussion(post_id, fact.author_id, "withdrawn", "held", revision=1, post_version=1)
    assert await known(db, post_id) == stated


async def test_a_comment_says_which_revision_it_is_about(db: Database) -> None:
    harness = Harness(db)
    await harness.publish_post(revision=3)
    made = [await harness.post_comment(), await harness.post_comment(read=2), await harness.post_comment(read=9)]
    assert [one["answered_revision"] for one in made] == [3, 2, 3]
    await harness.change_post(revision=4)
    assert [one["answered_revision"] for one in await harness.page()] == [3, 2, 3]
    assert (await harness.post_comment())["answered_revision"] == 4


async def test_a_row_from_before_revisions_takes_its_own_from_the_same_state(db: Database) -> None:
    harness = Harness(db)
    post_id = await harness.publish_post(revision=2)
    async with db.transaction() as tx:
        await tx.execute("update discussions set revision = null")
    assert (await harness.post_comment(read=1))["answered_revision"] is None
    await handle(db, post_fact(post_id, version=0, revision=1))
    assert (await harness.post_comment())["answered_revision"] is None, "an older state says nothing of now"
    await handle(db, as_type(PostStated, post_fact(post_id, version=1, revision=2)))
    assert (await harness.post_comment())["answered_revision"] == 2


async def test_a_late_event_does_not_replace_a_newer_state(db: Database) -> None:
    post_id = uuid4()
    facts = [
        post_fact(post_id, version=2, discussion="closed"),
        post_fact(post_id, version=1, discussion="open"),
        post_fact(post_id, version=2, discussion="held"),
        post_fact(post_id, version=3, discussion="held"),
        post_fact(post_id, version=1, discussion="closed"),
    ]
    states = []
    for fact in facts:
        await handle(db, fact)
        seen = await known(db, post_id)
        assert seen is not None
        states.append(seen.mode)
    assert states == ["closed", "closed", "closed", "held", "held"]


async def test_an_event_of_a_post_keeps_the_comment_count(db: Database) -> None:
    harness = Harness(db)
    await harness.publish_post()
    await harness.post_comment()
    await harness.change_post(discussion="closed")
    assert await harness.count() == 1


async def test_a_post_accepts_comments_after_its_event_was_consumed(
    db: Database, new_database: Callable[..., Awaitable[Any]], kafka: str, kafka_prefix: str
) -> None:
    posts = await new_database("services.chassis")
    settings = Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)
    await create_topics(kafka, kafka_prefix)
    relay = Relay(posts, posts.url, Producer(settings), settings)
    consumer = Consumer("comments", [POSTS], handlers, db, settings)
    stop = asyncio.Event()
    harness = Harness(db)
    harness.post_id = uuid4()
    async with asyncio.TaskGroup() as group:
        group.create_task(relay.run(stop))
        group.create_task(consumer.run(stop))
        try:
            async with posts.transaction() as tx:
                await outbox.add(tx, post_fact(harness.post_id))

            async def arrived() -> bool:
                return await known(db, harness.post_id) is not None

            await eventually(arrived, timeout=60)
            comment = await harness.post_comment()
        finally:
            stop.set()
    assert (await queries.counts(db, [harness.post_id])) == {str(harness.post_id): 1}
    assert comment["state"] == "visible"


async def test_a_deleted_draft_has_no_discussion(db: Database) -> None:
    drafted = as_type(PostDrafted, post_fact(uuid4(), status="draft", version=1))
    await handle(db, drafted)
    await handle(db, as_type(PostDeleted, drafted.model_copy(update={"version": 2})))
    await handle(db, drafted)
    async with db.reader() as reader:
        assert await reader.fetchval("select gone from discussions where post_id = $1", drafted.post_id)
