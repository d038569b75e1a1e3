"""Posting, replying, editing and removing on a real PostgreSQL: state and event in one transaction."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.ids import moment_of
from services.comments import queries
from services.comments.commands import posting
from services.contracts.comments import CreateComment
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


async def test_a_comment_and_a_reply(harness: Harness) -> None:
    comment = await harness.post_comment(ANN, body="First *words*, https://example.org/x")
    answer = await harness.post_comment(BOB, comment["id"])
    assert comment["body_html"].startswith("<p>First <em>words</em>, <a href=")
    assert (comment["body"], comment["format"]) == ("First *words*, https://example.org/x", "markdown")
    assert (comment["state"], comment["depth"], comment["parent_id"], comment["version"]) == ("visible", 0, None, 1)
    assert (answer["depth"], answer["parent_id"]) == (1, comment["id"])

    (seen,) = await harness.page()
    assert "body" not in seen
    assert "format" not in seen
    assert seen["author_id"] == str(ANN.person_id)
    assert seen["reply_count"] == 1
    assert [reply["id"] for reply in seen["replies"]["items"]] == [answer["id"]]
    assert seen["replies"]["next"] is None
    assert seen["version"] == 1, "a reply does not change the version of its parent"
    assert await harness.count() == 2


async def test_the_id_contains_the_creation_time(harness: Harness) -> None:
    comment = await harness.post_comment()
    moment = moment_of(UUID(comment["id"]))
    assert comment["created_at"] == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert abs(datetime.now(UTC) - moment) < timedelta(seconds=20)


async def test_events_carry_structure_and_no_text(harness: Harness) -> None:
    comment = await harness.post_comment(ANN, body="secret words")
    answer = await harness.post_comment(BOB, comment["id"], body="secret answer")
    await harness.edit(comment["id"], "secret edit")
    await harness.moderate(answer["id"], "hold")
    await harness.moderate(answer["id"], "approve")
    await harness.moderate(answer["id"], "reject")
    await harness.moderate(answer["id"], "restore")
    await harness.remove(answer["id"], BOB)
    events = await harness.events()
    assert [event["type"] for event in events] == [
        "posted", "posted", "edited", "held", "approved", "rejected", "restored", "removed",
    ]  # fmt: skip
    assert "secret" not in repr(events)
    assert {event["key"] for event in events} == {harness.post_id}
    assert [event["version"] for event in events if event["comment_id"] == answer["id"]] == [1, 2, 3, 4, 5, 6]
    assert [event["state"] for event in events[3:]] == ["held", "visible", "removed", "visible", "removed"]
    second = events[1]
    assert str(second["subject"]) == second["comment_id"] == answer["id"]
    assert second["post_author_id"] == str(person(WRITER))
    assert (second["parent_id"], second["parent_author_id"]) == (comment["id"], str(person(ANN)))
    assert (second["author_id"], second["depth"], second["imported"]) == (str(person(BOB)), 1, False)
    assert events[0]["parent_author_id"] is None


@pytest.mark.parametrize(
    ("discussion", "who", "state"),
    [
        ("open", ANN, "visible"),
        ("held", ANN, "held"),
        ("held", WRITER, "visible"),
        ("held", MODERATOR, "visible"),
        ("held", ADMIN, "visible"),
    ],
)
async def test_the_first_state_of_a_comment_depends_on_the_discussion_and_its_author(
    harness: Harness, discussion: str, who: Any, state: str
) -> None:
    await harness.change_post(discussion=discussion)
    comment = await harness.post_comment(who)
    assert comment["state"] == state
    assert await harness.count() == (state == "visible")


async def test_a_closed_discussion_refuses_new_comments_and_keeps_existing_ones(harness: Harness) -> None:
    comment = await harness.post_comment()
    await harness.change_post(discussion="closed")
    for who in (ANN, WRITER, ADMIN):
        assert (await refused(harness.post_comment(who))).kind == "discussion-closed"
    assert (await refused(harness.post_comment(parent=str(uuid4())))).kind == "discussion-closed", (
        "parent_id is checked last"
    )
    assert (await harness.edit(comment["id"], "Still mine"))["body"] == "Still mine"
    assert len(await harness.page()) == 1


@pytest.mark.parametrize("status", ["draft", "withdrawn"])
async def test_comments_of_an_unpublished_post_are_not_found(harness: Harness, status: str) -> None:
    comment = await harness.post_comment()
    await harness.change_post(status=status)
    for who in (NOBODY, ANN, WRITER, ADMIN):
        assert (await refused(harness.page(who))).kind == "post-unknown"
        assert (await refused(harness.read(comment["id"], who))).kind == "not-found"
        assert (await refused(queries.replies(harness.db, who, UUID(comment["id"]), None, 50))).kind == "not-found"
    assert (await refused(harness.post_comment())).kind == "post-unknown"
    assert (await refused(harness.edit(comment["id"], "x"))).kind == "not-found"
    assert (await refused(harness.moderate(comment["id"], "hold"))).kind == "not-found"
    assert await harness.count() == 0
    assert (await refused(harness.remove(comment["id"], BOB))).kind == "not-found"
    await harness.remove(comment["id"])
    await harness.remove(comment["id"], ADMIN)
    assert [event["type"] for event in await harness.events()] == ["posted", "removed"]


async def test_an_unknown_post_is_refused(harness: Harness) -> None:
    command = CreateComment(body="x")
    assert (await refused(posting.post_comment(next(harness.queues), ANN, uuid4(), command))).kind == "post-unknown"
    assert (await refused(queries.comments(harness.db, ANN, uuid4(), "oldest", None, 50))).kind == "post-unknown"
    assert await queries.counts(harness.db, [unknown := uuid4()]) == {str(unknown): 0}


async def test_writing_requires_a_person(harness: Harness) -> None:
    comment = await harness.post_comment()
    for action in (
        harness.post_comment(NOBODY),
        harness.edit(comment["id"], "x", NOBODY),
        harness.remove(comment["id"], NOBODY),
        harness.moderate(comment["id"], "hold", NOBODY),
        queries.by_state(harness.db, NOBODY, "held", None, 50),
    ):
        assert (await refused(action)).kind == "sign-in-required"


async def test_a_parent_must_exist_below_the_same_post_and_be_visible_to_the_caller(harness: Harness) -> None:
    elsewhere = await harness.post_comment()
    await harness.publish_post()
    hidden = await harness.post_comment(BOB)
    await harness.moderate(hidden["id"], "hold")
    gone = await harness.post_comment(BOB)
    await harness.remove(gone["id"], BOB)
    for parent in (str(uuid4()), elsewhere["id"], hidden["id"], gone["id"]):
        problem = await refused(harness.post_comment(ANN, parent))
        assert (problem.kind, [error.field for error in problem.errors]) == ("invalid", ["parent_id"])
    assert (await harness.post_comment(BOB, hidden["id"]))["depth"] == 1, "its author sees it and may reply"
    assert (await harness.post_comment(MODERATOR, gone["id"]))["depth"] == 1, "moderators see everything"


async def test_a_reply_below_depth_100_is_refused(harness: Harness) -> None:
    comment = await harness.post_comment()
    for _ in range(100):
        comment = await harness.post_comment(parent=comment["id"])
    assert comment["depth"] == 100
    problem = await refused(harness.post_comment(parent=comment["id"]))
    assert [error.field for error in problem.errors] == ["parent_id"]
    for limit in (1, 50, 200):
        assert [seen["depth"] for seen in await harness.walk(NOBODY, limit=limit)] == list(range(101))


async def test_the_author_edits_within_the_window(harness: Harness) -> None:
    comment = await harness.post_comment()
    edited = await harness.edit(comment["id"], "Said **better**")
    assert (edited["body"], edited["body_html"]) == ("Said **better**", "<p>Said <strong>better</strong></p>\n")
    assert edited["version"] == 2
    assert edited["edited_at"] > comment["created_at"]
    assert (await harness.edit(comment["id"], "Said **better**"))["version"] == 2, "the same text changes nothing"
    assert [event["type"] for event in await harness.events()] == ["posted", "edited"]
    late = await refused(harness.edit(comment["id"], "Too late", window=timedelta(0)))
    assert late.kind == "edit-window-over"
    for who in (BOB, MODERATOR, ADMIN):
        assert (await refused(harness.edit(comment["id"], "Not mine", who))).kind == "forbidden"
    assert (await harness.read(comment["id"]))["body_html"] == "<p>Said <strong>better</strong></p>\n"


async def test_editing_a_held_or_removed_comment(harness: Harness) -> None:
    comment = await harness.post_comment()
    reply = await harness.post_comment(BOB, comment["id"])
    await harness.moderate(reply["id"], "hold")
    assert (await harness.edit(reply["id"], "Held and better", BOB))["state"] == "held"
    assert (await refused(harness.edit(reply["id"], "x", ANN))).kind == "not-found"
    assert (await refused(harness.edit(reply["id"], "x", MODERATOR))).kind == "forbidden"
    await harness.moderate(reply["id"], "approve")
    await harness.moderate(comment["id"], "reject")
    for who in (ANN, BOB, MODERATOR):
        assert (await refused(harness.edit(comment["id"], "x", who))).kind == "not-found"
    assert (await refused(harness.edit(str(uuid4()), "x"))).kind == "not-found"


async def test_if_match_compares_versions(harness: Harness) -> None:
    comment = await harness.post_comment()
    await harness.post_comment(BOB, comment["id"])
    assert (await refused(harness.edit(comment["id"], "x", if_match='"7-abc"'))).kind == "stale"
    assert (await refused(harness.edit(comment["id"], "x", if_match='W/"1-abc"'))).kind == "stale"
    assert (await harness.edit(comment["id"], "Fresh", if_match='"1-abc"'))["version"] == 2
    assert (await refused(harness.remove(comment["id"], if_match='"1-abc"'))).kind == "stale"
    await harness.remove(comment["id"], if_match='"2-abc"')
    await harness.remove(comment["id"], if_match='"2-abc"')


async def test_removal_by_the_author_deletes_the_text(harness: Harness) -> None:
    key = request_key(ANN)
    comment = await harness.post_comment(body="secret", key=key)
    await harness.edit(comment["id"], "secret too", key=request_key(ANN, "edit", "PATCH"))
    await harness.remove(comment["id"])
    async with harness.db.reader() as reader:
        (row,) = await reader.fetch("select body, body_html, removed_by_author from comments")
        kept = await reader.fetch("select representation::text as text from idempotency_keys")
    assert (row["body"], row["body_html"], row["removed_by_author"]) == (None, None, True)
    assert len(kept) == 2
    assert not any("secret" in answer["text"] for answer in kept)
    queue = next(harness.queues)
    again = await posting.post_comment(queue, ANN, harness.post_id, CreateComment(body="secret"), key)
    assert (again.status, again.replayed, again.representation["id"]) == (201, True, comment["id"])
    assert (again.representation["body"], again.representation["body_html"]) == (None, None)
    assert (await refused(harness.moderate(comment["id"], "restore"))).kind == "wrong-state"
    whole = await harness.read(comment["id"], MODERATOR)
    assert (whole["state"], whole["author_id"], whole["body_html"]) == ("removed", str(person(ANN)), None)


async def test_a_comment_removed_by_a_moderator_can_be_restored(harness: Harness) -> None:
    comment = await harness.post_comment(body="Kept")
    await harness.remove(comment["id"], MODERATOR)
    assert (await refused(harness.read(comment["id"], ANN))).kind == "not-found"
    assert (await harness.read(comment["id"], MODERATOR))["body"] == "Kept"
    assert (await harness.moderate(comment["id"], "restore"))["state"] == "visible"
    await harness.remove(comment["id"], MODERATOR)
    await harness.remove(comment["id"], ANN)
    assert (await refused(harness.moderate(comment["id"], "restore"))).kind == "wrong-state"
    assert [event["type"] for event in await harness.events()] == [
        "posted",
        "removed",
        "restored",
        "removed",
        "removed",
    ]
    assert [event["version"] for event in await harness.events()] == [1, 2, 3, 4, 5]


async def test_removal_is_refused_to_other_people(harness: Harness) -> None:
    comment = await harness.post_comment()
    assert (await refused(harness.remove(comment["id"], BOB))).kind == "forbidden"
    assert (await refused(harness.remove(comment["id"], WRITER))).kind == "forbidden"
    assert (await refused(harness.remove(str(uuid4()), ADMIN))).kind == "not-found"
    await harness.moderate(comment["id"], "hold")
    assert (await refused(harness.remove(comment["id"], BOB))).kind == "not-found"
    await harness.remove(comment["id"])
    assert (await refused(harness.remove(comment["id"], BOB))).kind == "not-found"
    for _ in range(2):
        await harness.remove(comment["id"])
        await harness.remove(comment["id"], MODERATOR)
