"""Keep answers that are the same for every anonymous reader, as bytes, until what they show changes.

Each entry carries tags for what it was made of: `post:<id>` (the post, its comments and their number), `posts` (which
posts there are), `name:<id>` (the name of a person), `profile:<id>` (a person and the number of their comments).
A change evicts by tag. An entry is stored only if none of its tags was evicted since its reading began, and it is
served for 30 seconds at most from the moment its oldest part was asked for.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from services.chassis.http.ready_answers import Headers

MOST_BYTES = 64 * 1024 * 1024
ENTRY_BYTES = 4_000  # what an entry costs beside its body
MOST_SECONDS = 30.0
OFFLINE_SECONDS = 2.0  # how long entries live while no events are read
EVICTIONS_REMEMBERED = 50_000
SHORTENED_FOR_SECONDS = 10.0
SHORT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer.

    Attributes:
        headers: without the request id.
        unchanged: the headers of its 304.
        since: when its oldest part was asked for.
        head, unchanged_head: both as the bytes that a server sends.
        own_below: see `RequestContext`.
        private: the same with headers for one person alone; None in such a one.
        places: where the texts of comments belong in the body, as far as `readers` has looked for them.
    """

    headers: Headers
    unchanged: Headers
    body: bytes
    etag: str
    tags: frozenset[str]
    since: float
    head: bytes = b""
    unchanged_head: bytes = b""
    own_below: frozenset[str] | None = None
    private: "Entry | None" = None
    places: dict[str, int] = field(default_factory=dict)


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
        self._shortened: dict[str, float] = {}
        self._evictions_known_since = 0
        self._bytes = 0
        self.sequence = 0
        self.seconds = OFFLINE_SECONDS

    def set_following(self, following: bool) -> None:
        """Set whether events are being read; drop all entries, since events may have been missed in between."""
        self.seconds = MOST_SECONDS if following else OFFLINE_SECONDS
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
        if began < self._evictions_known_since or any(self._evicted.get(tag, -1) >= began for tag in entry.tags):
            return False
        if _cost(key, entry) > self._most_bytes // 8:
            return False
        self._drop(key)
        now = self._clock()
        is_shortened = any(self._shortened.get(tag, 0.0) > now for tag in entry.tags)
        seconds = SHORT_SECONDS if is_shortened else self.seconds
        self._entries[key] = min(entry.since + MOST_SECONDS, now + seconds), entry
        self._bytes += _cost(key, entry)
        for tag in entry.tags:
            self._by_tag.setdefault(tag, set()).add(key)
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._entries)))
        return True

    def evict(self, tags: Iterable[str]) -> None:
        """Drop every entry that was made of one of these."""
        if len(self._evicted) >= EVICTIONS_REMEMBERED:
            self._evicted.clear()
            self._evictions_known_since = self.sequence + 1
        for tag in tags:
            self._evicted[tag] = self.sequence
            for key in self._by_tag.pop(tag, ()):
                self._drop(key)
        self.sequence += 1

    def evict_and_shorten(self, tags: Iterable[str]) -> None:
        """Evict, and keep what is made of these for one second only, during the next ten.

        Another service has not read the event yet, and answers as before until then.
        """
        until = self._clock() + SHORTENED_FOR_SECONDS
        if len(self._shortened) >= EVICTIONS_REMEMBERED:
            self._shortened.clear()
            self.clear()
        kept = tuple(tags)
        self._shortened.update(dict.fromkeys(kept, until))
        self.evict(kept)

    async def drop_expired(self) -> None:
        """Drop what is too old to be served, so that the memory of a load comes back when nobody reads any more."""
        now = self._clock()
        for key in [key for key, (until, _) in self._entries.items() if now >= until]:
            self._drop(key)

    def clear(self) -> None:
        """Drop all entries."""
        self._entries.clear()
        self._by_tag.clear()
        self._evicted.clear()
        self._bytes = 0
        self.sequence += 1
        self._evictions_known_since = self.sequence

    def __len__(self) -> int:
        return len(self._entries)

    def _drop(self, key: bytes) -> None:
        found = self._entries.pop(key, None)
        if found is None:
            return
        entry = found[1]
        self._bytes -= _cost(key, entry)
        for tag in entry.tags:
            keys = self._by_tag.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._by_tag[tag]


def _cost(key: bytes, entry: Entry) -> int:
    return len(key) + len(entry.body) + ENTRY_BYTES + 100 * len(entry.tags)


def with_values(headers: Headers, values: Mapping[bytes, bytes]) -> Headers:
    """Return the headers with other values for these names."""
    return [(name, values.get(name, value)) for name, value in headers]
