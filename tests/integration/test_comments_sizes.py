"""A page ends early when its texts are large, and whoever follows every `next` still finds every comment once."""

import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import orjson
import pytest

from services.comments import listing, queries
from services.comments.domain.tree import FIRST, SeenHidden
from tests.integration.comments_harness import ANN, BOB, MODERATOR, NOBODY, Harness
from tests.integration.test_comments_cost import Recorder

MOST = 2 * 1024 * 1024
TEXTS = ("x", '"', "é", "\u200d", "\n", "日")


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]]) -> Harness:
    made = Harness(await new_database("services.chassis", "services.comments"))
    await made.publish_post()
    return made


async def enlarge(harness: Harness, letters: Callable[[], int], source: int = 10) -> None:
    """Make the texts of all comments large, each of another letter."""
    async with harness.db.transaction() as tx:
        ids = [row["id"] for row in await tx.fetch("select id from comments where body is not null order by id")]
        rows = [(one, TEXTS[number % len(TEXTS)] * letters(), "s" * source) for number, one in enumerate(ids)]
        await tx.executemany("update comments set body_html = $2, body = $3 where id = $1", rows)


async def check(harness: Harness, monkeypatch: pytest.MonkeyPatch, limit: int = 50) -> None:
    """Walk the whole tree as everybody, and check the size of every answer on the way."""
    sizes: list[int] = []
    walks = []
    for name in ("comments", "replies"):

        async def measured(*args: Any, __ask: Any = getattr(queries, name)) -> Any:
            answer = await __ask(*args)
            sizes.append(len(orjson.dumps(answer)))
            return answer

        monkeypatch.setattr(queries, name, measured)
    sorts: tuple[queries.Sort, ...] = ("oldest", "newest")
    for who in (NOBODY, ANN, MODERATOR):
        for sort in sorts:
            found = [one["id"] for one in await harness.walk(who, sort, limit)]
            assert len(found) == len(set(found)), (who, sort)
            walks.append(set(found))
    async with harness.db.reader() as reader:
        everything = {str(row["id"]) for row in await reader.fetch("select id from comments")}
    assert all(walk == everything for walk in walks)
    assert max(sizes) <= MOST


async def test_large_top_level_comments(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(40):
        await harness.post_comment(BOB)
    await enlarge(harness, lambda: 180_000)
    page = await queries.comments(harness.db, NOBODY, harness.post_id, "oldest", None, 50)
    assert 1 < len(page["items"]) < 40
    assert page["next"]
    await check(harness, monkeypatch)


async def test_large_replies_and_a_large_comment_above_them(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    top = (await harness.post_comment(BOB))["id"]
    for _ in range(40):
        await harness.post_comment(BOB, top)
    await enlarge(harness, lambda: 180_000)
    (seen,) = await harness.page()
    assert 0 < len(seen["replies"]["items"]) < 40
    assert seen["replies"]["next"]
    await check(harness, monkeypatch)


async def test_large_texts_in_some_places_of_a_random_tree(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(7)
    ids: list[str] = []
    for _ in range(120):
        ids.append((await harness.post_comment(BOB, rng.choice([None, *ids[-20:]])))["id"])
    await enlarge(harness, lambda: rng.choice([10, 10, 3_000, 60_000, 150_000]), source=5_000)
    await check(harness, monkeypatch, limit=20)
    await check(harness, monkeypatch, limit=200)


async def test_a_text_larger_than_a_page_is_shown(harness: Harness) -> None:
    """Nothing that is written is as large, but an import may be."""
    for _ in range(3):
        top = (await harness.post_comment(BOB))["id"]
        await harness.post_comment(BOB, top)
    await enlarge(harness, lambda: 1_200_000)
    found = [one["id"] for one in await harness.walk(NOBODY)]
    assert len(found) == len(set(found)) == 6
    (first, *rest) = await harness.page()
    assert (rest, first["replies"]["items"]) == ([], [])


async def test_the_queue_ends_early(harness: Harness) -> None:
    await harness.change_post(discussion="held")
    for _ in range(30):
        await harness.post_comment(BOB)
    await enlarge(harness, lambda: 180_000)
    found, cursor = list[str](), None
    while True:
        page = await queries.by_state(harness.db, MODERATOR, "held", cursor, 50)
        assert len(orjson.dumps(page)) <= MOST
        found += [one["id"] for one in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert len(found) == len(set(found)) == 30


async def test_tombstones_of_large_texts_lose_nothing(harness: Harness) -> None:
    """What a reader does not see is read too, so it counts too."""
    tops = [(await harness.post_comment(BOB))["id"] for _ in range(30)]
    for top in tops:
        await harness.post_comment(BOB, top)
    await enlarge(harness, lambda: 180_000)
    for top in tops:
        await harness.moderate(top, "reject")
    assert len(await harness.walk(NOBODY)) == 60


async def test_the_context_of_a_large_line_keeps_what_is_nearest(harness: Harness) -> None:
    line: list[str] = []
    for _ in range(60):
        line.append((await harness.post_comment(BOB, line[-1] if line else None))["id"])
    await enlarge(harness, lambda: 100_000)
    for depth in (0, 1, 30, 59):
        found = await queries.with_context(harness.db, NOBODY, UUID(line[depth]), None)
        assert len(orjson.dumps(found)) <= MOST
        above = [one["id"] for one in found["above"]]
        assert above == line[depth - len(above) : depth]
        assert len(above) >= min(depth, 4)
        assert found["comment"]["id"] == line[depth]


async def test_no_more_is_read_than_can_be_shown(harness: Harness) -> None:
    for _ in range(60):
        await harness.post_comment(BOB)
    await enlarge(harness, lambda: 180_000)
    read = 0

    class Counting(Recorder):
        async def fetch(self, sql: str, *args: object) -> list[Any]:
            nonlocal read
            rows = await super().fetch(sql, *args)
            read += sum(len(value) for row in rows for value in row if isinstance(value, str))
            return rows

    async with harness.db.reader() as reader:
        counting = Counting(reader)
        await listing.list_page(counting, harness.post_id, NOBODY, SeenHidden(), after=FIRST, limit=200)
    assert read <= 1.1 * MOST
    assert len(counting.statements) <= 3
