"""Ask Valkey for all requests that come meanwhile, in one exchange: one script with all questions, and one reply.

Who asks are parts of the gateway (`Part`): those who count requests and those who mark writers. A write is counted and
marked, and waits for Valkey once.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.chassis.runtime.batcher import Batcher
from services.chassis.runtime.timeouts import wait_at_most
from services.gateway.access.valkey_faults import ANSWER_SECONDS, AWAY, CLOSE_SECONDS

MOST_AT_ONCE = 128  # a write is one to be counted and one to be marked
SCRIPT = b"""
local replies = {}
for place, key in ipairs(KEYS) do
    local kind, seconds, value = ARGV[3 * place - 2], ARGV[3 * place - 1], ARGV[3 * place]
    if kind == 'count' then
        replies[place] = redis.call('incr', key)
        if replies[place] == 1 then redis.call('expire', key, seconds) end
    elseif kind == 'mark' then
        replies[place] = redis.call('set', key, value, 'ex', seconds, 'get')
    elseif kind == 'leave' then
        replies[place] = redis.call('set', key, value, 'nx', 'get')
    else
        replies[place] = redis.call('get', key)
    end
end
return replies
"""


class Question(NamedTuple):
    """What Valkey does with one key.

    Attributes:
        kind: `count`: one more, and what that makes; `mark`: set the value, and what stood there; `leave`: set it where
            none stands, and what stood there; `read`: what stands there.
        seconds: for how long Valkey keeps what is counted, from the first on, or marked.
    """

    kind: str
    key: str
    seconds: int = 0
    value: bytes = b""


class Part(Protocol):
    """A part of the gateway that asks Valkey. An item is what one request wants to know."""

    def questions(self, items: Sequence[Any]) -> Sequence[Question]:
        """Return what these items ask; nothing while Valkey is left alone."""

    def outcomes(self, items: Sequence[Any], replies: Sequence[Any]) -> Sequence[Any]:
        """Return the outcome of each item; there are no replies if nothing was asked."""

    def failed(self, error: BaseException, *, was_new: bool) -> None:
        """Note that Valkey failed somebody. After a failure on a new connection `questions` must return nothing.

        Args:
            was_new: False where the connection may have ended long ago, with a server that is back.
        """


class Valkey:
    """One connection to Valkey, and one exchange under way on it.

    Args:
        authorities: the file of those that are trusted, for `rediss://`; empty for the system's.
    """

    def __init__(self, url: str, *, authorities: str = "") -> None:
        self.url = url
        self._pool = ConnectionPool.from_url(
            url,
            socket_timeout=None,  # the whole exchange has one
            retry=Retry(NoBackoff(), 0),
            **({"ssl_ca_certs": authorities} if authorities else {}),
        )
        self._parts: list[Part] = []
        self._connection: AbstractConnection | None = None
        self._batcher: Batcher[tuple[Part, Any], Any] = Batcher(self._exchange, MOST_AT_ONCE)

    def add(self, part: Part) -> None:
        """Tell a part of each failure from now on."""
        self._parts.append(part)

    def begin(self, part: Part, item: Any) -> asyncio.Future[Any]:
        """Ask at once; the outcome is awaited later."""
        return self._batcher.begin((part, item))

    async def drain(self) -> None:
        """Wait a moment for the questions under way."""
        with suppress(TimeoutError):
            await wait_at_most(CLOSE_SECONDS, self._batcher.drain())

    async def close(self) -> None:
        """Close the connection, when questions under way are answered."""
        await self.drain()
        await self._disconnect()

    async def try_anew(self, question: Question) -> None:
        """Ask on a connection made for that, because the others failed.

        Raises:
            AWAY: it failed too.
        """
        connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.connect()
                await _ask(connection, [question])
        finally:
            await _end(connection)

    async def _exchange(self, asked: Sequence[tuple[Part, Any]]) -> Sequence[Any]:
        items: dict[Part, list[Any]] = {}
        for part, item in asked:
            items.setdefault(part, []).append(item)
        replies = await self._replies(items)
        outcomes = {part: iter(part.outcomes(its, replies[part])) for part, its in items.items()}
        return [next(outcomes[part]) for part, _ in asked]

    async def _replies(self, items: dict[Part, list[Any]]) -> dict[Part, Sequence[Any]]:
        """Return the replies to each part; none where Valkey is left alone, or has failed."""
        while True:
            questions = {part: part.questions(its) for part, its in items.items()}
            everything = [question for each in questions.values() for question in each]
            if not everything:
                return questions
            was_new = self._connection is None
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    replies = iter(await _ask(await self._connected(), everything))
                return {part: [next(replies) for _ in each] for part, each in questions.items()}
            except AWAY as error:
                await self._disconnect()
                for part in self._parts:
                    part.failed(error, was_new=was_new)

    async def _connected(self) -> AbstractConnection:
        if self._connection is None:
            self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            await self._connection.connect()
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _end(connection)


async def _ask(connection: AbstractConnection, questions: Sequence[Question]) -> list[Any]:
    keys = [question.key for question in questions]
    values = [value for kind, _, seconds, text in questions for value in (kind, seconds, text)]
    command: tuple[Any, ...] = ("EVAL", SCRIPT, len(keys), *keys, *values)
    await connection.send_packed_command(hiredis.pack_command(command))
    replies: list[Any] = await connection.read_response()
    return replies


async def _end(connection: AbstractConnection) -> None:
    with suppress(*AWAY):
        await wait_at_most(ANSWER_SECONDS, connection.disconnect())
