"""Posting, answering, editing and removing on a real PostgreSQL: state and event in one transaction."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.ids import moment_of
from services.comments import commands, queries
from services.contracts.comments import CreateComment
from tests.integration.comments_harness import (
    ADMIN,
    ANN,
    BOB,
    MODERATOR,
    NOBODY,
    WRITER,
    House,
    person,
    refused,
    request_key,
)


@pytest.fixture
async def house(new_database: Callable[..., Awaitable[Any]]) -> House:
    made = House(await new_database("services.chassis", "services.comments"))
    await made.post()
    return made


async def test_a_comment_and_its_answer(house: House) -> None:
    comment = await house.say(ANN, body="First *words*, https://example.org/x")
    answer = await house.say(BOB, comment["id"])
    assert comment["body_html"].startswith("<p>First <em>words</em>, <a href=")
    assert (comment["body"], comment["format"]) == ("First *words*, https://example.org/x", "markdown")
    assert (comment["state"], comment["depth"], comment["parent_id"], comment["version"]) == ("visible", 0, None, 1)
    assert (answer["depth"], answer["parent_id"]) == (1, comment["id"])

    (seen,) = await house.page()
    assert "body" not in seen
    assert "format" not in seen
    assert seen["author_id"] == str(ANN.person_id)
    assert seen["reply_count"] == 1
    assert [reply["id"] for reply in seen["replies"]["items"]] == [answer["id"]]
    assert seen["replies"]["next"] is None
    assert seen["version"] == 1, "a reply does not change the version of what it answers"
    assert await house.count() == 2


async def test_the_id_carries_the_moment_of_creation(house: House) -> None:
    comment = await house.say()
    moment = moment_of(UUID(comment["id"]))
    assert comment["created_at"] == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert abs(datetime.now(UTC) - moment) < timedelta(seconds=20)


async def test_each_fact_is_told_with_its_structure_and_without_text(house: House) -> None:
    comment = await house.say(ANN, body="secret words")
    answer = await house.say(BOB, comment["id"], body="secret answer")
    await house.edit(comment["id"], "secret edit")
    await house.moderate(answer["id"], "hold")
    await house.moderate(answer["id"], "approve")
    await house.moderate(answer["id"], "reject")
    await house.moderate(answer["id"], "restore")
    await house.remove(answer["id"], BOB)
    told = await house.events()
    assert [event["type"] for event in told] == [
        "posted", "posted", "edited", "held", "approved", "rejected", "restored", "removed",
    ]  # fmt: skip
    assert "secret" not in repr(told)
    assert {event["key"] for event in told} == {house.post_id}
    assert [event["version"] for event in told if event["comment_id"] == answer["id"]] == [1, 2, 3, 4, 5, 6]
    assert [event["state"] for event in told[3:]] == ["held", "visible", "removed", "visible", "removed"]
    second = told[1]
    assert str(second["subject"]) == second["comment_id"] == answer["id"]
    assert second["post_author_id"] == str(person(WRITER))
    assert (second["parent_id"], second["parent_author_id"]) == (comment["id"], str(person(ANN)))
    assert (second["author_id"], second["depth"], second["imported"]) == (str(person(BOB)), 1, False)
    assert told[0]["parent_author_id"] is None


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
async def test_who_waits_in_a_held_discussion(house: House, discussion: str, who: Any, state: str) -> None:
    await house.change_post(discussion=discussion)
    comment = await house.say(who)
    assert comment["state"] == state
    assert await house.count() == (state == "visible")


async def test_a_closed_discussion_takes_no_comment_but_keeps_the_others(house: House) -> None:
    comment = await house.say()
    await house.change_post(discussion="closed")
    for who in (ANN, WRITER, ADMIN):
        assert (await refused(house.say(who))).kind == "discussion-closed"
    assert (await refused(house.say(parent=str(uuid4())))).kind == "discussion-closed", "parent_id comes last"
    assert (await house.edit(comment["id"], "Still mine"))["body"] == "Still mine"
    assert len(await house.page()) == 1


@pytest.mark.parametrize("status", ["draft", "withdrawn"])
async def test_comments_of_an_unpublished_post_are_not_there(house: House, status: str) -> None:
    comment = await house.say()
    await house.change_post(status=status)
    for who in (NOBODY, ANN, WRITER, ADMIN):
        assert (await refused(house.page(who))).kind == "post-unknown"
        assert (await refused(house.see(comment["id"], who))).kind == "not-found"
        assert (await refused(queries.replies(house.db, who, UUID(comment["id"]), None, 50))).kind == "not-found"
    assert (await refused(house.say())).kind == "post-unknown"
    assert (await refused(house.edit(comment["id"], "x"))).kind == "not-found"
    assert (await refused(house.moderate(comment["id"], "hold"))).kind == "not-found"
    assert await house.count() == 0
    assert (await refused(house.remove(comment["id"], BOB))).kind == "not-found"
    await house.remove(comment["id"])
    await house.remove(comment["id"], ADMIN)
    assert [event["type"] for event in await house.events()] == ["posted", "removed"]


async def test_an_unknown_post(house: House) -> None:
    command = CreateComment(body="x")
    assert (await refused(commands.post_comment(house.db, ANN, uuid4(), command))).kind == "post-unknown"
    assert (await refused(queries.comments(house.db, ANN, uuid4(), "oldest", None, 50))).kind == "post-unknown"
    assert await queries.counts(house.db, [unknown := uuid4()]) == {str(unknown): 0}


async def test_nobody_writes_without_being_signed_in(house: House) -> None:
    comment = await house.say()
    for doing in (
        house.say(NOBODY),
        house.edit(comment["id"], "x", NOBODY),
        house.remove(comment["id"], NOBODY),
        house.moderate(comment["id"], "hold", NOBODY),
        queries.held(house.db, NOBODY, None, 50),
    ):
        assert (await refused(doing)).kind == "sign-in-required"


async def test_a_parent_must_be_there_here_and_visible(house: House) -> None:
    elsewhere = await house.say()
    await house.post()
    hidden = await house.say(BOB)
    await house.moderate(hidden["id"], "hold")
    gone = await house.say(BOB)
    await house.remove(gone["id"], BOB)
    for parent in (str(uuid4()), elsewhere["id"], hidden["id"], gone["id"]):
        problem = await refused(house.say(ANN, parent))
        assert (problem.kind, [error.field for error in problem.errors]) == ("invalid", ["parent_id"])
    assert (await house.say(BOB, hidden["id"]))["depth"] == 1, "its author sees it and may go on"
    assert (await house.say(MODERATOR, gone["id"]))["depth"] == 1, "moderators see everything"


async def test_no_reply_below_depth_100(house: House) -> None:
    comment = await house.say()
    for _ in range(100):
        comment = await house.say(parent=comment["id"])
    assert comment["depth"] == 100
    problem = await refused(house.say(parent=comment["id"]))
    assert [error.field for error in problem.errors] == ["parent_id"]
    for limit in (1, 50, 200):
        assert [seen["depth"] for seen in await house.walk(NOBODY, limit=limit)] == list(range(101))


async def test_its_author_edits_within_the_window(house: House) -> None:
    comment = await house.say()
    edited = await house.edit(comment["id"], "Said **better**")
    assert (edited["body"], edited["body_html"]) == ("Said **better**", "<p>Said <strong>better</strong></p>\n")
    assert edited["version"] == 2
    assert edited["edited_at"] > comment["created_at"]
    assert (await house.edit(comment["id"], "Said **better**"))["version"] == 2, "the same words change nothing"
    assert [event["type"] for event in await house.events()] == ["posted", "edited"]
    late = await refused(house.edit(comment["id"], "Too late", window=timedelta(0)))
    assert late.kind == "edit-window-over"
    for who in (BOB, MODERATOR, ADMIN):
        assert (await refused(house.edit(comment["id"], "Not mine", who))).kind == "forbidden"
    assert (await house.see(comment["id"]))["body_html"] == "<p>Said <strong>better</strong></p>\n"


async def test_editing_what_is_held_or_gone(house: House) -> None:
    comment = await house.say()
    reply = await house.say(BOB, comment["id"])
    await house.moderate(reply["id"], "hold")
    assert (await house.edit(reply["id"], "Held and better", BOB))["state"] == "held"
    assert (await refused(house.edit(reply["id"], "x", ANN))).kind == "not-found"
    assert (await refused(house.edit(reply["id"], "x", MODERATOR))).kind == "forbidden"
    await house.moderate(reply["id"], "approve")
    await house.moderate(comment["id"], "reject")
    for who in (ANN, BOB, MODERATOR):
        assert (await refused(house.edit(comment["id"], "x", who))).kind == "not-found"
    assert (await refused(house.edit(str(uuid4()), "x"))).kind == "not-found"


async def test_if_match_compares_versions(house: House) -> None:
    comment = await house.say()
    await house.say(BOB, comment["id"])
    assert (await refused(house.edit(comment["id"], "x", if_match='"7-abc"'))).kind == "stale"
    assert (await refused(house.edit(comment["id"], "x", if_match='W/"1-abc"'))).kind == "stale"
    assert (await house.edit(comment["id"], "Fresh", if_match='"1-abc"'))["version"] == 2
    assert (await refused(house.remove(comment["id"], if_match='"1-abc"'))).kind == "stale"
    await house.remove(comment["id"], if_match='"2-abc"')
    await house.remove(comment["id"], if_match='"2-abc"')


async def test_what_its_author_removes_is_blanked_for_ever(house: House) -> None:
    key = request_key(ANN)
    comment = await house.say(body="secret", key=key)
    await house.edit(comment["id"], "secret too", key=request_key(ANN, "edit", "PATCH"))
    await house.remove(comment["id"])
    async with house.db.reader() as reader:
        (row,) = await reader.fetch("select body, body_html, removed_by_author from comments")
        kept = await reader.fetch("select representation::text as text from idempotency_keys")
    assert (row["body"], row["body_html"], row["removed_by_author"]) == (None, None, True)
    assert len(kept) == 2
    assert not any("secret" in answer["text"] for answer in kept)
    again = await commands.post_comment(house.db, ANN, house.post_id, CreateComment(body="secret"), key)
    assert again.representation is not None
    assert (again.status, again.replayed, again.representation["id"]) == (201, True, comment["id"])
    assert (again.representation["body"], again.representation["body_html"]) == (None, None)
    assert (await refused(house.moderate(comment["id"], "restore"))).kind == "wrong-state"
    whole = await house.see(comment["id"], MODERATOR)
    assert (whole["state"], whole["author_id"], whole["body_html"]) == ("removed", str(person(ANN)), None)


async def test_what_a_moderator_removes_can_come_back(house: House) -> None:
    comment = await house.say(body="Kept")
    await house.remove(comment["id"], MODERATOR)
    assert (await refused(house.see(comment["id"], ANN))).kind == "not-found"
    assert (await house.see(comment["id"], MODERATOR))["body"] == "Kept"
    assert (await house.moderate(comment["id"], "restore"))["state"] == "visible"
    await house.remove(comment["id"], MODERATOR)
    await house.remove(comment["id"], ANN)
    assert (await refused(house.moderate(comment["id"], "restore"))).kind == "wrong-state"
    assert [event["type"] for event in await house.events()] == ["posted", "removed", "restored", "removed", "removed"]
    assert [event["version"] for event in await house.events()] == [1, 2, 3, 4, 5]


async def test_who_may_not_remove(house: House) -> None:
    comment = await house.say()
    assert (await refused(house.remove(comment["id"], BOB))).kind == "forbidden"
    assert (await refused(house.remove(comment["id"], WRITER))).kind == "forbidden"
    assert (await refused(house.remove(str(uuid4()), ADMIN))).kind == "not-found"
    await house.moderate(comment["id"], "hold")
    assert (await refused(house.remove(comment["id"], BOB))).kind == "not-found"
    await house.remove(comment["id"])
    assert (await refused(house.remove(comment["id"], BOB))).kind == "not-found"
    for _ in range(2):
        await house.remove(comment["id"])
        await house.remove(comment["id"], MODERATOR)
