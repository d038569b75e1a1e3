"""The cost of a page must depend neither on the length of the thread nor on what is hidden in it. It is counted in
blocks of the database, which do not depend on the load of the machine.
"""

import itertools
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.database import idempotency
from services.chassis.database.idempotency import Kept
from services.chassis.database.pool import Database, Reader, Transaction
from services.chassis.ids import id_at, new_id
from services.chassis.messaging import outbox
from services.comments import listing, numbering
from services.comments.domain.comment import fact, new_comment
from services.comments.domain.tree import FIRST, LAST, Change, SeenHidden
from services.comments.store import comment_rows, discussion_rows, posting_rows
from services.comments.store.page_rows import Order
from services.contracts.comments import CommentPosted
from tests.integration.comments_harness import ANN, MODERATOR, NOBODY, WRITER, Harness, person

BLOCKS_PER_COMMENT = 5  # one for the row, the others on the way through an index to the beginning of a subtree
BLOCKS_OF_CHANCE = 60
ORDERS: tuple[Order, ...] = ("asc", "desc")
START = datetime(2026, 1, 1, tzinfo=UTC)


async def thread(db: Database, size: int, *, held: int = 0) -> UUID:
    """Return a post with a random thread of `size` visible comments, and as many `held` ones by others in between."""
    harness = Harness(db)
    post_id = await harness.publish_post()
    rng = random.Random(size)
    paths: list[bytes] = []
    rows = []
    for number in range(size + held):
        shown = rng.random() < size / (size + held)
        comment_id = id_at(START + timedelta(seconds=number))
        above = rng.choice(paths) if paths and rng.random() < 0.7 else b""
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
    """Yield each step of a plan and the table it reads."""
    yield plan["Node Type"], plan.get("Relation Name")
    for below in plan.get("Plans", ()):
        yield from steps(below)


async def explained(db: Database, sql: str, *args: object, generic: bool) -> tuple[int, int]:
    """Return the blocks that a statement touches and its rows, with a plan made for these arguments or for any."""
    async with db.transaction() as tx:
        await tx.execute(f"set local plan_cache_mode = force_{'generic' if generic else 'custom'}_plan")
        found = json.loads(await tx.fetchval("explain (analyze, buffers, format json) " + sql, *args))[0]["Plan"]
    assert ("Seq Scan", "comments") not in set(steps(found)), "it reads the whole table"
    return found["Shared Hit Blocks"] + found["Shared Read Blocks"], int(found["Actual Rows"])


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.comments")
    return made


class Recorder(Reader):
    """A reader that keeps the statements of a page, to have them explained."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader._connection)
        self.statements: list[tuple[str, tuple[object, ...]]] = []

    async def fetch(self, sql: str, *args: object) -> list[Any]:
        self.statements.append((sql, args))
        return await super().fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> Any:
        self.statements.append((sql, args))
        return await super().fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> Any:
        self.statements.append((sql, args))
        return await super().fetchval(sql, *args)


class WritingRecorder(Transaction):
    """A transaction that keeps the statements and runs none."""

    def __init__(self) -> None:
        super().__init__(None)
        self.statements: list[tuple[str, tuple[object, ...]]] = []

    async def fetch(self, sql: str, *args: object) -> list[Any]:
        self.statements.append((sql, args))
        return []


async def test_the_cost_of_a_page_depends_only_on_what_it_shows(db: Database) -> None:
    large = await thread(db, 10_000)
    flooded = await thread(db, 100, held=5_000)
    async with db.reader() as reader:
        await reader.fetch("vacuum analyze comments")
    callers = ((NOBODY, SeenHidden()), (ANN, SeenHidden(frozenset({uuid4(), uuid4()}))), (MODERATOR, SeenHidden()))
    for post_id, (caller, hidden), order, limit in itertools.product((large, flooded), callers, ORDERS, (1, 50, 200)):
        async with db.reader() as reader:
            recorder = Recorder(reader)
            after = FIRST if order == "asc" else LAST
            await listing.list_page(recorder, post_id, caller, hidden, after=after, limit=limit, order=order)
        assert len(recorder.statements) == 1
        for generic in (False, True):
            touched = given = 0
            for sql, args in recorder.statements:
                blocks, rows = await explained(db, sql, *args, generic=generic)
                touched, given = touched + blocks, given + rows
            assert given >= min(limit, 20), (caller, order, limit)
            assert touched <= BLOCKS_PER_COMMENT * given + BLOCKS_OF_CHANCE, (caller, order, limit, generic, given)


async def test_the_number_of_a_page_costs_the_same_in_any_thread(db: Database) -> None:
    """It is counted in an index alone, and no further than `MOST_COUNTED`."""
    post_id, other = await thread(db, 1), await thread(db, 1)
    async with db.transaction() as tx:
        await tx.execute(
            "insert into comments (id, post_id, list_id, path, depth, author_id, body, format, body_html,"
            " renderer_version, state, created_at, shown) select id, post_id, post_id,"
            " decode(replace(id::text, '-', ''), 'hex'), 0, $3, 'x', 'markdown', repeat('x', 400), 1, 'visible', now(),"
            " true from (select lpad(to_hex(n), 32, '0')::uuid as id,"
            " case when n % 3 = 0 then $1::uuid else $2::uuid end as post_id"
            " from generate_series(1, 30000) as n) as made",
            post_id,
            other,
            uuid4(),
        )
    async with db.reader() as reader:
        await reader.fetch("vacuum analyze comments")
        blocks = await reader.fetchval("select relpages from pg_class where relname = 'comments'")
    most = (
        blocks * numbering.MOST_COUNTED // 10_000 + BLOCKS_OF_CHANCE
    )  # were it in no index that can be believed alone
    for (caller, hidden), order in itertools.product(((ANN, SeenHidden()), (MODERATOR, SeenHidden())), ORDERS):
        top = numbering.TopLevel(post_id, caller, hidden, order)
        for page, after in ((2, UUID(int=10_000)), (numbering.MOST_COUNTED // 35, UUID(int=15_000))):
            async with db.reader() as reader:
                recorder = Recorder(reader)
                await numbering.find_start(recorder, top, page, 35)
                await numbering.position_of(recorder, top, after, 35)
            for (sql, args), generic in itertools.product(recorder.statements, (False, True)):
                touched, _ = await explained(db, sql, *args, generic=generic)
                assert touched <= most, (caller, order, page, generic, sql)


async def test_a_comment_that_was_found_is_not_read_again(db: Database) -> None:
    harness = Harness(db)
    await harness.publish_post()
    top = await harness.post_comment()
    reply = await harness.post_comment(parent=top["id"])
    for comment_id, statements in ((top["id"], 1), (reply["id"], 0)):
        async with db.reader() as reader:
            comment = await comment_rows.find(reader, UUID(comment_id))
            assert comment is not None
            recorder = Recorder(reader)
            seen = await listing.with_replies(recorder, comment, NOBODY, SeenHidden())
        assert len(recorder.statements) == statements
        assert seen | {"epoch": 0, "post_author_id": str(person(WRITER))} == await harness.read(comment_id)


async def test_looking_for_twins_reads_few_blocks(db: Database) -> None:
    """However much the person has written below the post."""
    post_id = await thread(db, 3_000, held=3_000)
    async with db.transaction() as tx:
        await tx.execute("update comments set author_id = $1, text_key = hashtext(id::text)", person(ANN))
    async with db.reader() as reader:
        await reader.fetch("vacuum analyze comments")
        discussion = await discussion_rows.find_discussion(reader, post_id)
        above = [row["id"] for row in await reader.fetch("select id from comments where shown limit 2")]
    assert discussion is not None
    for generic in (False, True):
        new = [
            new_comment(
                None,
                id=new_id(),
                post_id=post_id,
                author_id=person(ANN),
                body=str(number),
                format="markdown",
                body_html=str(number),
                state="visible",
                created_at=datetime.now(UTC),
            )
            for number in range(4)
        ]
        recorder = WritingRecorder()
        answer = idempotency.row(None, Kept(201, None, None, None))
        rows = [
            posting_rows.New(
                comment,
                2**40 + number + 4 * generic,
                outbox.new_row(fact(CommentPosted, comment, discussion)),
                answer,
                Change(above[number % len(above)], 1, 1, 1, shown=True),
            )
            for number, comment in enumerate(new)
        ]
        await posting_rows.insert_if_current(recorder, [discussion], rows, 1)
        ((sql, args),) = recorder.statements
        touched, twins = await explained(db, sql, *args, generic=generic)
        assert (twins, touched <= 5 * BLOCKS_OF_CHANCE) == (0, True), touched


async def test_other_queries_read_few_blocks(db: Database) -> None:
    post_id = await thread(db, 3_000, held=3_000)
    async with db.transaction() as tx:
        await tx.execute(
            "update comments set author_id = $1 where id in (select id from comments where state = 'held' limit 3)",
            person(ANN),
        )
    async with db.reader() as reader:
        await reader.fetch("vacuum analyze comments")
        (row,) = await reader.fetch("select id, path from comments where depth = 3 and shown limit 1")
        assert len(await comment_rows.hidden_seen_by(reader, person(ANN), post_id)) >= 3
    for sql, args in (
        (comment_rows.SELECT_HIDDEN_SEEN_BY, [person(ANN), post_id]),
        (comment_rows.SELECT_COMMENTS, [[row["id"]]]),
        (comment_rows.SELECT_OWN, [person(ANN), post_id]),
        (listing.WITH_REPLIES_SHOWN, [row["path"], 1]),
        (listing.HELD, [FIRST, 6]),
        (listing.REMOVED, [LAST, 6]),
        (listing.OF_AUTHOR, [person(ANN), LAST, 6]),
        (comment_rows.SELECT_HIDDEN_SEEN_IN, [person(ANN), [post_id]]),
        (comment_rows.SELECT_WRITTEN, [person(ANN), FIRST, 6, 2**21]),
        (comment_rows.SELECT_COUNTS_OF_PEOPLE, [[person(ANN), uuid4()]]),
    ):
        for generic in (False, True):
            touched, _ = await explained(db, sql, *args, generic=generic)
            assert touched <= 2 * BLOCKS_OF_CHANCE, sql


@pytest.mark.parametrize("size", [300, 3000])
async def test_the_newest_comments_cost_the_same_in_any_thread(db: Database, size: int) -> None:
    post_id = await thread(db, size, held=size)
    for generic in (False, True):
        blocks, rows = await explained(db, comment_rows.SELECT_NEWEST, post_id, 50, generic=generic)
        assert rows == 50
        assert blocks <= 50 * BLOCKS_PER_COMMENT + BLOCKS_OF_CHANCE
