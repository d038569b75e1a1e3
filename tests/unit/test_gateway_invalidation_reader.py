"""The reader of events when the Kafka client misbehaves."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.gateway.caching import invalidation
from services.gateway.caching.invalidation import TOPICS, Invalidation, InvalidationReader
from services.gateway.caching.response_cache import MOST_SECONDS, ResponseCache
from services.gateway.composition.author_cache import AuthorCache
from services.gateway.settings import GatewaySettings
from tests.waiting import eventually


async def escape() -> None:
    """Raise the CancelledError of a task that the client cancelled itself."""
    raise asyncio.CancelledError


async def hang() -> None:
    await asyncio.Event().wait()


class Kafka:
    """A broker whose clients work, but for the calls in `failing`, each of which fails once."""

    def __init__(self) -> None:
        self.failing: dict[str, Callable[[], Awaitable[None]]] = {}
        self.clients = 0
        self.stopped = 0

    def client(self, **_: Any) -> "Client":
        self.clients += 1
        return Client(self)

    async def reach(self, call: str) -> None:
        fail = self.failing.pop(call, None)
        if fail is not None:
            await fail()


class Client:
    """The part of `AIOKafkaConsumer` that the reader uses."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka

    def assign(self, partitions: Any) -> None:
        pass

    async def start(self) -> None:
        await self._kafka.reach("start")

    async def stop(self) -> None:
        self._kafka.stopped += 1
        await self._kafka.reach("stop")

    async def seek_to_end(self) -> None:
        await self._kafka.reach("seek_to_end")

    async def position(self, partition: Any) -> int:
        await self._kafka.reach("position")
        return 0

    async def getmany(self, timeout_ms: int) -> dict[Any, Any]:
        await self._kafka.reach("getmany")
        await asyncio.sleep(0.001)
        return {}

    async def end_offsets(self, partitions: Any) -> dict[Any, int]:
        await self._kafka.reach("end_offsets")
        return {}


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    kafka = Kafka()

    async def create_topics(*_: object, **__: object) -> None:
        await kafka.reach("create_topics")

    monkeypatch.setattr(invalidation, "AIOKafkaConsumer", kafka.client)
    monkeypatch.setattr(invalidation, "create_topics", create_topics)
    monkeypatch.setattr(invalidation, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(invalidation, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(invalidation, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(invalidation, "POLL_SECONDS", 0.01)
    return kafka


@pytest.fixture
def cache() -> ResponseCache:
    return ResponseCache()


@pytest.fixture
def reader(kafka: Kafka, cache: ResponseCache, keys: dict[str, str]) -> InvalidationReader:
    settings = GatewaySettings(gateway_signing_key=keys["GATEWAY_SIGNING_KEY"])
    return InvalidationReader(
        Invalidation(cache, AuthorCache(lambda ids, deadline: asyncio.sleep(0, []))), cache, settings
    )


@pytest.mark.parametrize("call", ["create_topics", "start", "seek_to_end", "position", "getmany", "end_offsets"])
async def test_a_cancellation_that_escapes_from_the_client_starts_it_anew(
    call: str, kafka: Kafka, cache: ResponseCache, reader: InvalidationReader
) -> None:
    kafka.failing[call] = escape
    stop = asyncio.Event()
    running = asyncio.ensure_future(reader.run(stop))
    try:
        await eventually(lambda: running.done() or (not kafka.failing and cache.seconds == MOST_SECONDS))
        assert not running.done()
        assert kafka.clients == len(TOPICS) * (1 if call == "create_topics" else 2)
    finally:
        stop.set()
        await asyncio.wait([running], timeout=5)


async def test_a_cancellation_that_escapes_from_stopping_does_not_end_the_reader(
    kafka: Kafka, cache: ResponseCache, reader: InvalidationReader
) -> None:
    kafka.failing = {"getmany": escape, "stop": escape}
    stop = asyncio.Event()
    running = asyncio.ensure_future(reader.run(stop))
    try:
        await eventually(lambda: running.done() or (not kafka.failing and cache.seconds == MOST_SECONDS))
        assert not running.done()
    finally:
        stop.set()
        await asyncio.wait([running], timeout=5)


@pytest.mark.parametrize("call", ["getmany", "end_offsets"])
async def test_a_broker_that_stops_answering_is_noticed(
    call: str,
    kafka: Kafka,
    cache: ResponseCache,
    reader: InvalidationReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, noted, set_following = asyncio.Event(), list[bool](), cache.set_following

    def note(following: bool) -> None:
        noted.append(following)
        set_following(following)

    monkeypatch.setattr(cache, "set_following", note)
    running = asyncio.ensure_future(reader.run(stop))
    try:
        await eventually(lambda: noted == [True])
        kafka.failing[call] = hang
        await eventually(lambda: noted == [True, False, True], timeout=5)
        assert kafka.stopped == len(TOPICS), "both are ended when one fails"
    finally:
        stop.set()
        await asyncio.wait([running], timeout=5)


async def test_a_lost_broker_is_noticed_before_its_client_has_stopped(
    kafka: Kafka, cache: ResponseCache, reader: InvalidationReader
) -> None:
    running = asyncio.ensure_future(reader.run(stop := asyncio.Event()))
    try:
        await eventually(lambda: cache.seconds == MOST_SECONDS)
        kafka.failing = {"end_offsets": hang, "stop": hang}
        await eventually(lambda: cache.seconds < MOST_SECONDS, timeout=1)
    finally:
        stop.set()
        await asyncio.wait([running], timeout=6)


async def test_the_reader_ends_when_it_is_cancelled(kafka: Kafka, reader: InvalidationReader) -> None:
    running = asyncio.ensure_future(reader.run(asyncio.Event()))
    await eventually(lambda: kafka.clients)
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()
