"""The response cache: which entries are stored, served and evicted."""

import pytest

from services.gateway.caching.entry import Entry
from services.gateway.caching.response_cache import ResponseCache


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> ResponseCache:
    cache = ResponseCache(clock=clock)
    cache.set_following(True)
    return cache


def entry(clock: Clock, *tags: str, body: bytes = b"{}", since: float | None = None) -> Entry:
    return Entry([], [], body, '"0-x"', frozenset(tags), clock.now if since is None else since)


async def test_old_entries_go_though_nobody_asks_for_them(cache: ResponseCache, clock: Clock) -> None:
    for number in range(10):
        cache.store(b"/%d" % number, entry(clock, "post:1", body=b"x" * 100_000), cache.sequence)
        clock.now += 5
    await cache.drop_expired()
    assert len(cache) == 5
    assert cache.get(b"/9") is not None
    clock.now += 30
    await cache.drop_expired()
    assert (len(cache), cache._bytes, cache._by_tag) == (0, 0, {})


def test_an_entry_is_served_until_it_is_thirty_seconds_old(cache: ResponseCache, clock: Clock) -> None:
    kept = entry(clock, "post:1", since=clock.now - 10)
    assert cache.store(b"/a", kept, cache.sequence)
    clock.now += 19.9
    assert cache.get(b"/a") is kept
    clock.now += 0.1
    assert cache.get(b"/a") is None
    assert len(cache) == 0


def test_an_eviction_drops_every_entry_with_the_tag(cache: ResponseCache, clock: Clock) -> None:
    cache.store(b"/a", entry(clock, "post:1", "name:1"), cache.sequence)
    cache.store(b"/b", entry(clock, "post:2", "name:1"), cache.sequence)
    cache.evict(["post:1"])
    assert cache.get(b"/a") is None
    assert cache.get(b"/b") is not None
    cache.evict(["name:1"])
    assert cache.get(b"/b") is None


def test_an_entry_evicted_since_its_reading_began_is_not_stored(cache: ResponseCache, clock: Clock) -> None:
    began = cache.sequence
    cache.evict(["post:1"])
    assert not cache.store(b"/a", entry(clock, "post:1"), began)
    assert cache.store(b"/b", entry(clock, "post:2"), began)
    assert cache.store(b"/a", entry(clock, "post:1"), cache.sequence)


def test_an_entry_whose_reading_began_before_a_clear_is_not_stored(cache: ResponseCache, clock: Clock) -> None:
    began = cache.sequence
    cache.store(b"/b", entry(clock, "post:2"), began)
    cache.clear()
    assert cache.get(b"/b") is None
    assert not cache.store(b"/a", entry(clock, "post:1"), began)


def test_forgotten_evictions_count_as_a_clear(cache: ResponseCache, clock: Clock) -> None:
    began = cache.sequence
    for number in range(50_001):
        cache.evict([f"post:{number}"])
    assert not cache.store(b"/a", entry(clock, "post:never"), began)
    assert cache.store(b"/a", entry(clock, "post:never"), cache.sequence)


def test_a_shortened_entry_is_kept_for_one_second(cache: ResponseCache, clock: Clock) -> None:
    cache.store(b"/a", entry(clock, "post:1"), cache.sequence)
    cache.evict_and_shorten(["post:1"])
    assert cache.get(b"/a") is None
    cache.store(b"/a", entry(clock, "post:1"), cache.sequence)
    clock.now += 0.9
    assert cache.get(b"/a") is not None
    clock.now += 0.1
    assert cache.get(b"/a") is None
    clock.now += 9
    cache.store(b"/a", entry(clock, "post:1"), cache.sequence)
    clock.now += 29
    assert cache.get(b"/a") is not None


def test_the_second_of_a_shortened_entry_is_counted_from_storing_it(cache: ResponseCache, clock: Clock) -> None:
    """Otherwise nothing would be cached right after a post was published, when many read it."""
    cache.evict_and_shorten(["post:1"])
    cache.store(b"/a", entry(clock, "post:1", since=clock.now - 20), cache.sequence)
    clock.now += 0.9
    assert cache.get(b"/a") is not None
    clock.now += 0.1
    assert cache.get(b"/a") is None
    cache.store(b"/a", entry(clock, "post:1", since=clock.now - 29.5), cache.sequence)
    clock.now += 0.5
    assert cache.get(b"/a") is None, "and nothing is older than 30 s"


def test_while_no_events_are_read_entries_live_two_seconds(cache: ResponseCache, clock: Clock) -> None:
    cache.store(b"/a", entry(clock, "post:1"), cache.sequence)
    cache.set_following(False)
    assert cache.get(b"/a") is None
    cache.store(b"/a", entry(clock, "post:1"), cache.sequence)
    clock.now += 2
    assert cache.get(b"/a") is None


def test_the_least_recently_used_entry_is_dropped_when_the_cache_is_full(clock: Clock) -> None:
    cache = ResponseCache(most_bytes=115_000, clock=clock)
    for name in (b"/a", b"/b", b"/c", b"/d", b"/e", b"/f", b"/g", b"/h"):
        cache.store(name, entry(clock, "post:1", body=b"x" * 10_000), cache.sequence)
    assert cache.get(b"/a") is not None
    cache.store(b"/i", entry(clock, "post:1", body=b"x" * 10_000), cache.sequence)
    assert cache.get(b"/a") is not None
    assert cache.get(b"/b") is None
    assert not cache.store(b"/j", entry(clock, "post:1", body=b"x" * 50_000), cache.sequence)


def test_storing_a_key_again_replaces_its_entry(cache: ResponseCache, clock: Clock) -> None:
    cache.store(b"/a", entry(clock, "post:1"), cache.sequence)
    second = entry(clock, "post:2")
    cache.store(b"/a", second, cache.sequence)
    cache.evict(["post:1"])
    assert cache.get(b"/a") is second
    assert len(cache) == 1
