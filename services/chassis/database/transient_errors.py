"""Transient failures of the database: a later attempt may succeed."""

import asyncpg

TRANSIENT = (
    OSError,  # the builtin TimeoutError and ConnectionError are OSErrors
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # starting, shutting down, or cancelled by a timeout
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,  # deadlock, serialisation
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # no longer the primary
    asyncpg.InvalidCachedStatementError,  # a table was altered meanwhile
    asyncpg.InternalClientError,  # used after the server's last message, before the connection was closed
)


def is_transient(error: BaseException) -> bool:
    """Return whether a call of the database failed for a transient reason.

    asyncpg raises `InterfaceError` for a lost connection, but also for arguments of the wrong type, which always fail.
    """
    if isinstance(error, asyncpg.InterfaceError):
        closed = "closed" in str(error) or "closing" in str(error) or "released" in str(error)
        return closed and not isinstance(error, asyncpg.DataError | ValueError)
    return isinstance(error, TRANSIENT)
