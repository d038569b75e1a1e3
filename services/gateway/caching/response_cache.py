"""Keep answers that are the same for all strangers, all moderators or one person, as bytes, until they change.

Each entry carries tags for what it was made of: `post:<id>` (the post, its comments and their number), `posts` (which
posts there are), `name:<id>` (the name of a person), `profile:<id>` (a person and the number of their comments).
A change evicts by tag; where it is a comment that this gateway has posted, lists get that comment instead. An entry is
stored only if none of its tags was evicted since its reading began, and it is served for 30 seconds at most from the
moment its oldest part was asked for.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from services.gateway.caching.added_comments import MOST_ADDED, with_added
from services.gateway.caching.entry import Entry, Json

MOST_BYTES = 64 * 1024 * 1024
ENTRY_BYTES = 4_000  # what an entry costs beside its body
MOST_SECONDS = 30.0
OFFLINE_SECONDS = 2.0  # how long entries live while no events are read
EVICTIONS_REMEMBERED = 50_000
SHORTENED_FOR_SECONDS = 10.0
SHORT_SECONDS = 1.0

Kept = tuple[float, Entry, int]  # until when, what, and the `sequence` at which its reading began
Taken = Sequence[tuple[bytes, Kept]]


class ResponseCache:
    """Answers by path and query.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_bytes = most_bytes
        self._clock = clock
        self._entries: OrderedDict[bytes, Kept] = OrderedDict()
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
        return found[1] if not found[1].added else self._amend(key, *found)

    def _amend(self, key: bytes, until: float, entry: Entry, began: int) -> Entry | None:
        """Return the entry with what was added to it; drop one that cannot take it."""
        self._drop(key)
        amended = with_added(key, entry)
        if amended is not None:
            self._keep(key, until, amended, began)
        return amended

    def store(self, key: bytes, entry: Entry, began: int) -> bool:
        """Store an entry whose reading began at `sequence` `began`; return False if part of it changed since."""
        if self._has_changed(entry.tags, began):
            return False
        if _cost(key, entry) > self._most_bytes // 8:
            return False
        now = self._clock()
        is_shortened = any(self._shortened.get(tag, 0.0) > now for tag in entry.tags)
        seconds = SHORT_SECONDS if is_shortened else self.seconds
        self._keep(key, min(entry.since + MOST_SECONDS, now + seconds), entry, began)
        return True

    def _has_changed(self, tags: Iterable[str], began: int) -> bool:
        return began < self._evictions_known_since or any(self._evicted.get(tag, -1) >= began for tag in tags)

    def _keep(self, key: bytes, until: float, entry: Entry, began: int) -> None:
        self._drop(key)
        self._entries[key] = until, entry, began
        self._bytes += _cost(key, entry)
        for tag in entry.tags:
            self._by_tag.setdefault(tag, set()).add(key)
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._entries)))

    def made_of(self, tag: str, began: int) -> Taken:
        """Return what is kept and was made of this, and whose reading began at `sequence` `began` or before."""
        keys = self._by_tag.get(tag, ())
        return [(key, self._entries[key]) for key in keys if self._entries[key][2] <= began]

    def put_back(self, taken: Taken, evicted: int, comment: Json, since: float, tags: Iterable[str]) -> None:
        """Keep again what an eviction has dropped, with a comment that was all that had changed.

        Args:
            evicted: `sequence` after that eviction.
            since: when the oldest part of the comment was asked for.
            tags: what the comment is made of.
        """
        for key, (until, entry, began) in taken:
            changed = replace(
                entry,
                added=(*entry.added, comment),
                tags=entry.tags.union(tags),
                since=min(entry.since, since),
            )
            if (
                key not in self._entries
                and len(changed.added) <= MOST_ADDED
                and not self._has_changed(changed.tags, evicted)
            ):
                self._keep(key, min(until, changed.since + MOST_SECONDS), changed, began)

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
        for key in [key for key, (until, *_) in self._entries.items() if now >= until]:
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
    added = sum(ENTRY_BYTES + len(one["body_html"]) for one in entry.added)
    return len(key) + len(entry.body) + ENTRY_BYTES + 100 * len(entry.tags) + added
