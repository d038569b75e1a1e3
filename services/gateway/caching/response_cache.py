"""Keep answers that are the same for every anonymous reader, as bytes, until what they show changes.

Each entry carries tags for what it was made of: `post:<id>` (the post, its comments and their number), `posts` (which
posts there are), `name:<id>` (the name of a person), `profile:<id>` (a person and the number of their comments).
A change evicts by tag. An entry is stored only if none of its tags was evicted since its reading began, and it is
served for 30 seconds at most from the moment its oldest part was asked for.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

MOST_BYTES = 64 * 1024 * 1024
ENTRY_BYTES = 2_000  # what an entry costs beside its body
MOST_SECONDS = 30.0
UNHEARD_SECONDS = 2.0  # how long entries live while no events are read
EVICTIONS_REMEMBERED = 50_000
SETTLING_SECONDS = 10.0
UNSETTLED_SECONDS = 1.0

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer.

    Attributes:
        headers: without the request id.
        unchanged: the headers of its 304.
        since: when its oldest part was asked for.
    """

    headers: Headers
    unchanged: Headers
    body: bytes
    etag: str
    tags: frozenset[str]
    since: float


class ResponseCache:
    """Answers by path and query.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_bytes = most_bytes
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, Entry]] = OrderedDict()
        self._by_tag: dict[str, set[bytes]] = {}
        self._evicted: dict[str, int] = {}
        self._unsettled: dict[str, float] = {}
        self._forgotten = 0
        self._bytes = 0
        self.sequence = 0
        self.seconds = UNHEARD_SECONDS

    def hears(self, well: bool) -> None:
        """Note whether events are being read; drop all entries, since events may have been missed in between."""
        self.seconds = MOST_SECONDS if well else UNHEARD_SECONDS
        self.clear()

    def get(self, key: bytes) -> Entry | None:
        """Return the entry, unless there is none or it is too old."""
        found = self._entries.get(key)
        if found is None:
            return None
        if self._clock() >= found[0]:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return found[1]

    def store(self, key: bytes, entry: Entry, began: int) -> bool:
        """Store an entry whose reading began at `sequence` `began`; return False if part of it changed since."""
        if began < self._forgotten or any(self._evicted.get(tag, -1) >= began for tag in entry.tags):
            return False
        if self._cost(entry) > self._most_bytes // 8:
            return False
        self._drop(key)
        now = self._clock()
        unsettled = any(self._unsettled.get(tag, 0.0) > now for tag in entry.tags)
        seconds = UNSETTLED_SECONDS if unsettled else self.seconds
        self._entries[key] = min(entry.since + MOST_SECONDS, now + seconds), entry
        self._bytes += self._cost(entry)
        for tag in entry.tags:
            self._by_tag.setdefault(tag, set()).add(key)
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._entries)))
        return True

    def evict(self, tags: Iterable[str]) -> None:
        """Drop every entry that was made of one of these."""
        if len(self._evicted) >= EVICTIONS_REMEMBERED:
            self._evicted.clear()
            self._forgotten = self.sequence + 1
        for tag in tags:
            self._evicted[tag] = self.sequence
            for key in self._by_tag.pop(tag, ()):
                self._drop(key)
        self.sequence += 1

    def unsettle(self, tags: Iterable[str]) -> None:
        """Evict, and for a while keep what is made of these for a second only.

        Another service still has to hear of the change itself, and until then answers as before.
        """
        until = self._clock() + SETTLING_SECONDS
        if len(self._unsettled) >= EVICTIONS_REMEMBERED:
            self._unsettled.clear()
            self.clear()
        kept = tuple(tags)
        self._unsettled.update(dict.fromkeys(kept, until))
        self.evict(kept)

    def clear(self) -> None:
        """Drop all entries."""
        self._entries.clear()
        self._by_tag.clear()
        self._evicted.clear()
        self._bytes = 0
        self.sequence += 1
        self._forgotten = self.sequence

    def __len__(self) -> int:
        return len(self._entries)

    def _drop(self, key: bytes) -> None:
        found = self._entries.pop(key, None)
        if found is None:
            return
        entry = found[1]
        self._bytes -= self._cost(entry)
        for tag in entry.tags:
            keys = self._by_tag.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._by_tag[tag]

    @staticmethod
    def _cost(entry: Entry) -> int:
        return len(entry.body) + ENTRY_BYTES + 100 * len(entry.tags)
