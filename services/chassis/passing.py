"""Which failures of the database pass by themselves."""

import asyncpg

PASSING = (
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


def is_passing(error: BaseException) -> bool:
    """Whether the database failed for a reason that passes by itself, so that the same work may succeed later.

    asyncpg raises `InterfaceError` for a lost connection, but also for arguments of the wrong type, which never pass.
    """
    if isinstance(error, asyncpg.InterfaceError):
        closed = "closed" in str(error) or "closing" in str(error) or "released" in str(error)
        return closed and not isinstance(error, asyncpg.DataError | ValueError)
    return isinstance(error, PASSING)
