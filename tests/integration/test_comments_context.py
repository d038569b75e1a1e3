"""One comment with what it answers, for the page that a link to it opens."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.identity import Caller
from services.comments import queries
from tests.integration.comments_harness import ANN, BOB, MODERATOR, NOBODY, Harness, refused


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    made = Harness(await new_database("services.chassis", "services.comments"))
    await made.publish_post()
    return made


async def line_of(harness: Harness, length: int, who: Caller = ANN) -> list[str]:
    ids: list[str] = []
    for _ in range(length):
        ids.append((await harness.post_comment(who, ids[-1] if ids else None))["id"])
    return ids


async def context(
    harness: Harness, comment_id: str, who: Caller = NOBODY, cursor: str | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    found = await queries.with_context(harness.db, who, UUID(comment_id), cursor)
    return found["above"], found["comment"]


async def test_the_context_is_the_way_from_the_top_and_the_replies(harness: Harness) -> None:
    line = await line_of(harness, 101)
    for depth in (0, 1, 50, 100):
        above, comment = await context(harness, line[depth])
        assert [one["id"] for one in above] == line[:depth]
        assert comment | {"epoch": 0} == await harness.read(line[depth])
        for one, below in zip(above, line[1:], strict=False):
            found = await queries.replies(harness.db, NOBODY, UUID(one["id"]), one["replies"]["next"], 50)
            assert [reply["id"] for reply in found["items"]] == [below], "the next leads to the comment's own replies"


async def test_later_replies_come_by_their_cursor(harness: Harness) -> None:
    top, second = await line_of(harness, 2)
    for _ in range(120):
        last = await harness.post_comment(parent=second)
    (_,), comment = await context(harness, second)
    cursor = comment["replies"]["next"]
    assert cursor
    above, later = await context(harness, second, cursor=cursor)
    assert [one["id"] for one in above] == [top]
    assert later["replies"]["items"][-1]["id"] == last["id"]
    assert (later["id"], later["reply_count"]) == (second, 120)
    assert (await refused(context(harness, top, cursor=cursor))).kind == "malformed-cursor"


async def test_everybody_sees_of_it_what_they_see_elsewhere(harness: Harness) -> None:
    top, second, third = await line_of(harness, 3)
    await harness.remove(second)
    above, comment = await context(harness, third)
    assert [one["state"] for one in above] == ["visible", "removed"]
    assert above[1]["body_html"] is None
    _, stone = await context(harness, second)
    assert (stone["state"], stone["replies"]["items"][0]["id"]) == ("removed", third)
    await harness.moderate(third, "hold")
    for who in (NOBODY, BOB):
        for gone in (second, third):
            assert (await refused(context(harness, gone, who))).kind == "not-found"
    for who in (ANN, MODERATOR):
        above, comment = await context(harness, third, who)
        assert ([one["id"] for one in above], comment["state"]) == ([top, second], "held")
    await harness.change_post(status="withdrawn")
    for comment_id in (top, str(uuid4())):
        assert (await refused(context(harness, comment_id, ANN))).kind == "not-found"
