"""Which failures of a handler pass by themselves: those of something it needs."""

import asyncpg
import redis.exceptions

from services.chassis.errors import Problem
from services.chassis.producer import Unsent

TRANSIENT = (
    OSError,  # the builtin TimeoutError and ConnectionError are OSErrors
    Unsent,
    asyncpg.PostgresConnectionError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,  # cancelled by a timeout, or the server is going down
    asyncpg.ReadOnlySQLTransactionError,  # a server that is not the primary any more
    asyncpg.InvalidCachedStatementError,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
)


def transient(error: BaseException) -> bool:
    """Whether the failure is that of something the handler needs, so that trying again will help some day."""
    return isinstance(error, TRANSIENT) or (isinstance(error, Problem) and error.kind == "unavailable")
