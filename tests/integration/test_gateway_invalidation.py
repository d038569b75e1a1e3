"""Events from a real broker evict what they concern from the cache."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.client.client import within
from services.chassis.messaging.cloudevents import to_headers, to_key
from services.chassis.messaging.topics import create_topics
from services.contracts.comments import CommentPosted
from services.contracts.event import Envelope, Event
from services.contracts.people import PersonRenamed, PersonRolesChanged
from services.contracts.posts import PostEdited, PostRevisionBlanked
from services.gateway.caching.entry import Entry
from services.gateway.caching.invalidation import Invalidation, InvalidationReader
from services.gateway.caching.response_cache import MOST_SECONDS, ResponseCache
from services.gateway.composition.author_cache import AuthorCache
from services.gateway.settings import GatewaySettings
from tests.servers import PrivateServers
from tests.waiting import eventually

POST, COMMENT, PERSON, OTHER = uuid4(), uuid4(), uuid4(), uuid4()
NOW = datetime.now(UTC)


def edited() -> Event:
    return PostEdited(
        post_id=POST, author_id=PERSON, kind="post", status="published", discussion="open", version=2, revision=1,
        occurred_at=NOW,
    )  # fmt: skip


def posted() -> Event:
    return CommentPosted(
        comment_id=COMMENT, post_id=POST, post_author_id=OTHER, parent_id=None, parent_author_id=None, depth=0,
        author_id=PERSON, state="visible", version=1, created_at=NOW, occurred_at=NOW,
    )  # fmt: skip


def blanked() -> Event:
    return PostRevisionBlanked(post_id=POST, text_id=OTHER, revision=1, occurred_at=NOW)


def renamed() -> Event:
    return PersonRenamed(person_id=PERSON, roles=(), version=2, occurred_at=NOW)


class Harness:
    """The caches of one gateway, and a producer of events."""

    def __init__(self, producer: Any, prefix: str) -> None:
        self.cache = ResponseCache()
        self.asked: list[list[str]] = []
        self.authors = AuthorCache(self._look_up)
        self.invalidation = Invalidation(self.cache, self.authors)
        self._producer, self._prefix = producer, prefix

    async def _look_up(self, ids: list[str], deadline: float) -> list[dict[str, Any]]:
        self.asked.append(ids)
        return [{"id": one, "name": "x", "avatar_url": None} for one in ids]

    def keep(self, *tags: str) -> None:
        loop = asyncio.get_running_loop()
        for tag in tags:
            entry = Entry([], [], b"", '""', frozenset({tag}), loop.time())
            assert self.cache.store(tag.encode(), entry, self.cache.sequence)

    def kept(self, *tags: str) -> list[bool]:
        return [self.cache.get(tag.encode()) is not None for tag in tags]

    async def publish(self, event: Event) -> None:
        envelope = Envelope(
            uuid4(), "/services/x", event.type, event.subject, NOW, event.key, event.model_dump_json().encode()
        )
        await self.send(event.topic.name, to_key(envelope), envelope.data, to_headers(envelope))

    async def send(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        await self._producer.send_and_wait(self._prefix + topic, value, key=key, headers=headers)


@pytest.fixture
async def harness(kafka: str, kafka_prefix: str, keys: dict[str, str]) -> AsyncIterator[Harness]:
    from aiokafka import AIOKafkaProducer

    await create_topics(kafka, kafka_prefix)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    harness = Harness(producer, kafka_prefix)
    settings = GatewaySettings(
        kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix, gateway_signing_key=keys["GATEWAY_SIGNING_KEY"]
    )
    await harness.publish(edited())  # events from before the start do not matter
    stop = asyncio.Event()
    running = asyncio.ensure_future(InvalidationReader(harness.invalidation, harness.cache, settings).run(stop))
    try:
        await eventually(lambda: harness.cache.seconds == MOST_SECONDS, timeout=30)
        yield harness
    finally:
        stop.set()
        await running
        await producer.stop()


POST_TAG, LIST_TAG, NAME_TAG, PROFILE_TAG = f"post:{POST}", "posts", f"name:{PERSON}", f"profile:{PERSON}"
ALL = (POST_TAG, LIST_TAG, NAME_TAG, PROFILE_TAG)


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (edited, [False, False, True, True]),
        (blanked, [False, False, True, True]),
        (posted, [False, True, True, False]),
        (renamed, [True, True, False, False]),
    ],
)
async def test_an_event_evicts_the_entries_it_concerns(
    harness: Harness, event: Callable[[], Event], kept: list[bool]
) -> None:
    harness.keep(*ALL)
    await harness.publish(event())
    await eventually(lambda: harness.kept(*ALL) == kept)


async def test_a_renamed_author_is_looked_up_again(harness: Harness) -> None:
    await harness.authors.of([str(PERSON)], within(60))
    await harness.publish(renamed())
    harness.keep(NAME_TAG)

    async def asked_again() -> bool:
        await harness.authors.of([str(PERSON)], within(60))
        return len(harness.asked) > 1

    await eventually(asked_again)


async def test_changed_roles_evict_nothing(harness: Harness) -> None:
    harness.keep(NAME_TAG, POST_TAG)
    await harness.publish(PersonRolesChanged(person_id=PERSON, roles=("author",), version=3, occurred_at=NOW))
    await harness.publish(edited())
    await eventually(lambda: harness.kept(POST_TAG) == [False])


@pytest.mark.parametrize("headers", [[], [("ce_type", PersonRenamed.type.encode())]])
async def test_an_unreadable_event_evicts_everything(harness: Harness, headers: list[tuple[str, bytes]]) -> None:
    await harness.authors.of([str(PERSON)], within(60))
    harness.keep(NAME_TAG, POST_TAG)
    await harness.send("people.events", str(UUID(int=1)).encode(), b"{", headers)
    await eventually(lambda: harness.kept(NAME_TAG, POST_TAG) == [False, False])
    await harness.authors.of([str(PERSON)], within(60))
    assert len(harness.asked) == 2, "whose name has changed is not known either"


async def test_missing_topics_are_created(kafka: str, kafka_prefix: str, keys: dict[str, str]) -> None:
    cache = ResponseCache()
    settings = GatewaySettings(
        kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix, gateway_signing_key=keys["GATEWAY_SIGNING_KEY"]
    )
    stop = asyncio.Event()
    reader = InvalidationReader(
        Invalidation(cache, AuthorCache(lambda ids, deadline: asyncio.sleep(0, []))), cache, settings
    )
    running = asyncio.ensure_future(reader.run(stop))
    await eventually(lambda: cache.seconds == MOST_SECONDS, timeout=30)
    stop.set()
    await asyncio.wait_for(running, 10)


async def test_without_a_broker_the_reader_keeps_trying_and_stops_when_asked(
    keys: dict[str, str], free_port: Any
) -> None:
    cache = ResponseCache()
    settings = GatewaySettings(
        kafka_bootstrap_servers=f"127.0.0.1:{free_port()}", gateway_signing_key=keys["GATEWAY_SIGNING_KEY"]
    )
    stop = asyncio.Event()
    reader = InvalidationReader(
        Invalidation(cache, AuthorCache(lambda ids, deadline: asyncio.sleep(0, []))), cache, settings
    )
    running = asyncio.ensure_future(reader.run(stop))
    before = cache.sequence
    await eventually(lambda: cache.sequence > before, timeout=30)
    assert cache.seconds < MOST_SECONDS
    stop.set()
    await asyncio.wait_for(running, 10)


async def test_a_lost_broker_is_noticed_and_read_again_when_it_is_back(
    private_servers: PrivateServers, kafka_prefix: str, keys: dict[str, str]
) -> None:
    """Entries must not live 30 s while no events can be read."""
    broker = await asyncio.to_thread(lambda: private_servers.broker)
    cache = ResponseCache()
    settings = GatewaySettings(
        kafka_bootstrap_servers=private_servers.kafka,
        kafka_prefix=kafka_prefix,
        gateway_signing_key=keys["GATEWAY_SIGNING_KEY"],
    )
    stop = asyncio.Event()
    reader = InvalidationReader(
        Invalidation(cache, AuthorCache(lambda ids, deadline: asyncio.sleep(0, []))), cache, settings
    )
    running = asyncio.ensure_future(reader.run(stop))
    try:
        await eventually(lambda: cache.seconds == MOST_SECONDS, timeout=30)
        await asyncio.to_thread(broker.kill)
        await eventually(lambda: cache.seconds < MOST_SECONDS, timeout=6)
        await asyncio.to_thread(broker.start)
        await eventually(lambda: cache.seconds == MOST_SECONDS, timeout=30)
    finally:
        stop.set()
        await asyncio.wait_for(running, 10)
