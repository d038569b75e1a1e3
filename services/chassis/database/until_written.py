"""Writes that are repeated until the database confirms them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import asyncpg
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
    while True:
        try:
            return await write(*args, **options)
        except (Problem, asyncpg.PostgresError) as error:
            log.warning("an outcome could not be written to the database; trying again", error=repr(error))
            await asyncio.sleep(WRITE_AGAIN_SECONDS)
