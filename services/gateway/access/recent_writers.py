"""Know who wrote lately, through whichever gateway: the owners answer their reads, not what a gateway keeps.

A write marks its person in Valkey before it is carried out; a read asks for the mark. Those that come at the same time
share one round trip. A mark may be lost with its server, and then the connection is lost too: what was remembered
before the next one is forgotten.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil
from uuid import UUID

import redis.exceptions
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.chassis.runtime.batcher import Batcher
from services.chassis.runtime.timeouts import wait_at_most

AWAY = (redis.exceptions.RedisError, OSError, RuntimeError)  # the last is uvloop's, of a closed transport
AWAY_SECONDS = 2.0  # after a failure Valkey is left alone for as long
ANSWER_SECONDS = 0.25
OLDEST_SECONDS = 35  # of what a gateway keeps or remembers, and some more


class RecentWriters:
    """Marks of those who wrote, which outlive everything that a gateway has from before the end of the write.

    Args:
        longest_write: the most seconds from a mark to the answer of its write.
        authorities: the file of those that are trusted, for `rediss://`; empty for the system's.
        clock: seconds, monotonic.
        prefix: of the keys.

    Attributes:
        on_connected: called before a new connection is used.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        longest_write: float,
        authorities: str = "",
        clock: Callable[[], float] = time.monotonic,
        prefix: str = "rapport:wrote:",
    ) -> None:
        self._pool = ConnectionPool.from_url(
            redis_url,
            socket_timeout=None,  # the whole exchange has one
            retry=Retry(NoBackoff(), 0),
            **({"ssl_ca_certs": authorities} if authorities else {}),
        )
        self._seconds = ceil(longest_write) + OLDEST_SECONDS
        self._clock = clock
        self._prefix = prefix
        self._connection: AbstractConnection | None = None
        self._away_until = 0.0
        self._batcher = Batcher(self._exchange)
        self.on_connected: Callable[[], None] = lambda: None

    async def close(self) -> None:
        """Close the connection, when questions under way are answered."""
        await self._batcher.drain()
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*AWAY):
                await wait_at_most(ANSWER_SECONDS, connection.disconnect())

    def mark(self, person_id: UUID) -> asyncio.Future[bool]:
        """Mark a person at once; what they write must not be answered before the future is done."""
        return self._batcher.begin((person_id, True))

    async def wrote_lately(self, person_id: UUID) -> bool:
        """Return whether a person has a mark; true also where that is not known."""
        return await self._batcher.submit((person_id, False))

    async def _exchange(self, asked: Sequence[tuple[UUID, bool]]) -> Sequence[bool]:
        """Write the marks, then read those that are asked for; all are true where Valkey does not answer."""
        is_new = self._connection is None
        if self._clock() < self._away_until:
            return [True] * len(asked)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._ask(asked)
        except AWAY:  # a timeout is an OSError
            await self._disconnect()
            if not is_new:  # it may have ended long ago, with a server that is back
                return await self._exchange(asked)
            self._away_until = self._clock() + AWAY_SECONDS
            return [True] * len(asked)

    async def _ask(self, asked: Sequence[tuple[UUID, bool]]) -> Sequence[bool]:
        connection = await self._connected()
        new = {person_id for person_id, is_write in asked if is_write}
        others = list({person_id for person_id, is_write in asked if not is_write})
        commands: list[tuple[str | int, ...]] = [
            ("SET", self._key(person_id), 1, "EX", self._seconds) for person_id in new
        ]
        if others:
            commands.append(("MGET", *map(self._key, others)))
        await connection.send_packed_command(connection.pack_commands(commands))
        for _ in new:
            await connection.read_response()
        marks = await connection.read_response() if others else ()
        marked = {person_id for person_id, mark in zip(others, marks, strict=True) if mark is not None}
        return [is_write or person_id in marked for person_id, is_write in asked]

    async def _connected(self) -> AbstractConnection:
        if self._connection is None:
            self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            await self._connection.connect()
            self.on_connected()
        return self._connection

    def _key(self, person_id: UUID) -> str:
        return f"{self._prefix}{person_id}"
