"""Failures of the database that pass by themselves."""

import asyncpg

TRANSIENT = (
    OSError,  # the builtin TimeoutError and ConnectionError are OSErrors
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # starting, going down, or cancelled by a timeout
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,  # deadlock, serialisation
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # not the primary any more
    asyncpg.InvalidCachedStatementError,  # a table was altered meanwhile
    asyncpg.InternalClientError,  # used between the server's last word and the end of the connection
)


def is_transient(error: BaseException) -> bool:
    """Return whether a call of the database failed for a reason that passes by itself, so that it may succeed later.

    asyncpg raises `InterfaceError` for a lost connection, but also for arguments of the wrong type, which never pass.
    """
    if isinstance(error, asyncpg.InterfaceError):
        closed = "closed" in str(error) or "closing" in str(error) or "released" in str(error)
        return closed and not isinstance(error, asyncpg.DataError | ValueError)
    return isinstance(error, TRANSIENT)
