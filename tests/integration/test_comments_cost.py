"""What a page costs must not depend on how long the thread is, nor on what is hidden in it. Counted in the database's
own blocks, which do not depend on how busy the machine is.
"""

import itertools
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.database.pool import Database
from services.chassis.ids import id_at
from services.comments import pages, store
from services.comments.domain.tree import FIRST, LAST
from tests.integration.comments_harness import ANN, House, person

BLOCKS_PER_COMMENT = 5  # one for the row, the others on the way through an index to the beginning of a subtree
BLOCKS_OF_CHANCE = 60
ORDERS: tuple[pages.Order, ...] = ("asc", "desc")
START = datetime(2026, 1, 1, tzinfo=UTC)


async def thread(db: Database, size: int, *, held: int = 0) -> UUID:
    """A post with a random thread of `size` visible comments, and as many `held` ones by others in between."""
    house = House(db)
    post_id = await house.post()
    dice = random.Random(size)
    paths: list[bytes] = []
    rows = []
    for number in range(size + held):
        shown = dice.random() < size / (size + held)
        comment_id = id_at(START + timedelta(seconds=number))
        above = dice.choice(paths) if paths and dice.random() < 0.7 else b""
        above = above if len(above) < 10 * 16 else b""
        parent = UUID(bytes=above[-16:]) if above else None
        path = above + comment_id.bytes
        if shown:
            paths.append(path)
        rows.append((comment_id, post_id, parent, parent or post_id, path, len(path) // 16 - 1, uuid4(), shown))
    async with db.transaction() as tx:
        await tx.executemany(
            "insert into comments (id, post_id, parent_id, list_id, path, depth, author_id, body, format, body_html,"
            " renderer_version, state, created_at, shown) values ($1, $2, $3, $4, $5, $6, $7, repeat('x', 300),"
            " 'markdown', repeat('x', 400), 1, case when $8::boolean then 'visible' else 'held' end, now(), $8)",
            rows,
        )
        await tx.execute(
            "update comments set shown_replies = n.shown, all_replies = n.all_ones from (select parent_id,"
            " count(*) filter (where shown) as shown, count(*) as all_ones from comments where post_id = $1"
            " group by parent_id) as n where n.parent_id = comments.id",
            post_id,
        )
    return post_id


def steps(plan: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Each step of a plan and the table it reads."""
    yield plan["Node Type"], plan.get("Relation Name")
    for below in plan.get("Plans", ()):
        yield from steps(below)


async def explained(db: Database, sql: str, *args: object, generic: bool) -> tuple[int, int]:
    """Blocks touched and rows given by a statement, with a plan made for these arguments or for any."""
    async with db.transaction() as tx:
        await tx.execute(f"set local plan_cache_mode = force_{'generic' if generic else 'custom'}_plan")
        found = json.loads(await tx.fetchval("explain (analyze, buffers, format json) " + sql, *args))[0]["Plan"]
    assert ("Seq Scan", "comments") not in set(steps(found)), "it reads the whole table"
    return found["Shared Hit Blocks"] + found["Shared Read Blocks"], int(found["Actual Rows"])


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.comments")
    return made


async def test_a_page_costs_what_it_shows_and_no_more(db: Database) -> None:
    large = await thread(db, 10_000)
    flooded = await thread(db, 100, held=5_000)
    async with db.reader() as reader:
        await reader.fetch("vacuum analyze comments")
    for post_id, viewer, order, limit, generic in itertools.product(
        (large, flooded), pages.SOURCES, ORDERS, (1, 50, 200), (False, True)
    ):
        args = [limit, max(2 * limit, pages.ROOM), FIRST if order == "asc" else LAST, post_id]
        own = [[uuid4(), uuid4()]] if viewer == "person" else []
        sql = pages.LIST_PAGES[viewer, order]
        touched, given = await explained(db, sql, *args, *own, generic=generic)
        assert given >= min(limit, 20), (viewer, order, limit)
        assert touched <= BLOCKS_PER_COMMENT * given + BLOCKS_OF_CHANCE, (viewer, order, limit, generic, given)


async def test_what_one_asks_besides_costs_a_few_blocks(db: Database) -> None:
    post_id = await thread(db, 3_000, held=3_000)
    async with db.transaction() as tx:
        await tx.execute(
            "update comments set author_id = $1 where id in (select id from comments where state = 'held' limit 3)",
            person(ANN),
        )
    async with db.reader() as reader:
        await reader.fetch("vacuum analyze comments")
        comment_id = await reader.fetchval("select id from comments where depth = 3 and shown limit 1")
        assert len(await store.own_hidden(reader, person(ANN), post_id)) >= 3
    for sql, args in (
        (store.SELECT_OWN_HIDDEN, [person(ANN), post_id]),
        (store.SELECT_COMMENTS, [[comment_id]]),
        (pages.ONE_PAGES["everybody"], [1, 0, FIRST, comment_id]),
        (pages.HELD_PAGE, [5, 0, FIRST]),
        (store.SELECT_COUNTS_OF_PEOPLE, [[person(ANN), uuid4()]]),
    ):
        for generic in (False, True):
            touched, _ = await explained(db, sql, *args, generic=generic)
            assert touched <= 2 * BLOCKS_OF_CHANCE, sql
