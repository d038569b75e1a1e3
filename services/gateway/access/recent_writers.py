"""Know who wrote lately through another gateway: the owners answer their reads, not what this gateway keeps.

A write marks its person in Valkey with the name of its gateway before it is carried out; a read asks for the mark.
What a person wrote here has changed what is kept here, as soon as it is known how it ended.

Marks may be lost with Valkey, or never have been written to one that is away or takes no writes. So each exchange also
writes: Valkey that refuses is away, and one that has lost what all gateways left there is known by it. After either,
nothing is believed until every gateway may mark again, and then what was remembered before is forgotten.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from itertools import count
from uuid import UUID, uuid4

from cachetools import TTLCache

from services.gateway.access.valkey import Question, Valkey
from services.gateway.access.valkey_faults import ANSWER_SECONDS, AWAY_SECONDS

WRITER = "rapport.writer"  # in the scope of a request: who is marked for it
OLDEST_SECONDS = 35  # of what a gateway keeps or remembers, and some more
Asked = tuple[UUID, bool]  # a person, and whether they write
DOUBT_SECONDS = AWAY_SECONDS + 2 * ANSWER_SECONDS  # for which others may still write unmarked when Valkey is back


class RecentWriters:
    """Marks of those who wrote, which outlive everything that a gateway has from before the end of the write.

    Args:
        longest_write: the most seconds from a mark to the answer of its write.
        clock: seconds, monotonic.
        prefix: of the keys.

    Attributes:
        on_lost: called when marks may have been lost, before the next absence of one is believed.
    """

    def __init__(
        self,
        valkey: Valkey,
        *,
        longest_write: float,
        clock: Callable[[], float] = time.monotonic,
        prefix: str = "rapport:wrote:",
    ) -> None:
        self._valkey = valkey
        valkey.add(self)
        self._seconds = math.ceil(longest_write) + OLDEST_SECONDS
        self._clock = clock
        self._prefix = prefix
        self._name = uuid4().hex.encode()
        self._exchanges = count()
        self._this = b""  # names the exchange under way
        self._away_until = 0.0
        self._marks_since: bytes | None = None  # names the exchange that was the first to find no marks
        self._believed_from = 0.0
        self._is_in_doubt = False
        # Writes that began here and have not ended, by person; and who wrote elsewhere too before they wrote here.
        self._under_way: dict[UUID, tuple[int, float]] = {}  # how many, and until when; the latest is the last
        self._elsewhere: TTLCache[UUID, None] = TTLCache(math.inf, self._seconds, timer=clock)
        self.on_lost: Callable[[], None] = lambda: None

    def begin(self, person_id: UUID) -> asyncio.Future[bool]:
        """Mark a person at once; what they write must not be answered before the future is done."""
        self._note(person_id, 1)
        return self._valkey.begin(self, (person_id, True))

    def end(self, person_id: UUID) -> None:
        """Note that it is known how a write ended, and what it changed is kept here no more."""
        self._note(person_id, -1)

    def _note(self, person_id: UUID, more: int) -> None:
        now = self._clock()
        known, until = self._under_way.pop(person_id, (0, 0.0))
        if (left := (known if until > now else 0) + more) > 0:
            self._under_way[person_id] = left, now + self._seconds
        while self._under_way and self._under_way[oldest := next(iter(self._under_way))][1] <= now:
            del self._under_way[oldest]

    async def wrote_lately(self, person_id: UUID) -> bool:
        """Return whether a person may have written what is not known here; true also where that cannot be told."""
        if self._under_way.get(person_id, (0, 0.0))[1] > self._clock():
            return True
        marked: bool = await self._valkey.begin(self, (person_id, False))
        return marked

    def questions(self, asked: Sequence[Asked]) -> Sequence[Question]:
        """Return what marks those who write and reads the marks of the others; nothing while Valkey is left alone."""
        if self._clock() < self._away_until:
            return ()
        self._this = b"%s %d" % (self._name, next(self._exchanges))
        questions = [Question("leave", f"{self._prefix}since", value=self._this)]
        for person_id, is_write in asked:
            key = f"{self._prefix}{person_id}"
            questions.append(Question("mark", key, self._seconds, self._name) if is_write else Question("read", key))
        return questions

    def outcomes(self, asked: Sequence[Asked], replies: Sequence[bytes | None]) -> Sequence[bool]:
        """Return whether each may have written what is not known here; all may where Valkey does not answer."""
        if not replies:
            return [True] * len(asked)
        marks_since, marks = replies[0] or self._this, replies[1:]
        is_foreign = [mark not in (None, self._name) for mark in marks]
        for (person_id, is_write), foreign in zip(asked, is_foreign, strict=True):
            if is_write and foreign:
                self._elsewhere[person_id] = None
        if self._marks_since not in (None, marks_since):
            self._doubt()
        self._marks_since = marks_since
        if self._doubts():
            return [True] * len(asked)
        return [
            is_write or foreign or person_id in self._elsewhere
            for (person_id, is_write), foreign in zip(asked, is_foreign, strict=True)
        ]

    def failed(self, _: BaseException, *, was_new: bool) -> None:
        """Believe nothing for a while; leave Valkey alone unless it may be back already."""
        self._doubt()
        if was_new:
            self._away_until = self._clock() + AWAY_SECONDS

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
