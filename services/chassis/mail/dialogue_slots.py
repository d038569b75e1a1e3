"""How many dialogues with the mail server run at once, and who is next."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

log = structlog.get_logger(__name__)

SECOND_LINE = 4  # one of so many free slots goes to the second line first


class DialogueSlots:
    """Slots for dialogues: as many as set; for a while fewer when the mail server has refused one beside others.

    Two lines wait for them. A free slot goes to the first line, but each fourth to the second one, if anybody is there:
    so no length of a line keeps the other one waiting.

    Args:
        most: how many there are.
        lowered_seconds: how long there are fewer.
    """

    def __init__(self, most: int, *, lowered_seconds: float = 60.0) -> None:
        self._most = most
        self._lowered_seconds = lowered_seconds
        self._lowered_to, self._lowered_until = most, 0.0
        self._taken = 0
        self._given = 0
        self._lines: tuple[deque[asyncio.Future[None]], deque[asyncio.Future[None]]] = (deque(), deque())

    @property
    def limit(self) -> int:
        """Return how many dialogues may run now."""
        return self._lowered_to if time.monotonic() < self._lowered_until else self._most

    def lower(self, to: int) -> None:
        """Let no more than so many dialogues run for a while, but one."""
        self._lowered_to = max(1, min(to, self.limit))
        self._lowered_until = time.monotonic() + self._lowered_seconds
        log.warning("the mail server takes no more dialogues at once; fewer for a while", dialogues=self._lowered_to)

    @asynccontextmanager
    async def one(self, *, second_line: bool = False) -> AsyncIterator[None]:
        """Hold a slot inside the block; wait for it in one of the lines."""
        self._give()
        if self._taken < self.limit:
            self._taken += 1
        else:
            await self._wait(self._lines[second_line])
        try:
            yield
        finally:
            self._taken -= 1
            self._give()

    async def _wait(self, line: deque[asyncio.Future[None]]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given a slot in the same moment
                self._taken -= 1
                self._give()
            raise

    def _give(self) -> None:
        """Give free slots to those who wait."""
        first, second = self._lines
        while self._taken < self.limit and (first or second):
            is_seconds_turn = second and (not first or (self._given + 1) % SECOND_LINE == 0)
            turn = (second if is_seconds_turn else first).popleft()
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                self._given += 1
                self._taken += 1
