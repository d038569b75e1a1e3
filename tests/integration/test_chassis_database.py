"""Pool, transactions and migrations on a real PostgreSQL."""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.chassis.database import migrations
from services.chassis.database.migrations import migrate, migration_files, statements
from services.chassis.database.pool import Database, Reader, Transaction
from services.chassis.database.transient_errors import is_transient
from services.chassis.errors import Problem
from services.chassis.messaging import outbox
from tests.conftest import NewDatabase, OwnDatabase
from tests.integration.chassis_harness import renamed_event
from tests.waiting import eventually


@pytest.fixture
async def db(new_database: NewDatabase) -> OwnDatabase:
    return await new_database("services.chassis")


async def count(db: Database) -> int:
    async with db.reader() as reader:
        return int(await reader.fetchval("select count(*) from inbox"))


INSERT = "insert into inbox (source, event_id) values ('/test', gen_random_uuid())"


async def test_transaction_commits_or_rolls_back(db: OwnDatabase) -> None:
    async with db.transaction() as tx:
        assert await tx.execute(INSERT) == 1
    with pytest.raises(ValueError, match="no"):
        async with db.transaction() as tx:
            await tx.execute(INSERT)
            raise ValueError("no")
    assert await count(db) == 1
    assert db.busy == 0


@pytest.mark.parametrize("error", [OSError("disk full"), TimeoutError("slow neighbour"), ConnectionResetError("peer")])
async def test_exception_of_the_block_passes_through(db: OwnDatabase, error: OSError) -> None:
    """Only failing calls of the database become a 503."""
    with pytest.raises(type(error), match=str(error)):
        async with db.transaction() as tx:
            await tx.execute(INSERT)
            raise error
    with pytest.raises(type(error), match=str(error)):
        async with db.reader():
            raise error
    assert await count(db) == 0
    assert db.busy == 0


async def test_executemany_and_columns_by_name(db: OwnDatabase) -> None:
    async with db.transaction() as tx:
        await tx.executemany("insert into inbox (source, event_id) values ($1, gen_random_uuid())", [("a",), ("b",)])
        rows = await tx.fetch("select source from inbox order by source")
        assert [row["source"] for row in rows] == ["a", "b"]
        row = await tx.fetchrow("select source from inbox where source = 'b'")
        assert row is not None
        assert row["source"] == "b"


async def test_relay_is_woken_only_after_the_commit(db: OwnDatabase) -> None:
    woken: list[int] = []
    db.on_outbox = lambda: woken.append(1)
    async with db.transaction() as tx:
        await outbox.add(tx, renamed_event())
        assert woken == []
    assert woken == [1]
    async with db.transaction() as tx:
        await tx.execute(INSERT)
    with pytest.raises(ValueError, match="no"):
        async with db.transaction() as tx:
            await outbox.add(tx, renamed_event())
            raise ValueError("no")
    assert woken == [1]


async def test_statement_transaction_takes_one_statement(db: OwnDatabase) -> None:
    async with db.statement() as tx:
        assert await tx.execute(INSERT) == 1
        with pytest.raises(RuntimeError, match="one statement"):
            await tx.execute(INSERT)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with db.statement() as tx:
            await tx.execute(
                "insert into inbox (source, event_id) "
                "select '/new', event_id from inbox union all select source, event_id from inbox"
            )
    assert await count(db) == 1
    assert db.busy == 0


async def test_statement_transaction_wakes_the_relay_after_the_commit(db: OwnDatabase) -> None:
    woken: list[int] = []
    db.on_outbox = lambda: woken.append(1)
    async with db.statement() as tx:
        await outbox.add(tx, renamed_event())
        assert woken == []
    async with db.statement() as tx:
        await tx.execute(INSERT)
    assert woken == [1]


async def test_exhausted_pool_is_unavailable(new_database: NewDatabase) -> None:
    small = await new_database("services.chassis", size=1, acquire_timeout=0.2)
    async with small.reader():
        assert small.busy == small.size == 1
        began = time.monotonic()
        with pytest.raises(Problem) as caught:
            async with small.reader():
                pass
        assert time.monotonic() - began < 2
    assert caught.value.kind == "unavailable"
    assert caught.value.headers["Retry-After"] == "1"
    assert await small.answers()


@pytest.mark.parametrize(("size", "most"), [(2, 1), (3, 2), (4, 3), (5, 4), (9, 8), (10, 8)])
async def test_reads_pass_while_all_that_write_are_slow(new_database: NewDatabase, size: int, most: int) -> None:
    small = await new_database("services.chassis", size=size, acquire_timeout=2)
    begun, go_on = list[int](), asyncio.Event()

    async def write() -> None:
        async with small.transaction():
            begun.append(1)
            await go_on.wait()

    writes = [asyncio.create_task(write()) for _ in range(most)]
    await eventually(lambda: len(begun) == most)
    for _ in range(2):
        with pytest.raises(Problem, match="no free connection to write with"):
            await write()
        with pytest.raises(Problem, match="no free connection to write with"):
            async with small.statement():
                pass
        assert await small.answers()
    go_on.set()
    await asyncio.gather(*writes)
    await write()
    assert small.busy == 0


async def test_unreachable_database_is_unavailable(free_port: Callable[[], int]) -> None:
    away = await Database.connect(f"postgresql://nobody@127.0.0.1:{free_port()}/none", name="test")
    with pytest.raises(Problem, match="does not answer"):
        await away.answers()
    await away.close()


async def test_session_ended_by_the_server_is_unavailable_and_the_pool_recovers(db: OwnDatabase) -> None:
    with pytest.raises(Problem) as caught:
        async with db.transaction() as tx:
            pid = await tx.fetchval("select pg_backend_pid()")
            async with db.reader() as other:
                await other.fetchval("select pg_terminate_backend($1)", pid)
            await asyncio.gather(*(tx.execute(INSERT) for _ in range(1)))
    assert caught.value.kind == "unavailable"
    assert db.busy == 0
    assert await count(db) == 0


async def test_idle_connection_ended_by_the_server_is_at_most_unavailable(new_database: NewDatabase) -> None:
    """Used at any moment between the server's last message and the end of the connection."""
    small = await new_database("services.chassis", size=1)
    admin = await asyncpg.connect(small.url)
    for turns in range(40):
        async with small.reader() as reader:
            pid = await reader.fetchval("select pg_backend_pid()")
        await admin.fetchval("select pg_terminate_backend($1)", pid)
        for _ in range(turns % 8):
            await asyncio.sleep(0)
        try:
            await small.answers()
        except Problem as problem:
            assert problem.kind == "unavailable"
            await eventually(lambda: answers(small))
    await admin.close()


async def answers(db: Database) -> bool:
    try:
        return await db.answers()
    except Problem:
        return False


async def test_lock_timeout_is_unavailable(db: OwnDatabase) -> None:
    async with db.transaction() as tx:
        await tx.execute("lock table inbox in exclusive mode")
        began = time.monotonic()
        with pytest.raises(Problem) as caught:
            async with db.transaction() as second:
                await second.execute(INSERT)
        assert time.monotonic() - began < 5
    assert caught.value.kind == "unavailable"


async def test_wrong_argument_is_not_transient(db: OwnDatabase) -> None:
    """asyncpg raises InterfaceError for it as for a lost connection. It would be retried for ever."""
    for wrong in ("closed", object()):
        with pytest.raises(asyncpg.DataError):
            async with db.reader() as reader:
                await reader.fetchval("select $1::int", wrong)
    with pytest.raises(asyncpg.InterfaceError, match="expects 1 argument"):
        async with db.reader() as reader:
            await reader.fetchval("select $1::int", 1, 2)


async def test_cancelled_transaction_releases_its_connection(db: OwnDatabase) -> None:
    async def slow() -> None:
        async with db.transaction() as tx:
            await tx.execute(INSERT)
            await tx.fetchval("select pg_sleep(60)")

    tasks = [asyncio.create_task(slow()) for _ in range(5)]
    await eventually(lambda: db.busy == 5)
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    await eventually(lambda: db.busy == 0)
    assert await count(db) == 0


async def test_cancellation_on_a_lost_connection_is_passed_on(db: OwnDatabase) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with db.transaction() as tx:
            tx._connection.terminate()
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_timeout_inside_a_transaction_is_passed_on(db: OwnDatabase) -> None:
    """Neither a cancellation nor a failure of the database."""
    with pytest.raises(TimeoutError):
        async with db.transaction():
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
    assert await count(db) == 0


def test_transient_errors() -> None:
    assert is_transient(asyncpg.DeadlockDetectedError())
    assert is_transient(asyncpg.InterfaceError("connection is closed"))
    assert is_transient(TimeoutError())
    assert is_transient(asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"))
    assert not is_transient(asyncpg.UniqueViolationError())
    assert not is_transient(asyncpg.DataError("invalid input for query argument $1: 'closed'"))
    assert not is_transient(ValueError())


async def test_reader_is_no_transaction(db: OwnDatabase) -> None:
    """`outbox.add` takes a `Transaction`."""
    async with db.reader() as reader:
        assert not isinstance(reader, Transaction)
        assert isinstance(reader, Reader)
        assert not hasattr(reader, "execute")


PACKAGES = ("services.chassis", "services.posts", "services.comments", "services.people", "services.notify")
# of requests to sign in, which are deleted after 70 minutes
SMALL_TABLES = {("services.people", "0003_sign_in_codes.sql"), ("services.people", "0004_fair_mail.sql")}
INDEX = """-- outside a transaction
-- By a; for nothing.
drop index concurrently if exists things_a;
create index concurrently things_a
    on things (a);
"""
IS_VALID = "select indisvalid from pg_index where indexrelid = 'things_a'::regclass"
IS_WAITING = """
select exists (
    select from pg_stat_activity
    where datname = current_database() and application_name = 'migrate' and wait_event_type = 'Lock'
)
"""


@pytest.fixture
async def blank(servers: Any, unique: str) -> Any:
    """Create an empty database and yield its URL."""
    admin = await asyncpg.connect(servers.postgres_url("postgres"))
    await admin.execute(f'create database "blank_{unique}"')
    yield servers.postgres_url(f"blank_{unique}")
    await admin.execute(f'drop database "blank_{unique}" with (force)')
    await admin.close()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unique: str) -> tuple[str, Path]:
    """Return the name and the empty `migrations` folder of a new package."""
    folder = tmp_path / f"package_{unique}" / "migrations"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder.parent.name, folder


async def test_migrations_run_once_in_order(blank: str, package: tuple[str, Path]) -> None:
    name, folder = package
    (folder / "0002_more.sql").write_text("alter table things add column b int; insert into things values (1, 2)")
    (folder / "0001_first.sql").write_text("create table things (a int)")
    (folder / "notes.txt").write_text("not sql")
    assert await migrate(blank, [name]) == [f"{name}/0001_first.sql", f"{name}/0002_more.sql"]
    assert await migrate(blank, [name]) == []
    (folder / "0003_last.sql").write_text("insert into things values (3, 4)")
    assert await migrate(blank, [name]) == [f"{name}/0003_last.sql"]
    connection = await asyncpg.connect(blank)
    assert await connection.fetchval("select sum(a) from things") == 4
    await connection.close()


async def test_changed_migration_is_refused(blank: str, package: tuple[str, Path]) -> None:
    name, folder = package
    (folder / "0001_first.sql").write_text("create table things (a int)")
    await migrate(blank, [name])
    (folder / "0001_first.sql").write_text("create table things (a bigint)")
    with pytest.raises(RuntimeError, match="has changed since"):
        await migrate(blank, [name])


async def test_failed_migration_is_rolled_back(blank: str, package: tuple[str, Path]) -> None:
    name, folder = package
    (folder / "0001_first.sql").write_text("create table things (a int); select nonsense")
    with pytest.raises(asyncpg.UndefinedColumnError):
        await migrate(blank, [name])
    (folder / "0001_first.sql").write_text("create table things (a int)")
    assert await migrate(blank, [name]) == [f"{name}/0001_first.sql"]


async def test_concurrent_runs_apply_a_migration_once(blank: str, package: tuple[str, Path]) -> None:
    name, folder = package
    (folder / "0001_first.sql").write_text("create table things (a int); select pg_sleep(0.2)")
    outcomes = await asyncio.gather(*(migrate(blank, [name]) for _ in range(4)))
    assert sorted(map(len, outcomes)) == [0, 0, 0, 1]


async def test_an_index_is_made_concurrently_while_other_runs_wait(blank: str, package: tuple[str, Path]) -> None:
    """A run that waits in a statement of PostgreSQL is itself what the index waits for: a deadlock."""
    name, folder = package
    (folder / "0001_first.sql").write_text("create table things (a int); select pg_sleep(0.2)")
    (folder / "0002_index.sql").write_text(INDEX)
    outcomes = await asyncio.gather(*(migrate(blank, [name]) for _ in range(4)))
    assert sorted(map(len, outcomes)) == [0, 0, 0, 2]


async def test_an_index_that_could_not_be_made_is_made_by_the_next_run(blank: str, package: tuple[str, Path]) -> None:
    name, folder = package
    (folder / "0001_first.sql").write_text("create table things (a int); insert into things values (1), (1)")
    (folder / "0002_index.sql").write_text(INDEX.replace("create index", "create unique index"))
    with pytest.raises(asyncpg.UniqueViolationError):
        await migrate(blank, [name])
    connection = await asyncpg.connect(blank)
    assert await connection.fetchval(IS_VALID) is False
    await connection.execute("delete from things")
    assert await migrate(blank, [name]) == [f"{name}/0002_index.sql"]
    assert await connection.fetchval(IS_VALID) is True
    await connection.close()


async def test_a_migration_lets_others_pass_while_it_waits_for_a_table(
    blank: str, package: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, folder = package
    (folder / "0001_first.sql").write_text("create table things (a int)")
    await migrate(blank, [name])
    (folder / "0002_more.sql").write_text("alter table things add column b int")
    long, other = await asyncpg.connect(blank), await asyncpg.connect(blank)
    reading = long.transaction()
    await reading.start()
    await long.fetch("select a from things")
    migrating = asyncio.create_task(migrate(blank, [name]))
    try:
        await eventually(lambda: other.fetchval(IS_WAITING))
        await other.execute("set lock_timeout = '2500ms'")  # as the services' own requests
        await other.execute("insert into things values (1)")
        assert not migrating.done()
    finally:
        await reading.rollback()
    assert await migrating == [f"{name}/0002_more.sql"]
    monkeypatch.setattr(migrations, "LOCK_TRIES", 1)
    (folder / "0003_last.sql").write_text("alter table things add column c int")
    reading = long.transaction()
    await reading.start()
    await long.fetch("select a from things")
    with pytest.raises(asyncpg.LockNotAvailableError):
        await migrate(blank, [name])
    await long.close()
    await other.close()


async def test_limits_of_the_database_do_not_end_a_migration(blank: str, package: tuple[str, Path]) -> None:
    name, folder = package
    connection = await asyncpg.connect(blank)
    database = await connection.fetchval("select current_database()")
    await connection.execute(f'alter database "{database}" set statement_timeout = 50')
    await connection.close()
    (folder / "0001_first.sql").write_text("create table things (a int)")
    (folder / "0002_index.sql").write_text(INDEX + "select pg_sleep(0.2);\n")
    assert len(await migrate(blank, [name])) == 2


@pytest.mark.parametrize(
    ("service", "read_and_write", "since"),
    [
        ("comments", "update comments set reply_count = 1", "0003"),
        ("posts", "update posts set title = 'b'", "0002"),
    ],
)
async def test_an_old_version_reads_and_writes_while_indexes_are_made(
    blank: str, package: tuple[str, Path], service: str, read_and_write: str, since: str
) -> None:
    name, folder = package
    files = migration_files(f"services.{service}")
    for file, sql in files:
        if file < since:
            (folder / file).write_text(sql)
    await migrate(blank, [name])
    for file, sql in files:
        (folder / file).write_text(sql)
    writer, other = await asyncpg.connect(blank), await asyncpg.connect(blank)
    writing = writer.transaction()
    await writing.start()
    await writer.execute(read_and_write)
    migrating = asyncio.create_task(migrate(blank, [name]))
    try:
        await eventually(lambda: other.fetchval(IS_WAITING))
        await other.execute("set lock_timeout = '500ms'")
        outcomes = await asyncio.gather(other.execute(read_and_write), return_exceptions=True)
        is_waiting = not migrating.done()
    finally:
        await writing.rollback()
    assert await migrating == [f"{name}/{file}" for file, _ in files if file >= since]
    assert [str(outcome) for outcome in outcomes] == ["UPDATE 0"]
    assert is_waiting
    assert await other.fetchval("select bool_and(indisvalid) from pg_index")
    await writer.close()
    await other.close()


def test_a_file_outside_a_transaction_is_run_statement_by_statement() -> None:
    assert statements(INDEX) == [
        "drop index concurrently if exists things_a",
        "create index concurrently things_a\n    on things (a)",
    ]
    assert statements("-- outside a transaction\n  -- nothing; here;\nselect ';' as a; ") == ["select ';' as a"]


def test_indexes_of_tables_in_use_are_made_concurrently() -> None:
    """An index that is made in a transaction stops every writer of its table until it is finished."""
    stopping, lasting = [], []
    for package in PACKAGES:
        for name, sql in migration_files(package):
            made = set(re.findall(r"create table (\w+)", sql))
            for concurrently, index, table in re.findall(
                r"create (?:unique )?index (concurrently )?(\w+)\s+on (\w+)", sql
            ):
                if not concurrently and table not in made and (package, name) not in SMALL_TABLES:
                    stopping.append(f"{package} {name} {index}")
                if concurrently and f"drop index concurrently if exists {index};" not in sql:
                    lasting.append(f"{package} {name} {index}")
    assert stopping == []
    assert lasting == []  # a failed try leaves an index that is invalid


def test_migrations_are_numbered_without_gaps() -> None:
    for package in PACKAGES:
        numbers = [name.partition("_")[0] for name, _ in migration_files(package)]
        assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
