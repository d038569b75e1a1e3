"""Tags, excerpts and kinds of posts on a real PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from services.chassis.database.pool import Database
from services.contracts.posts import EditPost
from services.posts import commands, queries, rerendering
from tests.integration.test_posts_commands import AUTHOR, create, events


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.posts")
    return made


async def edit(db: Database, post: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return (await commands.edit_post(db, AUTHOR, UUID(post["id"]), EditPost(**fields))).representation


async def found_by_tag(db: Database, tag: str) -> set[str]:
    async with db.reader() as reader:
        rows = await reader.fetch("select post_id from post_tags where tag = $1 and published_at is not null", tag)
    return {str(row["post_id"]) for row in rows}


async def test_a_post_is_created_with_tags_a_kind_and_an_excerpt(db: Database) -> None:
    post = await create(db, tags=["Kafka", "mail", "KAFKA"], kind="page", excerpt="In short.", body="One *two*.")
    assert (post["tags"], post["kind"], post["excerpt"]) == (["Kafka", "mail"], "page", "In short.")
    assert post["word_count"] == 2
    assert await queries.post(db, AUTHOR, post["id"]) == post
    assert (await events(db))[-1]["kind"] == "page"


async def test_they_change_the_version_and_no_revision(db: Database) -> None:
    post = await create(db, publish=True)
    changed = await edit(db, post, tags=["b", "a"], excerpt="Short.")
    assert (changed["tags"], changed["excerpt"], changed["version"]) == (["b", "a"], "Short.", 2)
    assert (changed["revision"], changed["edited_at"]) == (1, None)
    assert [event["type"] for event in await events(db)] == ["published", "edited"]
    assert (await edit(db, post, tags=["b", "a"], excerpt="Short."))["version"] == 2
    assert len(await events(db)) == 2
    assert (await edit(db, post, title="Other"))["tags"] == ["b", "a"]
    assert (await edit(db, post, tags=[]))["tags"] == []


async def test_a_written_excerpt_outlives_the_text_and_a_made_one_follows_it(db: Database) -> None:
    post = await create(db, body="First.")
    assert (await edit(db, post, body="Second."))["excerpt"] == "Second."
    assert (await edit(db, post, excerpt="Mine."))["excerpt"] == "Mine."
    third = await edit(db, post, body="Third and last.")
    assert (third["excerpt"], third["word_count"]) == ("Mine.", 3)
    assert (await edit(db, post, excerpt=None))["excerpt"] == "Third and last."
    assert (await edit(db, post, body="Fourth."))["excerpt"] == "Fourth."


async def test_the_spelling_of_the_first_use_counts_also_at_the_same_time(db: Database) -> None:
    assert (await create(db, tags=["PostgreSQL"]))["tags"] == ["PostgreSQL"]
    assert (await create(db, tags=["postgresql"]))["tags"] == ["PostgreSQL"]
    made = await asyncio.gather(*(create(db, tags=[a, b]) for a, b in (("Ab", "Cd"), ("CD", "AB"), ("cd", "ab"))))
    assert len({frozenset(post["tags"]) for post in made}) == 1


async def test_a_tag_finds_what_is_published_now(db: Database) -> None:
    post = await create(db, tags=["News"])
    assert await found_by_tag(db, "news") == set()
    await commands.publish_post(db, AUTHOR, UUID(post["id"]))
    assert await found_by_tag(db, "news") == {post["id"]}
    await commands.withdraw_post(db, AUTHOR, UUID(post["id"]))
    assert await found_by_tag(db, "news") == set()
    await commands.publish_post(db, AUTHOR, UUID(post["id"]))
    await edit(db, post, tags=["Old"])
    assert await found_by_tag(db, "news") == set()
    assert await found_by_tag(db, "old") == {post["id"]}


async def test_rerendering_counts_the_words_of_posts_from_before(db: Database) -> None:
    post = await create(db, body="One two three.")
    async with db.transaction() as tx:
        await tx.execute("update posts set word_count = null")
    assert (await queries.post(db, AUTHOR, post["id"]))["word_count"] is None
    await rerendering.rerender_posts(db, None)
    after = await queries.post(db, AUTHOR, post["id"])
    assert (after["word_count"], after["version"]) == (3, 1)
