"""Writes that are repeated until the database confirms them."""

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import asyncpg
import stamina
import structlog

from services.chassis.errors import Problem

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

WRITE_AGAIN_SECONDS = 0.5


async def retry_until_written(write: Callable[P, Awaitable[T]], *args: P.args, **options: P.kwargs) -> T:
    """Repeat a write of what has happened until the database confirms it.

    The write must change nothing the second time: it may have been committed although its confirmation was lost.
    """
    writing = stamina.AsyncRetryingCaller(
        attempts=None, timeout=None, wait_initial=WRITE_AGAIN_SECONDS, wait_max=WRITE_AGAIN_SECONDS, wait_jitter=0
    )
    return await writing(_can_be_written_again, write, *args, **options)


def _can_be_written_again(error: Exception) -> bool:
    if not isinstance(error, Problem | asyncpg.PostgresError):
        return False
    log.warning("an outcome could not be written to the database; trying again", error=repr(error))
    return True
