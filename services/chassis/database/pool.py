"""PostgreSQL: one pool per process, explicit transactions.

Pooled connections carry no session state (no `set`, `listen` or session advisory lock), so the reset round trip
that asyncpg makes by default is left out.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import structlog

from services.chassis.database.transient_errors import is_transient
from services.chassis.errors import unavailable
from services.chassis.runtime import failpoint

log = structlog.get_logger(__name__)


class Connection(asyncpg.Connection):
    """A pooled connection without the reset round trip; see the module's text."""

    def get_reset_query(self) -> str:
        return ""


@contextmanager
def translated() -> Iterator[None]:
    """Turn a failure of the database that passes by itself into a 503.

    It stands around calls of the driver alone: an `OSError` of the code between them is not the database's.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, asyncpg.InterfaceError) and isinstance(error.__context__, asyncio.CancelledError):
            raise error.__context__ from error  # a rollback on a lost connection must not hide a cancellation
        if is_transient(error):
            raise unavailable("The database could not finish this; whether it happened is unknown.") from error
        raise


class Reader:
    """A borrowed connection for queries. Rows come back as `asyncpg.Record`; name the columns, never `*`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *args: object) -> list[Any]:
        with translated():
            rows: list[Any] = await self._connection.fetch(sql, *args)
            return rows

    async def fetchrow(self, sql: str, *args: object) -> Any | None:
        with translated():
            return await self._connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> Any:
        with translated():
            return await self._connection.fetchval(sql, *args)


class Transaction(Reader):
    """An open transaction. Only `Database.transaction` makes one, so holding it proves that there is one."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.wakes_relay = False

    async def execute(self, sql: str, *args: object) -> int:
        """Run one statement and return how many rows it touched."""
        with translated():
            status: str = await self._connection.execute(sql, *args)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def executemany(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        with translated():
            await self._connection.executemany(sql, rows)


class _Once:
    """A connection that can be used one time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        connection, self._connection = self._connection, None
        if connection is None:
            raise RuntimeError("this transaction is one statement, and has had it")
        return getattr(connection, name)


class Database:
    """The pool of one service's database.

    Args:
        on_outbox: called after a transaction that wrote to the outbox has committed; wakes the relay.
        acquire_timeout: seconds to wait for a free connection before the caller gets a 503.
    """

    def __init__(self, pool: Any, *, acquire_timeout: float = 2.0, on_outbox: Callable[[], None] | None = None) -> None:
        self._pool = pool
        self._acquire_timeout = acquire_timeout
        self.on_outbox = on_outbox or (lambda: None)

    @classmethod
    async def connect(cls, url: str, *, name: str, size: int = 10, acquire_timeout: float = 2.0) -> "Database":
        """Open the pool; connections are made when first needed, so a database that is away does not stop a start."""

        async def prepare(connection: Any) -> None:
            await connection.set_type_codec(
                "jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog", format="text"
            )

        pool = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            init=prepare,
            connection_class=Connection,
            command_timeout=30,
            timeout=5,
            max_inactive_connection_lifetime=300,
            server_settings={
                "application_name": name,
                "statement_timeout": "30s",
                "lock_timeout": "2500ms",
                "idle_in_transaction_session_timeout": "60s",
                "jit": "off",
            },
        )
        return cls(pool, acquire_timeout=acquire_timeout)

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self._pool.close(), 5)
        except TimeoutError:
            self._pool.terminate()

    @property
    def size(self) -> int:
        """Connections that are open now."""
        return int(self._pool.get_size())

    @property
    def busy(self) -> int:
        """Connections that are borrowed now."""
        return int(self._pool.get_size() - self._pool.get_idle_size())

    async def answers(self) -> bool:
        """Whether a query can be made now, for readiness."""
        async with self.reader() as reader:
            return bool(await reader.fetchval("select true"))

    @asynccontextmanager
    async def _borrow(self) -> AsyncIterator[Any]:
        try:
            connection = await self._pool.acquire(timeout=self._acquire_timeout)
        except TimeoutError:
            raise unavailable("The database has no free connection.") from None
        except Exception as error:
            if is_transient(error):
                raise unavailable("The database does not answer.") from error
            raise
        try:
            yield connection
        finally:
            try:
                await self._pool.release(connection, timeout=self._acquire_timeout)
            except Exception as error:  # the pool has ended this connection; what was done with it stands
                log.warning("a connection was lost on its way back to the pool", error=repr(error))

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Reader]:
        """A connection for queries that need no transaction.

        Raises:
            Problem: `unavailable` when none is free in time or the database is away.
        """
        async with self._borrow() as connection:
            yield Reader(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One transaction: commits when the block ends, rolls back when it raises.

        Raises:
            Problem: `unavailable` when none is free in time or the database is away.
        """
        async with self._borrow() as connection:
            tx, transaction = Transaction(connection), connection.transaction()
            with translated():
                await transaction.start()
            try:
                failpoint.reach("command.begun")
                yield tx
            except BaseException:
                with translated():
                    await transaction.rollback()
                raise
            if tx.wakes_relay:
                failpoint.reach("command.before_commit")
                failpoint.reach_soon("command.committing")
            with translated():
                await transaction.commit()
        if tx.wakes_relay:
            failpoint.reach("command.after_commit")
            self.on_outbox()

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Transaction]:
        """A transaction of exactly one statement, which PostgreSQL commits by itself: one round trip, not three.

        Raises:
            Problem: `unavailable` when none is free in time or the database is away.
            RuntimeError: a second statement was tried; the first one stands.
        """
        async with self._borrow() as connection:
            tx = Transaction(_Once(connection))
            yield tx
        if tx.wakes_relay:
            failpoint.reach("command.after_commit")
            self.on_outbox()
