"""PostgreSQL: one connection pool per process, explicit transactions.

Pooled connections have no session state: no `set`, `listen` or session advisory lock (see `sessions.py`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import structlog

from services.chassis.database import sessions
from services.chassis.database.address_faults import address_fault, pool_variable
from services.chassis.database.transient_errors import is_transient
from services.chassis.errors import unavailable
from services.chassis.runtime import failpoint
from services.chassis.runtime.repetition import Repetition
from services.chassis.runtime.telemetry import POOL_BUSY, POOL_MOST, POOL_SIZE

log = structlog.get_logger(__name__)

CONNECTIONS_PER_RESERVED = 5  # one of so many, at least one of several, never writes: reads pass beside writes


@contextmanager
def translated() -> Iterator[None]:
    """Turn a transient failure of the database into a 503.

    Wrap calls of the driver only: an `OSError` of the code between them does not come from the database.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, asyncpg.InterfaceError) and isinstance(error.__context__, asyncio.CancelledError):
            raise error.__context__ from error  # a failed rollback on a lost connection must not hide a cancellation
        if is_transient(error):
            raise unavailable("The database could not finish this; whether it happened is unknown.") from error
        raise


class Reader:
    """A connection for queries. Rows are returned as `asyncpg.Record`; name the columns, never `*`."""

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
    """An open transaction. Only `Database` creates one, so a function that takes it runs in a transaction.

    That of `Database.statement` is its single statement, which PostgreSQL commits by itself; another one is refused.
    """

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.wakes_relay = False

    async def execute(self, sql: str, *args: object) -> int:
        """Run one statement and return how many rows it affected."""
        with translated():
            status: str = await self._connection.execute(sql, *args)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def executemany(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        with translated():
            await self._connection.executemany(sql, rows)


class _SingleUse:
    """A connection that can be used once."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        connection, self._connection = self._connection, None
        if connection is None:
            raise RuntimeError("this transaction is one statement, and it was run")
        return getattr(connection, name)


class Database:
    """The connection pool of one service's database.

    Args:
        acquire_timeout: seconds to wait for a free connection before the caller gets a 503.
        name: the service whose database it is.
        behind_pooler: a pooler in transaction mode stands before the database.

    Attributes:
        on_outbox: called after the commit of a transaction that wrote to the outbox; wakes the relay.
    """

    def __init__(self, pool: Any, *, acquire_timeout: float = 2.0, name: str = "", behind_pooler: bool = False) -> None:
        self.name = name
        self._pool = pool
        self._behind_pooler = behind_pooler
        self._acquire_timeout = acquire_timeout
        self._repetition = Repetition()
        most = pool.get_max_size()
        self._for_writing = asyncio.Semaphore(max(1, most - max(1, most // CONNECTIONS_PER_RESERVED)))
        self.on_outbox: Callable[[], None] = lambda: None

    @classmethod
    async def connect(
        cls, url: str, *, name: str, size: int = 10, acquire_timeout: float = 2.0, pooler: str = "none"
    ) -> "Database":
        """Create the pool, and register its metrics under the name of the service.

        Connections are opened when first needed, so a process starts without its database.
        """
        behind_pooler = pooler != "none"
        pool = await sessions.open_pool(url, name, size, behind_pooler=behind_pooler)
        db = cls(pool, acquire_timeout=acquire_timeout, name=name, behind_pooler=behind_pooler)
        POOL_SIZE.labels(name).set_function(lambda: db.size)
        POOL_BUSY.labels(name).set_function(lambda: db.busy)
        POOL_MOST.labels(name).set(size)
        return db

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self._pool.close(), 5)
        except TimeoutError:
            self._pool.terminate()

    @property
    def size(self) -> int:
        """Return how many connections are open."""
        return int(self._pool.get_size())

    @property
    def busy(self) -> int:
        """Return how many connections are in use."""
        return int(self._pool.get_size() - self._pool.get_idle_size())

    async def answers(self) -> bool:
        """Return true if the database answers a query, for readiness."""
        async with self.reader() as reader:
            return bool(await reader.fetchval("select true"))

    @asynccontextmanager
    async def _acquire_to_write(self) -> AsyncIterator[Any]:
        if self._for_writing.locked():
            try:
                async with asyncio.timeout(self._acquire_timeout):
                    await self._for_writing.acquire()
            except TimeoutError:
                raise unavailable("The database has no free connection to write with.") from None
        else:
            await self._for_writing.acquire()
        try:
            async with self._acquire() as connection:
                yield connection
        finally:
            self._for_writing.release()

    @asynccontextmanager
    async def _acquire(self) -> AsyncIterator[Any]:
        try:
            connection = await self._pool.acquire(timeout=self._acquire_timeout)
        except TimeoutError:
            raise unavailable("The database has no free connection.") from None
        except Exception as error:
            sentence = self._refusal(error)
            if sentence is None and not is_transient(error):
                raise
            if sentence is not None and self._repetition.is_due(sentence):
                log.error(sentence)
            raise unavailable("The database does not answer.") from error
        try:
            yield connection
        finally:
            try:
                await self._pool.release(connection, timeout=self._acquire_timeout)
            except Exception as error:  # the pool has closed the connection; what it committed stands
                log.warning("connection lost while it was released", error=repr(error))

    def _refusal(self, error: BaseException) -> str | None:
        """Return the sentence for the log about settings that let nobody connect; None for any other failure."""
        if isinstance(error, sessions.PoolerFound) or sessions.refuses_parameters(error):
            return str(sessions.undeclared_pooler(self.name))
        return address_fault(error, pool_variable(self.name))

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Reader]:
        """Yield a connection for queries that need no transaction.

        Raises:
            Problem: `unavailable` when no connection is free in time or the database is unreachable.
        """
        async with self._acquire() as connection:
            yield Reader(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Yield a transaction that commits when the block ends and rolls back when it raises.

        Raises:
            Problem: `unavailable` when no connection is free in time or the database is unreachable.
        """
        async with self._acquire_to_write() as connection:
            tx, transaction = Transaction(connection), connection.transaction()
            with translated():
                await transaction.start()
            try:
                if self._behind_pooler:
                    with translated():
                        await connection.execute(sessions.SET_LIMITS)
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
        """Yield a transaction of exactly one statement, committed by PostgreSQL itself: one round trip, not three.

        Behind a pooler it is like any other, because nothing else limits how long it waits.

        Raises:
            Problem: `unavailable` when no connection is free in time or the database is unreachable.
            RuntimeError: a second statement was run; the first one is committed.
        """
        if self._behind_pooler:
            async with self.transaction() as tx:
                yield tx
            return
        async with self._acquire_to_write() as connection:
            tx = Transaction(_SingleUse(connection))
            failpoint.reach("command.begun")
            failpoint.reach_soon("command.committing")
            yield tx
        if tx.wakes_relay:
            failpoint.reach("command.after_commit")
            self.on_outbox()
