"""Moderation steps: which states they lead to, and what each caller sees afterwards."""

from collections.abc import Awaitable, Callable
from typing import Any, get_args
from uuid import UUID

import pytest

from services.comments import exporting, queries
from services.comments.domain.comment import Step
from tests.integration.comments_harness import (
    ADMIN,
    ANN,
    BOB,
    MODERATOR,
    NOBODY,
    WRITER,
    Harness,
    person,
    refused,
    request_key,
)


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    made = Harness(await new_database("services.chassis", "services.comments"))
    await made.publish_post()
    return made


STEPS_TO: dict[str, tuple[Step, ...]] = {"visible": (), "held": ("hold",), "removed": ("reject",)}


@pytest.mark.parametrize(
    ("before", "step", "after"),
    [
        ("visible", "hold", "held"),
        ("held", "hold", "held"),
        ("removed", "hold", None),
        ("held", "approve", "visible"),
        ("visible", "approve", "visible"),
        ("removed", "approve", None),
        ("held", "reject", "removed"),
        ("visible", "reject", "removed"),
        ("removed", "reject", "removed"),
        ("removed", "restore", "visible"),
        ("visible", "restore", "visible"),
        ("held", "restore", None),
        ("removed", "put-back", "held"),
        ("held", "put-back", "held"),
        ("visible", "put-back", None),
    ],
)
async def test_each_moderation_step_from_each_state(
    harness: Harness, before: str, step: Step, after: str | None
) -> None:
    comment = await harness.post_comment()
    for first in STEPS_TO[before]:
        await harness.moderate(comment["id"], first)
    before_step = len(await harness.events())
    if after is None:
        assert (await refused(harness.moderate(comment["id"], step))).kind == "wrong-state"
        assert (await harness.read(comment["id"], MODERATOR))["state"] == before
    else:
        seen = await harness.moderate(comment["id"], step, ADMIN)
        assert (seen["state"], seen["body"]) == (after, "Some *words* 1.")
        assert (await harness.moderate(comment["id"], step))["version"] == seen["version"], "twice changes nothing"
    assert len(await harness.events()) - before_step == int(after not in (None, before))


@pytest.mark.parametrize("step", get_args(Step))
async def test_moderation_is_refused_to_other_people(harness: Harness, step: Step) -> None:
    comment = await harness.post_comment()
    for who in (ANN, BOB, WRITER):
        assert (await refused(harness.moderate(comment["id"], step, who))).kind == "forbidden"
    await harness.moderate(comment["id"], "hold")
    assert (await refused(harness.moderate(comment["id"], step, ANN))).kind == "forbidden", (
        "its author sees the comment"
    )
    assert (await refused(harness.moderate(comment["id"], step, BOB))).kind == "not-found", "no other person does"


async def test_a_held_comment_without_replies_is_visible_to_its_author_and_moderators_only(harness: Harness) -> None:
    comment = await harness.post_comment(ANN)
    await harness.moderate(comment["id"], "hold")
    for who in (ANN, MODERATOR, ADMIN):
        (seen,) = await harness.page(who)
        assert (seen["state"], seen["body"]) == ("held", "Some *words* 1.")
        assert (await harness.read(comment["id"], who))["state"] == "held"
    for who in (NOBODY, BOB, WRITER):
        assert await harness.page(who) == []
        assert (await refused(harness.read(comment["id"], who))).kind == "not-found"
    assert await harness.count() == 0


@pytest.mark.parametrize("step", ["hold", "reject"])
async def test_a_tombstone_is_shown_while_a_reply_below_it_is_shown(harness: Harness, step: Step) -> None:
    top = await harness.post_comment(ANN)
    middle = await harness.post_comment(ANN, top["id"])
    leaf = await harness.post_comment(BOB, middle["id"])
    await harness.moderate(top["id"], step)
    await harness.moderate(middle["id"], step)
    for who in (NOBODY, WRITER, BOB, *([ANN] if step == "reject" else [])):
        (tombstone,) = await harness.page(who)
        assert (tombstone["state"], tombstone["author_id"], tombstone["body_html"], tombstone["edited_at"]) == (
            "removed", None, None, None,
        )  # fmt: skip
        assert "body" not in tombstone
        assert tombstone["replies"]["items"][0]["replies"]["items"][0]["id"] == leaf["id"]
        assert (await harness.read(middle["id"], who))["state"] == "removed"
    (whole,) = await harness.page(MODERATOR)
    assert (whole["author_id"], whole["body"]) == (str(ANN.person_id), "Some *words* 1.")
    assert whole["state"] == ("held" if step == "hold" else "removed")
    assert await harness.count() == 1
    assert tombstone["reply_count"] == 0
    await harness.remove(leaf["id"], BOB)
    assert await harness.page() == [], "it is hidden with the last shown reply"
    assert await harness.count() == 0
    await harness.moderate(middle["id"], "approve" if step == "hold" else "restore")
    assert [comment["id"] for comment in await harness.walk(NOBODY)] == [top["id"], middle["id"]]


async def test_an_author_sees_tombstones_above_their_held_reply(harness: Harness) -> None:
    top = await harness.post_comment(BOB)
    reply = await harness.post_comment(ANN, top["id"])
    await harness.moderate(reply["id"], "hold")
    await harness.moderate(top["id"], "reject")
    assert [(seen["id"], seen["state"]) for seen in await harness.walk(ANN)] == [
        (top["id"], "removed"),
        (reply["id"], "held"),
    ]
    assert (await harness.read(top["id"], ANN))["author_id"] is None
    assert await harness.walk(NOBODY) == []
    assert (await harness.post_comment(ANN, reply["id"]))["state"] == "visible"
    assert len(await harness.walk(NOBODY)) == 3, "everybody sees the reply, below two tombstones"


async def test_the_moderation_queue(harness: Harness) -> None:
    await harness.change_post(discussion="held")
    held = [(await harness.post_comment(who))["id"] for who in (ANN, BOB, ANN, BOB)]
    answer = await harness.post_comment(MODERATOR, held[0])
    withdrawn = harness.post_id
    await harness.publish_post()
    later = await harness.post_comment()
    await harness.moderate(later["id"], "hold")
    first = await queries.by_state(harness.db, MODERATOR, "held", None, 3)
    second = await queries.by_state(harness.db, ADMIN, "held", first["next"], 3)
    assert [comment["id"] for comment in first["items"] + second["items"]] == [*held, later["id"]]
    assert second["next"] is None
    assert first["items"][0]["body"] == "Some *words* 1."
    replies = first["items"][0]["replies"]
    assert replies["items"] == []
    page = await queries.replies(harness.db, MODERATOR, UUID(held[0]), replies["next"], 50)
    assert [comment["id"] for comment in page["items"]] == [answer["id"]]
    for who in (ANN, WRITER):
        assert (await refused(queries.by_state(harness.db, who, "held", None, 50))).kind == "forbidden"
    harness.post_id = withdrawn
    await harness.change_post(status="withdrawn")
    assert [
        comment["id"] for comment in (await queries.by_state(harness.db, MODERATOR, "held", None, 50))["items"]
    ] == [later["id"]]


async def test_what_was_rejected_is_listed_newest_first(harness: Harness) -> None:
    first, second, third = [(await harness.post_comment(who))["id"] for who in (ANN, BOB, ANN)]
    taken_back = await harness.post_comment(BOB)
    for one in (first, second, third, taken_back["id"]):
        await harness.moderate(one, "reject")
    await harness.remove(taken_back["id"], BOB)
    for state in ("rejected", "removed"):
        page = await queries.by_state(harness.db, MODERATOR, state, None, 2)
        rest = await queries.by_state(harness.db, ADMIN, state, page["next"], 2)
        assert [comment["id"] for comment in page["items"] + rest["items"]] == [third, second, first]
        assert rest["next"] is None
        assert page["items"][0]["body"], "moderators read what was rejected"
        assert (await refused(queries.by_state(harness.db, WRITER, state, None, 2))).kind == "forbidden"
    other = queries.by_state(harness.db, MODERATOR, "removed", page["next"], 2)
    assert (await other)["items"], "it is the cursor of this list"
    assert (await refused(queries.by_state(harness.db, MODERATOR, "held", page["next"], 2))).kind == "malformed-cursor"
    await harness.moderate(third, "restore")
    assert [one["id"] for one in (await queries.by_state(harness.db, MODERATOR, "removed", None, 9))["items"]] == [
        second,
        first,
    ]
    await harness.change_post(status="withdrawn")
    assert (await queries.by_state(harness.db, MODERATOR, "removed", None, 9))["items"] == []


async def test_what_waits_is_counted(harness: Harness) -> None:
    assert await queries.waiting(harness.db) == 0
    for _ in range(2):
        await harness.moderate((await harness.post_comment())["id"], "hold")
    assert await queries.waiting(harness.db) == 2
    await harness.change_post(status="withdrawn")
    assert await queries.waiting(harness.db) == 0


async def test_a_replayed_step_returns_the_first_answer_with_current_replies(harness: Harness) -> None:
    comment = await harness.post_comment()
    reply = await harness.post_comment(BOB, comment["id"], body="secret")
    key = request_key(MODERATOR, "hold")
    then = await harness.moderate(comment["id"], "hold", key=key)
    assert [seen["id"] for seen in then["replies"]["items"]] == [reply["id"]]
    await harness.moderate(comment["id"], "approve")
    await harness.remove(reply["id"], BOB)
    async with harness.db.reader() as reader:
        assert "secret" not in await reader.fetchval("select representation::text from idempotency_keys")
    again = await harness.moderate(comment["id"], "hold", key=key)
    assert (again["state"], again["version"]) == ("held", 3), "the first answer with the current version"
    assert [seen["state"] for seen in again["replies"]["items"]] == ["removed"]
    assert (await harness.read(comment["id"]))["state"] == "visible"


async def test_what_is_ones_own_is_listed_and_exported(harness: Harness) -> None:
    shown, held, rejected, blanked = [(await harness.post_comment(ANN))["id"] for _ in range(4)]
    await harness.post_comment(BOB)
    below = await harness.post_comment(ANN, shown)
    for one in (held, below["id"]):
        await harness.moderate(one, "hold")
    await harness.moderate(rejected, "reject")
    await harness.remove(blanked)
    first = await queries.own_comments(harness.db, ANN, None, 2)
    second = await queries.own_comments(harness.db, ANN, first["next"], 2)
    items = first["items"] + second["items"]
    assert [one["id"] for one in items] == [below["id"], held, shown]
    assert second["next"] is None
    replies = items[2]["replies"]
    page = await queries.replies(harness.db, ANN, UUID(shown), replies["next"], 50)
    assert [one["id"] for one in page["items"]] == [below["id"]], "one's own held reply is one more"
    assert (await refused(queries.own_comments(harness.db, BOB, first["next"], 2))).kind == "malformed-cursor"
    assert (await refused(queries.own_comments(harness.db, NOBODY, None, 2))).kind == "sign-in-required"
    await harness.change_post(status="withdrawn")
    assert (await queries.own_comments(harness.db, ANN, None, 9))["items"] == []
    exported, cursor = list[dict[str, Any]](), None
    while page := await exporting.export_comments(harness.db, person(ANN), cursor):
        exported += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert [(one["id"], one["state"], one["body"] is None) for one in exported] == [
        (shown, "visible", False),
        (held, "held", False),
        (rejected, "removed", False),
        (blanked, "removed", True),
        (below["id"], "held", False),
    ]
