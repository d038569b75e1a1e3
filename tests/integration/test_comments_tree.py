"""Random trees, states, readers and page sizes: what is kept equals what follows from the rows, and what readers find
by following every `next` equals what the rules let them see.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.comments import commands, queries
from services.comments.domain.tree import INLINE_LEVELS
from services.comments.pages import ROOM
from services.contracts.comments import ImportComment
from services.contracts.people import is_moderator
from tests.integration.comments_harness import ANN, BOB, MODERATOR, NOBODY, WRITER, House, person

PEOPLE = (ANN, BOB, WRITER, MODERATOR)
SORTS: tuple[queries.Sort, ...] = ("oldest", "newest")


@pytest.fixture
async def house(new_database: Callable[..., Awaitable[Any]]) -> House:
    made = House(await new_database("services.chassis", "services.comments"))
    await made.post()
    return made


@dataclass(frozen=True)
class Truth:
    """One comment, and only what nothing else follows from."""

    id: UUID
    parent_id: UUID | None
    author_id: UUID
    state: str


class Tree:
    """What follows from the bare rows by the rules of the API, worked out the slow way."""

    def __init__(self, rows: list[Truth]) -> None:
        self.rows = {row.id: row for row in rows}
        self.replies: dict[UUID | None, list[Truth]] = {}
        for row in sorted(rows, key=lambda row: row.id):
            self.replies.setdefault(row.parent_id, []).append(row)

    def finds(self, row: Truth, who: Caller) -> bool:
        whole = is_moderator(who.roles) or row.state == "visible" or self.waits_for(row, who)
        return whole or any(self.finds(reply, who) for reply in self.replies.get(row.id, []))

    @staticmethod
    def waits_for(row: Truth, who: Caller) -> bool:
        return row.state == "held" and row.author_id == who.person_id

    def expected(self, who: Caller, sort: str) -> list[tuple[str, str]]:
        """Id and state as seen, in the order of a walk."""
        order: list[tuple[str, str]] = []

        def visit(row: Truth) -> None:
            if self.finds(row, who):
                whole = is_moderator(who.roles) or row.state == "visible" or self.waits_for(row, who)
                order.append((str(row.id), row.state if whole else "removed"))
                for reply in self.replies.get(row.id, []):
                    visit(reply)

        tops = self.replies.get(None, [])
        for top in reversed(tops) if sort == "newest" else tops:
            visit(top)
        return order


async def read(house: House) -> list[dict[str, Any]]:
    async with house.db.reader() as reader:
        rows = await reader.fetch(
            "select id, parent_id, author_id, state, shown, reply_count, shown_replies, all_replies from comments "
            "where post_id = $1",
            house.post_id,
        )
    return [dict(row) for row in rows]


async def check(house: House, dice: random.Random) -> None:
    rows = await read(house)
    tree = Tree([Truth(row["id"], row["parent_id"], row["author_id"], row["state"]) for row in rows])
    for row in rows:
        truth, replies = tree.rows[row["id"]], tree.replies.get(row["id"], [])
        assert row["shown"] == tree.finds(truth, NOBODY)
        assert row["reply_count"] == sum(reply.state == "visible" for reply in replies)
        assert row["shown_replies"] == sum(tree.finds(reply, NOBODY) for reply in replies)
        assert row["all_replies"] == len(replies)
    assert await house.count() == sum(row["state"] == "visible" for row in rows)
    for who in (NOBODY, *PEOPLE):
        sort, limit = dice.choice(SORTS), dice.choice((1, 2, 3, 5, 20, 50, 200))
        walked = await house.walk(who, sort, limit)
        assert [(seen["id"], seen["state"]) for seen in walked] == tree.expected(who, sort), (who, sort, limit)
        for seen in walked:
            assert len(seen["replies"]["items"]) <= max(2 * limit, ROOM)
            if seen["replies"]["next"]:
                assert len(seen["replies"]["items"]) < len(
                    [reply for reply in tree.replies[UUID(seen["id"])] if tree.finds(reply, who)]
                )
    visible = [seen for seen in await house.walk(NOBODY) if seen["state"] == "visible"]
    assert await house.count() == len(visible), "what a reader without a name counts"


DEEDS = ("say", "reply", "import", "remove", "hold", "approve", "reject", "restore")


async def take_over(house: House, dice: random.Random, who: Caller) -> str:
    """Import an old comment, perhaps below an earlier one that is dated later."""
    async with house.db.reader() as reader:
        there = [row["source_id"] for row in await reader.fetch("select source_id from comments where imported")]
    command = ImportComment(
        site="blog.example",
        source_id=str(dice.random()),
        post_id=house.post_id,
        author_id=person(who),
        parent_source_id=dice.choice(there) if there and dice.random() < 0.8 else None,
        state=dice.choice(("visible", "visible", "held")),
        created_at=datetime(2010, 1, 1, tzinfo=UTC) + timedelta(days=dice.randrange(3000)),
    )
    return str((await commands.import_comment(house.db, command))[0])


async def act(house: House, dice: random.Random, ids: list[str]) -> None:
    """One random step of somebody. Refusals are part of it; everything else is not."""
    who = dice.choice(PEOPLE)
    deed = dice.choices(DEEDS, (3, 9, 3, 2, 3, 2, 2, 2))[0]
    try:
        if deed == "say" or not ids:
            ids.append((await house.say(who, body="x"))["id"])
        elif deed == "reply":
            ids.append((await house.say(who, dice.choice(ids[-12:] if dice.random() < 0.5 else ids), "x"))["id"])
        elif deed == "import":
            ids.append(await take_over(house, dice, who))
        elif deed == "remove":
            await house.remove(dice.choice(ids), who)
        else:
            await house.moderate(dice.choice(ids), deed)  # type: ignore[arg-type]  # one of the steps
    except Problem as problem:
        assert problem.kind in {"invalid", "forbidden", "not-found", "wrong-state"}, problem


@pytest.mark.parametrize("seed", range(6))
async def test_one_after_another(house: House, seed: int) -> None:
    dice = random.Random(seed)
    ids: list[str] = []
    for discussion in ("open", "held", "open"):
        await house.change_post(discussion=discussion)
        for _ in range(35):
            await act(house, dice, ids)
        await check(house, dice)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_all_at_once(house: House, seed: int, grouped: bool) -> None:
    house.storing = commands.Group(house.db).store if grouped else None
    dice = random.Random(100 + seed)
    ids = [(await house.say(body="x"))["id"]]
    for discussion in ("open", "held"):
        await house.change_post(discussion=discussion)
        for _ in range(10):
            await asyncio.gather(*(act(house, dice, ids) for _ in range(8)))
    await check(house, dice)


async def test_the_first_page_goes_as_deep_and_as_far_as_it_may(house: House) -> None:
    top = comment = await house.say(body="x")
    for _ in range(INLINE_LEVELS + 5):
        comment = await house.say(parent=comment["id"], body="x")
    for _ in range(ROOM):
        await house.say(parent=top["id"], body="x")
    (seen,) = await house.page()
    deep, levels = seen, 0
    while deep["replies"]["items"]:
        deep, levels = deep["replies"]["items"][0], levels + 1
    assert levels == INLINE_LEVELS
    assert deep["replies"]["next"]
    assert len(seen["replies"]["items"]) == ROOM - 1 - (INLINE_LEVELS + 5) + 1
    assert len(await house.walk(NOBODY)) == INLINE_LEVELS + 6 + ROOM


async def test_every_entry_gets_its_share_of_the_room(house: House) -> None:
    tops = [(await house.say(body="x"))["id"] for _ in range(4)]
    for top in tops[1:3]:
        for _ in range(ROOM // 2):
            await house.say(parent=top, body="x")
    share = (ROOM - len(tops)) // 2
    page = await house.page()
    assert [len(seen["replies"]["items"]) for seen in page] == [0, share, share, 0]
    assert [bool(seen["replies"]["next"]) for seen in page] == [False, True, True, False]


async def test_a_full_page_still_begins_every_discussion(house: House) -> None:
    for _ in range(ROOM // 2 + 1):
        top = await house.say(body="x")
        await house.say(parent=top["id"], body="x")
    page = await house.page(limit=ROOM // 2)
    assert [len(seen["replies"]["items"]) for seen in page] == [1] * (ROOM // 2)


async def test_a_cursor_belongs_to_its_list_and_sort(house: House) -> None:
    first, second = [(await house.say(body="x"))["id"] for _ in range(2)]
    for parent in (first, first, second, second):
        await house.say(parent=parent, body="x")
    page = await queries.comments(house.db, NOBODY, house.post_id, "oldest", None, 1)
    replies = await queries.replies(house.db, NOBODY, UUID(first), None, 1)
    assert (await queries.comments(house.db, NOBODY, house.post_id, "oldest", page["next"], 7))["items"]
    other = House(house.db)
    await other.post()
    for doing in (
        queries.comments(house.db, NOBODY, house.post_id, "newest", page["next"], 1),
        queries.comments(house.db, NOBODY, other.post_id, "oldest", page["next"], 1),
        queries.comments(house.db, NOBODY, house.post_id, "oldest", replies["next"], 1),
        queries.replies(house.db, NOBODY, UUID(second), replies["next"], 1),
        queries.held(house.db, MODERATOR, page["next"], 1),
        queries.comments(house.db, NOBODY, house.post_id, "oldest", "nonsense", 1),
    ):
        with pytest.raises(Problem) as refusal:
            await doing
        assert refusal.value.kind == "malformed-cursor"
