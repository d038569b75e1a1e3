"""What is rendered when a comment is written: nothing that would be refused anyhow."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.chassis.runtime.context import Context, bound
from services.comments.commands import editing, importing, posting
from tests.integration.comments_harness import ANN, BOB, NOBODY, Harness, refused, request_key
from tests.integration.test_comments_import import old_comment
from tests.integration.test_comments_posting import prepared

LONG = "A long text. " * 200


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    made = Harness(await new_database("services.chassis", "services.comments"))
    await made.publish_post()
    return made


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are rendered."""
    texts: list[str] = []
    for module in (posting, editing, importing):

        async def recorded(source: str, *args: Any, __render: Any = module.render, **options: Any) -> str:
            texts.append(source)
            html: str = await __render(source, *args, **options)
            return html

        monkeypatch.setattr(module, "render", recorded)
    return texts


async def test_an_edit_that_is_refused_is_not_rendered(harness: Harness, rendered: list[str]) -> None:
    mine, gone = await harness.post_comment(ANN), await harness.post_comment(ANN)
    await harness.remove(gone["id"])
    rendered.clear()
    for kind, comment_id, who, options in (
        ("not-found", str(uuid4()), ANN, {}),
        ("not-found", gone["id"], ANN, {}),
        ("forbidden", mine["id"], BOB, {}),
        ("edit-window-over", mine["id"], ANN, {"window": timedelta(0)}),
        ("stale", mine["id"], ANN, {"if_match": '"9-x"'}),
        ("sign-in-required", mine["id"], NOBODY, {}),
    ):
        assert (await refused(harness.edit(comment_id, LONG, who, **options))).kind == kind
    await harness.change_post(status="withdrawn")
    assert (await refused(harness.edit(mine["id"], LONG))).kind == "not-found"
    assert rendered == []


async def test_a_replay_is_not_rendered_and_not_refused(harness: Harness, rendered: list[str]) -> None:
    made = await harness.post_comment(ANN, body=LONG, key=request_key(ANN, "made"))
    edit = request_key(ANN, "edit", "PATCH")
    edited = await harness.edit(made["id"], LONG + "!", key=edit)
    rendered.clear()
    assert await harness.edit(made["id"], LONG + "!", key=edit, window=timedelta(0)) == edited
    await harness.change_post(discussion="closed")
    again = await harness.post_comment(ANN, body=LONG, key=request_key(ANN, "made"))
    assert (again["id"], rendered) == (made["id"], [])


async def test_a_long_comment_that_is_refused_is_not_rendered(harness: Harness, rendered: list[str]) -> None:
    hidden = await harness.post_comment(BOB)
    await harness.moderate(hidden["id"], "hold")
    rendered.clear()
    for parent in (str(uuid4()), hidden["id"]):
        assert (await refused(harness.post_comment(ANN, parent, LONG))).kind == "invalid"
    await harness.change_post(discussion="closed")
    assert (await refused(harness.post_comment(ANN, body=LONG))).kind == "discussion-closed"
    await harness.change_post(status="withdrawn")
    assert (await refused(harness.post_comment(ANN, body=LONG))).kind == "post-unknown"
    harness.post_id = uuid4()
    assert (await refused(harness.post_comment(ANN, body=LONG))).kind == "post-unknown"
    assert rendered == []


async def test_an_import_that_is_refused_or_repeated_is_not_rendered(harness: Harness, rendered: list[str]) -> None:
    first = await importing.import_comment(harness.db, old_comment(harness, "1"))
    assert first[1]
    rendered.clear()
    assert await importing.import_comment(harness.db, old_comment(harness, "1", body="Otherwise.")) == (first[0], False)
    harness.post_id = uuid4()
    unknown = importing.import_comment(harness.db, old_comment(harness, "2"))
    assert (await refused(unknown)).kind == "post-unknown"
    assert rendered == []


async def test_a_long_reply_is_stored(harness: Harness, rendered: list[str]) -> None:
    top = await harness.post_comment(ANN, body=LONG)
    reply = await harness.post_comment(ANN, top["id"], LONG)
    assert (reply["parent_id"], reply["body"], len(rendered)) == (top["id"], LONG.rstrip("\n"), 2)


async def test_what_nobody_waits_for_is_not_stored(harness: Harness) -> None:
    queue = posting.PostingQueue(harness.db)
    over = replace(prepared(harness), context=Context(deadline=0.0))
    refusal = await refused(queue.store(over))
    assert (refusal.kind, refusal.headers["Retry-After"]) == ("unavailable", "1")
    with bound(Context(deadline=time.monotonic() + 60)):
        assert (await queue.store(prepared(harness))).status == 201
    assert await harness.count() == 1
