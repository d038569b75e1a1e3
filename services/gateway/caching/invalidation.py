"""What changes elsewhere, heard from the services' events: every process reads all partitions, from now on.

There is no group and nothing is committed: whoever starts has an empty cache, so only what happens from then on
matters.
"""

import asyncio
import contextlib

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.messaging.cloudevents import Undecodable, from_record
from services.chassis.messaging.topics import create_topics
from services.contracts.comments import CommentFact
from services.contracts.event import Event, registry
from services.contracts.people import PersonFact, PersonRolesChanged
from services.contracts.posts import PostFact
from services.contracts.topics import COMMENTS, PEOPLE, POSTS
from services.gateway.caching.response_cache import ResponseCache
from services.gateway.composition.author_cache import AuthorCache
from services.gateway.settings import GatewaySettings

log = structlog.get_logger(__name__)

TOPICS = (POSTS, COMMENTS, PEOPLE)
PAUSE_SECONDS = 2.0
POLL_MS = 1_000


class Invalidation:
    """Tells cache and names of changes, whoever reports them."""

    def __init__(self, cache: ResponseCache, names: AuthorCache) -> None:
        self._cache = cache
        self._names = names

    def post(self, post_id: str) -> None:
        """A post changed; comments hears of it by itself, a moment later."""
        self._cache.unsettle(("posts", f"post:{post_id}"))

    def comment(self, post_id: str, author_id: str | None) -> None:
        """A comment was written, changed or judged."""
        self._cache.evict((f"post:{post_id}", f"profile:{author_id}"))

    def person(self, person_id: str) -> None:
        """Somebody is called differently, or is gone."""
        self._names.forget(person_id)
        self._cache.evict((f"name:{person_id}", f"profile:{person_id}"))

    def anything(self) -> None:
        """Something changed and nobody can say what."""
        self._cache.clear()

    def by(self, event: Event) -> None:
        """What an event means for what is kept."""
        match event:
            case PostFact():
                self.post(str(event.post_id))
            case CommentFact():
                self.comment(str(event.post_id), str(event.author_id))
            case PersonRolesChanged():
                pass  # roles are nowhere public
            case PersonFact():
                self.person(str(event.person_id))


class InvalidationReader:
    """The reader of all events."""

    def __init__(self, changed: Invalidation, cache: ResponseCache, settings: GatewaySettings) -> None:
        self._changed = changed
        self._cache = cache
        self._settings = settings

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`; without a broker entries live for two seconds and it is tried again."""
        reader: asyncio.Task[None] | None = None
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                reader = asyncio.ensure_future(self._read())
                await asyncio.wait([reader, stopping], return_when=asyncio.FIRST_COMPLETED)
                if reader.done():
                    log.warning("events cannot be read", error=repr(reader.exception()))
                    self._cache.hears(False)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(asyncio.shield(stopping), PAUSE_SECONDS)
        finally:
            stopping.cancel()
            if reader is not None:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def _read(self) -> None:
        settings = self._settings
        await create_topics(
            settings.kafka_bootstrap_servers,
            settings.kafka_prefix,
            replication_factor=settings.kafka_replication_factor,
            seconds=settings.kafka_timeout_seconds,
        )
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            request_timeout_ms=10_000,
        )
        try:
            async with asyncio.timeout(20):
                await consumer.start()
                partitions = [
                    TopicPartition(settings.kafka_prefix + topic.name, number)
                    for topic in TOPICS
                    for number in range(topic.partitions)
                ]
                consumer.assign(partitions)
                await consumer.seek_to_end()
                for partition in partitions:
                    await consumer.position(partition)
            self._cache.hears(True)
            while True:
                records = await consumer.getmany(timeout_ms=POLL_MS)
                for batch in records.values():
                    for record in batch:
                        self._apply(record)
        finally:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(consumer.stop(), 5)

    def _apply(self, record: object) -> None:
        """One record. What cannot be read may mean anything."""
        try:
            envelope = from_record(record)
            kind = registry().get(envelope.type)
            if kind is not None:
                self._changed.by(kind.model_validate_json(envelope.data))
        except (Undecodable, ValueError) as error:
            log.warning("an event cannot be read", error=repr(error))
            self._changed.anything()
