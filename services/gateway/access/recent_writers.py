"""Know who wrote lately through another gateway: the owners answer their reads, not what this gateway keeps.

A write marks its person in Valkey with the name of its gateway before it is carried out; a read asks for the mark.
Those that come at the same time share one round trip. What a person wrote here has changed what is kept here, as soon
as it is known how it ended.

Marks may be lost with Valkey, or never have been written to one that is away or takes no writes. So each question also
writes: Valkey that refuses is away, and one that has lost what all gateways left there is known by it. After either,
nothing is believed until every gateway may mark again, and then what was remembered before is forgotten.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from uuid import UUID, uuid4

from cachetools import TTLCache
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.chassis.runtime.batcher import Batcher
from services.chassis.runtime.timeouts import wait_at_most
from services.gateway.access.valkey_faults import ANSWER_SECONDS, AWAY, AWAY_SECONDS, CLOSE_SECONDS

WRITER = "rapport.writer"  # in the scope of a request: who is marked for it
OLDEST_SECONDS = 35  # of what a gateway keeps or remembers, and some more
DOUBT_SECONDS = AWAY_SECONDS + 2 * ANSWER_SECONDS  # for which others may still write unmarked when Valkey is back


class RecentWriters:
    """Marks of those who wrote, which outlive everything that a gateway has from before the end of the write.

    Args:
        longest_write: the most seconds from a mark to the answer of its write.
        authorities: the file of those that are trusted, for `rediss://`; empty for the system's.
        clock: seconds, monotonic.
        prefix: of the keys.

    Attributes:
        on_lost: called when marks may have been lost, before the next absence of one is believed.
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
        self._seconds = math.ceil(longest_write) + OLDEST_SECONDS
        self._clock = clock
        self._prefix = prefix
        self._name = uuid4().hex.encode()
        self._questions = count()
        self._connection: AbstractConnection | None = None
        self._away_until = 0.0
        self._marks_since: bytes | None = None  # names the question that was the first to find no marks
        self._believed_from = 0.0
        self._is_in_doubt = False
        # Writes that began here and have not ended, by person; and who wrote elsewhere too before they wrote here.
        self._under_way: TTLCache[UUID, int] = TTLCache(math.inf, self._seconds, timer=clock)
        self._elsewhere: TTLCache[UUID, None] = TTLCache(math.inf, self._seconds, timer=clock)
        self._batcher = Batcher(self._exchange)
        self.on_lost: Callable[[], None] = lambda: None

    async def close(self) -> None:
        """Close the connection, when questions under way are answered."""
        with suppress(TimeoutError):
            await wait_at_most(CLOSE_SECONDS, self._batcher.drain())
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*AWAY):
                await wait_at_most(ANSWER_SECONDS, connection.disconnect())

    def begin(self, person_id: UUID) -> asyncio.Future[bool]:
        """Mark a person at once; what they write must not be answered before the future is done."""
        self._under_way[person_id] = self._under_way.get(person_id, 0) + 1
        return self._batcher.begin((person_id, True))

    def end(self, person_id: UUID) -> None:
        """Note that it is known how a write ended, and what it changed is kept here no more."""
        others = self._under_way.pop(person_id, 0) - 1
        if others > 0:
            self._under_way[person_id] = others

    async def wrote_lately(self, person_id: UUID) -> bool:
        """Return whether a person may have written what is not known here; true also where that cannot be told."""
        return person_id in self._under_way or await self._batcher.submit((person_id, False))

    async def _exchange(self, asked: Sequence[tuple[UUID, bool]]) -> Sequence[bool]:
        """Write the marks, then read those that are asked for; all are true where Valkey does not answer."""
        is_new = self._connection is None
        if self._clock() < self._away_until:
            return [True] * len(asked)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._ask(asked)
        except AWAY:
            await self._disconnect()
            self._doubt()
            if not is_new:  # it may have ended long ago, with a server that is back
                return await self._exchange(asked)
            self._away_until = self._clock() + AWAY_SECONDS
            return [True] * len(asked)

    async def _ask(self, asked: Sequence[tuple[UUID, bool]]) -> Sequence[bool]:
        connection = await self._connected()
        new = list({person_id for person_id, is_write in asked if is_write})
        others = list({person_id for person_id, is_write in asked if not is_write})
        this = b"%s %d" % (self._name, next(self._questions))
        commands: list[tuple[str | bytes | int, ...]] = [("SET", f"{self._prefix}since", this, "NX", "GET")]
        commands += [("SET", self._key(person_id), self._name, "EX", self._seconds, "GET") for person_id in new]
        if others:
            commands.append(("MGET", *map(self._key, others)))
        await connection.send_packed_command(connection.pack_commands(commands))
        marks_since = await connection.read_response() or this
        for person_id in new:
            if await connection.read_response() not in (None, self._name):
                self._elsewhere[person_id] = None
        marks = await connection.read_response() if others else ()
        marked = {person_id for person_id, mark in zip(others, marks, strict=True) if mark not in (None, self._name)}
        if self._marks_since not in (None, marks_since):
            self._doubt()
        self._marks_since = marks_since
        if self._doubts():
            return [True] * len(asked)
        return [is_write or person_id in marked or person_id in self._elsewhere for person_id, is_write in asked]

    def _doubt(self) -> None:
        self._is_in_doubt = True
        self._believed_from = math.inf

    def _doubts(self) -> bool:
        """Return whether a mark may be missing; forget what was remembered until now when none can be any more."""
        if self._is_in_doubt:
            self._believed_from = min(self._believed_from, self._clock() + DOUBT_SECONDS)
            if self._clock() >= self._believed_from:
                self._is_in_doubt = False
                self.on_lost()
        return self._is_in_doubt

    async def _connected(self) -> AbstractConnection:
        if self._connection is None:
            self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            await self._connection.connect()
        return self._connection

    def _key(self, person_id: UUID) -> str:
        return f"{self._prefix}{person_id}"
