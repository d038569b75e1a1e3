"""Stored texts are rendered anew in batches, without a new version or an event."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.identity import Caller
from services.chassis.text import rerendering as batches
from services.comments.commands import rerendering as of_comments
from services.comments.store import comment_changes
from services.contracts.posts import CreatePost
from services.posts import commands, queries
from services.posts import rerendering as of_posts
from tests.integration.comments_harness import ANN, Harness

NewDatabase = Callable[..., Awaitable[Any]]


async def test_comments_are_rendered_anew_in_batches(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (batches, of_comments):
        monkeypatch.setattr(module, "BATCH", 3)
    harness = Harness(await new_database("services.chassis", "services.comments"))
    await harness.publish_post()
    made = [await harness.post_comment(ANN, body=f"a\nb {number}") for number in range(7)]
    removed = await harness.post_comment(ANN)
    await harness.remove(removed["id"])
    deep = await harness.post_comment(ANN)
    events = await harness.events()
    async with harness.db.transaction() as tx:
        await tx.execute("update comments set body_html = 'old', renderer_version = 1 where body is not null")
        await tx.execute("update comments set body = repeat('>', 99) || 'x' where id = $1", UUID(deep["id"]))

    after, calls = None, []
    while True:
        calls.append(await of_comments.rerender_comments(harness.db, after))
        if calls[-1]["next"] is None:
            break
        after = UUID(calls[-1]["next"])

    assert [(call["rendered"], call["refused"]) for call in calls] == [(3, 0), (3, 0), (1, 1)]
    for comment in made:
        assert await harness.read(comment["id"], ANN) == comment, "as it was, its version too"
    assert (await harness.read(deep["id"]))["body_html"] == "old"
    assert await harness.events() == events
    assert (await of_comments.rerender_comments(harness.db, None))["rendered"] == 0


async def test_posts_are_rendered_anew(new_database: NewDatabase) -> None:
    db = await new_database("services.chassis", "services.posts")
    author = Caller("gateway", uuid4(), frozenset({"author"}))
    command = CreatePost(title="t", body="a[^1]\n\n[^1]: b", publish=True)
    post = (await commands.create_post(db, author, command)).representation
    async with db.transaction() as tx:
        await tx.execute("update posts set body_html = 'old', renderer_version = 1")
    assert (await queries.post(db, author, post["id"]))["body_html"] == "old"
    assert await of_posts.rerender_posts(db, None) == {"rendered": 1, "refused": 0, "next": None}
    assert await queries.post(db, author, post["id"]) == post
    assert f'id="fn-{post["id"]}-1"' in post["body_html"]


async def test_text_that_was_edited_meanwhile_stays(new_database: NewDatabase) -> None:
    harness = Harness(await new_database("services.chassis", "services.comments"))
    await harness.publish_post()
    comment = await harness.post_comment(ANN)
    async with harness.db.transaction() as tx:
        await tx.execute("update comments set renderer_version = 1")
    stale = batches.Stored(UUID(comment["id"]), "another text", "markdown")
    async with harness.db.transaction() as tx:
        assert not await comment_changes.update_html(tx, stale, "<p>another text</p>", 2)
    assert (await harness.read(comment["id"], ANN))["body_html"] == comment["body_html"]
