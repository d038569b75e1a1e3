"""Which step follows which state, and what each reader finds in its place afterwards."""

from collections.abc import Awaitable, Callable
from typing import Any, get_args
from uuid import UUID

import pytest

from services.comments import queries
from services.comments.domain.comment import Step
from tests.integration.comments_harness import ADMIN, ANN, BOB, MODERATOR, NOBODY, WRITER, House, refused, request_key


@pytest.fixture
async def house(new_database: Callable[..., Awaitable[Any]]) -> House:
    made = House(await new_database("services.chassis", "services.comments"))
    await made.post()
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
    ],
)
async def test_each_step_from_each_state(house: House, before: str, step: Step, after: str | None) -> None:
    comment = await house.say()
    for first in STEPS_TO[before]:
        await house.moderate(comment["id"], first)
    told = len(await house.events())
    if after is None:
        assert (await refused(house.moderate(comment["id"], step))).kind == "wrong-state"
        assert (await house.see(comment["id"], MODERATOR))["state"] == before
    else:
        seen = await house.moderate(comment["id"], step, ADMIN)
        assert (seen["state"], seen["body"]) == (after, "Some *words*.")
        assert (await house.moderate(comment["id"], step))["version"] == seen["version"], "twice changes nothing"
    assert len(await house.events()) - told == int(after not in (None, before))


@pytest.mark.parametrize("step", get_args(Step))
async def test_only_moderators_take_steps(house: House, step: Step) -> None:
    comment = await house.say()
    for who in (ANN, BOB, WRITER):
        assert (await refused(house.moderate(comment["id"], step, who))).kind == "forbidden"
    await house.moderate(comment["id"], "hold")
    assert (await refused(house.moderate(comment["id"], step, ANN))).kind == "forbidden", "its author sees it"
    assert (await refused(house.moderate(comment["id"], step, BOB))).kind == "not-found", "nobody else does"


async def test_a_held_leaf_is_there_for_its_author_and_moderators_only(house: House) -> None:
    comment = await house.say(ANN)
    await house.moderate(comment["id"], "hold")
    for who in (ANN, MODERATOR, ADMIN):
        (seen,) = await house.page(who)
        assert (seen["state"], seen["body"]) == ("held", "Some *words*.")
        assert (await house.see(comment["id"], who))["state"] == "held"
    for who in (NOBODY, BOB, WRITER):
        assert await house.page(who) == []
        assert (await refused(house.see(comment["id"], who))).kind == "not-found"
    assert await house.count() == 0


@pytest.mark.parametrize("step", ["hold", "reject"])
async def test_a_tombstone_stands_while_a_reply_below_it_is_shown(house: House, step: Step) -> None:
    top = await house.say(ANN)
    middle = await house.say(ANN, top["id"])
    leaf = await house.say(BOB, middle["id"])
    await house.moderate(top["id"], step)
    await house.moderate(middle["id"], step)
    for who in (NOBODY, WRITER, BOB, *([ANN] if step == "reject" else [])):
        (grave,) = await house.page(who)
        assert (grave["state"], grave["author_id"], grave["body_html"], grave["edited_at"]) == (
            "removed", None, None, None,
        )  # fmt: skip
        assert "body" not in grave
        assert grave["replies"]["items"][0]["replies"]["items"][0]["id"] == leaf["id"]
        assert (await house.see(middle["id"], who))["state"] == "removed"
    (whole,) = await house.page(MODERATOR)
    assert (whole["author_id"], whole["body"]) == (str(ANN.person_id), "Some *words*.")
    assert whole["state"] == ("held" if step == "hold" else "removed")
    assert await house.count() == 1
    assert grave["reply_count"] == 0
    await house.remove(leaf["id"], BOB)
    assert await house.page() == [], "it goes with the last shown reply"
    assert await house.count() == 0
    await house.moderate(middle["id"], "approve" if step == "hold" else "restore")
    assert [comment["id"] for comment in await house.walk(NOBODY)] == [top["id"], middle["id"]]


async def test_an_author_sees_the_tombstones_above_their_own_held_reply(house: House) -> None:
    top = await house.say(BOB)
    reply = await house.say(ANN, top["id"])
    await house.moderate(reply["id"], "hold")
    await house.moderate(top["id"], "reject")
    assert [(seen["id"], seen["state"]) for seen in await house.walk(ANN)] == [
        (top["id"], "removed"),
        (reply["id"], "held"),
    ]
    assert (await house.see(top["id"], ANN))["author_id"] is None
    assert await house.walk(NOBODY) == []
    assert (await house.say(ANN, reply["id"]))["state"] == "visible"
    assert len(await house.walk(NOBODY)) == 3, "now everybody finds the answer, below two tombstones"


async def test_the_queue_of_what_is_held(house: House) -> None:
    await house.change_post(discussion="held")
    held = [(await house.say(who))["id"] for who in (ANN, BOB, ANN, BOB)]
    answer = await house.say(MODERATOR, held[0])
    withdrawn = house.post_id
    await house.post()
    later = await house.say()
    await house.moderate(later["id"], "hold")
    first = await queries.held(house.db, MODERATOR, None, 3)
    second = await queries.held(house.db, ADMIN, first["next"], 3)
    assert [comment["id"] for comment in first["items"] + second["items"]] == [*held, later["id"]]
    assert second["next"] is None
    assert first["items"][0]["body"] == "Some *words*."
    replies = first["items"][0]["replies"]
    assert replies["items"] == []
    page = await queries.replies(house.db, MODERATOR, UUID(held[0]), replies["next"], 50)
    assert [comment["id"] for comment in page["items"]] == [answer["id"]]
    for who in (ANN, WRITER):
        assert (await refused(queries.held(house.db, who, None, 50))).kind == "forbidden"
    house.post_id = withdrawn
    await house.change_post(status="withdrawn")
    assert [comment["id"] for comment in (await queries.held(house.db, MODERATOR, None, 50))["items"]] == [later["id"]]


async def test_a_step_repeated_under_its_key_answers_as_then_with_the_replies_of_now(house: House) -> None:
    comment = await house.say()
    reply = await house.say(BOB, comment["id"], body="secret")
    key = request_key(MODERATOR, "hold")
    then = await house.moderate(comment["id"], "hold", key=key)
    assert [seen["id"] for seen in then["replies"]["items"]] == [reply["id"]]
    await house.moderate(comment["id"], "approve")
    await house.remove(reply["id"], BOB)
    async with house.db.reader() as reader:
        assert "secret" not in await reader.fetchval("select representation::text from idempotency_keys")
    again = await house.moderate(comment["id"], "hold", key=key)
    assert (again["state"], again["version"]) == ("held", 3), "as it was then, with the version of now"
    assert [seen["state"] for seen in again["replies"]["items"]] == ["removed"]
    assert (await house.see(comment["id"]))["state"] == "visible"
