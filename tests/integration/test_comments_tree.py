"""Random trees, states, callers and page sizes: kept counts equal those computed from the rows, and what a caller finds
by following every `next` equals what the rules of the API show them.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any
from uuid import UUID

import pytest

from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.comments import queries
from services.comments.commands import importing, posting
from services.comments.domain.tree import INLINE_LEVELS
from services.comments.store.comment_rows import MOST_OWN, OWN_BYTES
from services.contracts.comments import ROOM, ImportComment
from services.contracts.people import is_moderator
from tests.integration.comments_harness import ADMIN, ANN, BOB, MODERATOR, NOBODY, WRITER, Harness, person

PEOPLE = (ANN, BOB, WRITER, MODERATOR)
SORTS: tuple[queries.Sort, ...] = ("oldest", "newest")


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    made = Harness(await new_database("services.chassis", "services.comments"))
    await made.publish_post()
    return made


@dataclass(frozen=True)
class Truth:
    """The columns of a comment from which the others follow."""

    id: UUID
    parent_id: UUID | None
    author_id: UUID
    state: str


class Tree:
    """The tree as the rules of the API define it, computed from all rows."""

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
        """Return id and state as seen, in the order of a walk."""
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


async def read(harness: Harness) -> list[dict[str, Any]]:
    async with harness.db.reader() as reader:
        rows = await reader.fetch(
            "select id, parent_id, author_id, state, shown, reply_count, shown_replies, all_replies from comments "
            "where post_id = $1",
            harness.post_id,
        )
    return [dict(row) for row in rows]


async def check(harness: Harness, rng: random.Random) -> None:
    rows = await read(harness)
    tree = Tree([Truth(row["id"], row["parent_id"], row["author_id"], row["state"]) for row in rows])
    for row in rows:
        truth, replies = tree.rows[row["id"]], tree.replies.get(row["id"], [])
        assert row["shown"] == tree.finds(truth, NOBODY)
        assert row["reply_count"] == sum(reply.state == "visible" for reply in replies)
        assert row["shown_replies"] == sum(tree.finds(reply, NOBODY) for reply in replies)
        assert row["all_replies"] == len(replies)
    assert await harness.count() == sum(row["state"] == "visible" for row in rows)
    for who in (NOBODY, *PEOPLE):
        sort, limit = rng.choice(SORTS), rng.choice((1, 2, 3, 5, 20, 50, 200))
        walked = await harness.walk(who, sort, limit)
        assert [(seen["id"], seen["state"]) for seen in walked] == tree.expected(who, sort), (who, sort, limit)
        for seen in walked:
            assert len(seen["replies"]["items"]) <= max(2 * limit, ROOM)
            if seen["replies"]["next"]:
                assert len(seen["replies"]["items"]) < len(
                    [reply for reply in tree.replies[UUID(seen["id"])] if tree.finds(reply, who)]
                )
    visible = [seen for seen in await harness.walk(NOBODY) if seen["state"] == "visible"]
    assert await harness.count() == len(visible), "the count is what an anonymous caller sees"
    await check_what_gateways_share(harness, rng)


async def check_what_gateways_share(harness: Harness, rng: random.Random) -> None:
    """What everybody sees, with their own texts in it, is what a person sees; all moderators see the same."""
    sort, limit = rng.choice(SORTS), rng.choice((1, 3, 50))
    for who in (ANN, BOB, WRITER):
        texts = await queries.own_below(harness.db, who, harness.post_id)
        seen, anonymous = await harness.page(who, sort, limit), await harness.page(NOBODY, sort, limit)
        own = {text["id"]: {"body": text["body"], "format": text["format"]} for text in texts or ()}
        if texts is not None:
            assert [with_texts(one, own) for one in anonymous] == seen
        rows = await read(harness)
        held = [row for row in rows if row["state"] == "held" and row["author_id"] == who.person_id]
        assert (texts is None) == bool(held)
    assert await harness.page(MODERATOR, sort, limit) == await harness.page(ADMIN, sort, limit)


def with_texts(comment: dict[str, Any], own: dict[str, dict[str, str]]) -> dict[str, Any]:
    replies = comment["replies"]
    below = replies | {"items": [with_texts(one, own) for one in replies["items"]]}
    return comment | own.get(comment["id"], {}) | {"replies": below}


async def test_more_or_longer_texts_of_ones_own_are_not_told_apart(harness: Harness) -> None:
    for body in ("x", "x" * OWN_BYTES):
        await harness.post_comment(body=body)
    found = await queries.own_below(harness.db, ANN, harness.post_id)
    assert found is not None
    assert sorted(len(one["body"]) for one in found) == [1, OWN_BYTES]
    long = await harness.post_comment(BOB, body="x" * (OWN_BYTES + 1))
    assert await queries.own_below(harness.db, BOB, harness.post_id) is None
    await harness.remove(long["id"], BOB)
    assert await queries.own_below(harness.db, BOB, harness.post_id) == []
    for _ in range(MOST_OWN):
        await harness.post_comment(BOB)
    assert await queries.own_below(harness.db, BOB, harness.post_id) is not None
    await harness.post_comment(BOB)
    assert await queries.own_below(harness.db, BOB, harness.post_id) is None


ACTIONS = ("comment", "reply", "import", "remove", "hold", "approve", "reject", "restore")


async def import_random(harness: Harness, rng: random.Random, who: Caller) -> str:
    """Import an old comment, perhaps below an earlier one that is dated later."""
    async with harness.db.reader() as reader:
        there = [row["source_id"] for row in await reader.fetch("select source_id from comments where imported")]
    command = ImportComment(
        site="blog.example",
        source_id=str(rng.random()),
        post_id=harness.post_id,
        author_id=person(who),
        parent_source_id=rng.choice(there) if there and rng.random() < 0.8 else None,
        state=rng.choice(("visible", "visible", "held")),
        created_at=datetime(2010, 1, 1, tzinfo=UTC) + timedelta(days=rng.randrange(3000)),
    )
    return str((await importing.import_comment(harness.db, command))[0])


async def act(harness: Harness, rng: random.Random, ids: list[str]) -> None:
    """Take one random action of a random person, which may be refused but must not fail otherwise."""
    who = rng.choice(PEOPLE)
    action = rng.choices(ACTIONS, (3, 9, 3, 2, 3, 2, 2, 2))[0]
    try:
        if action == "comment" or not ids:
            ids.append((await harness.post_comment(who))["id"])
        elif action == "reply":
            ids.append((await harness.post_comment(who, rng.choice(ids[-12:] if rng.random() < 0.5 else ids)))["id"])
        elif action == "import":
            ids.append(await import_random(harness, rng, who))
        elif action == "remove":
            await harness.remove(rng.choice(ids), who)
        else:
            await harness.moderate(rng.choice(ids), action)  # type: ignore[arg-type]  # one of the steps
    except Problem as problem:
        assert problem.kind in {"invalid", "forbidden", "not-found", "wrong-state"}, problem


@pytest.mark.parametrize("seed", range(6))
async def test_random_actions_in_sequence(harness: Harness, seed: int) -> None:
    rng = random.Random(seed)
    ids: list[str] = []
    for discussion in ("open", "held", "open"):
        await harness.change_post(discussion=discussion)
        for _ in range(35):
            await act(harness, rng, ids)
        await check(harness, rng)


@pytest.mark.parametrize("processes", [1, 8])
@pytest.mark.parametrize("seed", range(3))
async def test_random_actions_at_the_same_time(harness: Harness, seed: int, processes: int) -> None:
    harness.queues = cycle([posting.PostingQueue(harness.db) for _ in range(processes)])
    rng = random.Random(100 + seed)
    ids = [(await harness.post_comment())["id"]]
    for discussion in ("open", "held"):
        await harness.change_post(discussion=discussion)
        for _ in range(10):
            await asyncio.gather(*(act(harness, rng, ids) for _ in range(8)))
    await check(harness, rng)


async def test_a_page_is_bounded_in_levels_and_comments(harness: Harness) -> None:
    top = comment = await harness.post_comment()
    for _ in range(INLINE_LEVELS + 5):
        comment = await harness.post_comment(parent=comment["id"])
    for _ in range(ROOM):
        await harness.post_comment(parent=top["id"])
    (seen,) = await harness.page()
    deep, levels = seen, 0
    while deep["replies"]["items"]:
        deep, levels = deep["replies"]["items"][0], levels + 1
    assert levels == INLINE_LEVELS
    assert deep["replies"]["next"]
    assert len(seen["replies"]["items"]) == ROOM - 1 - (INLINE_LEVELS + 5) + 1
    assert len(await harness.walk(NOBODY)) == INLINE_LEVELS + 6 + ROOM


async def test_entries_share_the_room_for_inlined_replies(harness: Harness) -> None:
    tops = [(await harness.post_comment())["id"] for _ in range(4)]
    for top in tops[1:3]:
        for _ in range(ROOM // 2):
            await harness.post_comment(parent=top)
    share = (ROOM - len(tops)) // 2
    page = await harness.page()
    assert [len(seen["replies"]["items"]) for seen in page] == [0, share, share, 0]
    assert [bool(seen["replies"]["next"]) for seen in page] == [False, True, True, False]


async def test_every_entry_of_a_full_page_has_a_reply_inlined(harness: Harness) -> None:
    for _ in range(ROOM // 2 + 1):
        top = await harness.post_comment()
        await harness.post_comment(parent=top["id"])
    page = await harness.page(limit=ROOM // 2)
    assert [len(seen["replies"]["items"]) for seen in page] == [1] * (ROOM // 2)


async def test_a_cursor_of_another_list_or_sort_is_malformed(harness: Harness) -> None:
    first, second = [(await harness.post_comment())["id"] for _ in range(2)]
    for parent in (first, first, second, second):
        await harness.post_comment(parent=parent)
    page = await queries.comments(harness.db, NOBODY, harness.post_id, "oldest", None, 1)
    replies = await queries.replies(harness.db, NOBODY, UUID(first), None, 1)
    assert (await queries.comments(harness.db, NOBODY, harness.post_id, "oldest", page["next"], 7))["items"]
    other = Harness(harness.db)
    await other.publish_post()
    for action in (
        queries.comments(harness.db, NOBODY, harness.post_id, "newest", page["next"], 1),
        queries.comments(harness.db, NOBODY, other.post_id, "oldest", page["next"], 1),
        queries.comments(harness.db, NOBODY, harness.post_id, "oldest", replies["next"], 1),
        queries.replies(harness.db, NOBODY, UUID(second), replies["next"], 1),
        queries.by_state(harness.db, MODERATOR, "held", page["next"], 1),
        queries.comments(harness.db, NOBODY, harness.post_id, "oldest", "nonsense", 1),
    ):
        with pytest.raises(Problem) as refusal:
            await action
        assert refusal.value.kind == "malformed-cursor"
