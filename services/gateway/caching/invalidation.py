"""Evict what changed: told by this gateway's own writes, and by the services' events.

Every process reads all partitions from now on. There is no group and nothing is committed: a process starts with an
empty cache, so only what happens from then on matters.
"""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from cachetools import TTLCache

from services.chassis.messaging.cloudevents import Undecodable, type_of
from services.chassis.messaging.connection import connection
from services.chassis.messaging.topics import create_topics
from services.chassis.messaging.unreachable import Unreachable
from services.chassis.runtime.metrics import Gauge
from services.chassis.runtime.repetition import Repetition
from services.chassis.runtime.timeouts import wait_at_most
from services.chassis.runtime.waiting import Periodic
from services.contracts.comments import CommentFact, CommentGone, CommentPosted
from services.contracts.event import Event, registry
from services.contracts.people import PersonFact, PersonRolesChanged
from services.contracts.posts import PostFact, PostGone, PostRevisionBlanked
from services.contracts.topics import COMMENTS, PEOPLE, POSTS, Topic
from services.gateway.caching.added_comments import takes_comments
from services.gateway.caching.entry import Json
from services.gateway.caching.response_cache import ResponseCache, Taken
from services.gateway.composition.attention import AttentionCache
from services.gateway.composition.author_cache import AuthorCache
from services.gateway.composition.navigation import Navigation
from services.gateway.composition.own_comments import OwnComments
from services.gateway.settings import GatewaySettings

log = structlog.get_logger(__name__)

DEAF = Gauge("rapport_gateway_deaf_seconds", "Since the reader of events last heard the broker")

# By client: a fetch names all partitions of its client and is paid for by their number, and comments come most often.
TOPICS: tuple[tuple[Topic, ...], ...] = ((COMMENTS,), (POSTS, PEOPLE))
START_SECONDS = 20.0
PAUSE_SECONDS = 2.0  # between a failure and the next attempt
POLL_SECONDS = 1
GATHER_SECONDS = 0.04  # in which events gather after some came: a fetch of all partitions costs as much as 50 events
CHECK_SECONDS = 1.0  # between two questions whether the broker is there
ANSWER_SECONDS = 2.0
STOP_SECONDS = 5.0
KNOWN, KNOWN_SECONDS = 10_000, 30.0


class Invalidation:
    """Evicts from the response cache and the author cache what a change concerns."""

    def __init__(
        self,
        cache: ResponseCache,
        authors: AuthorCache,
        attention: AttentionCache | None = None,
        navigation: Navigation | None = None,
        own_comments: OwnComments | None = None,
    ) -> None:
        self._cache = cache
        self._authors = authors
        self._attention = attention or AttentionCache()
        self._navigation = navigation or Navigation()
        self._own_comments = own_comments or OwnComments()
        # Versions of visible comments that this gateway has posted, until their events come.
        self._known: TTLCache[str, int] = TTLCache(KNOWN, KNOWN_SECONDS)

    def post(self, post_id: str) -> None:
        """Evict what shows a post; comments reads the event too, a moment later."""
        self._navigation.forget()
        self._cache.evict_and_shorten(("posts", f"post:{post_id}"))

    def comment(self, post_id: str, author_id: str | None, *, may_wait: bool = True) -> None:
        """Evict what shows the comments of a post, how many an author wrote, or how many wait for a moderator."""
        if author_id is None:
            self._cache.evict((f"post:{post_id}",))
            self._own_comments.forget_all()
        else:
            self._cache.evict((f"post:{post_id}", f"profile:{author_id}"))
            self._own_comments.forget(author_id, post_id)
        if may_wait:  # what is posted and visible has never waited
            self._attention.forget()

    def posted(self, comment: Json, began: int) -> Taken:
        """Evict what shows the comments of a post after this gateway has posted one; return lists that may take it.

        Args:
            comment: as comments answered.
            began: the cache's `sequence` when it was sent to comments. What is kept since then lacks nothing but this
                comment that is known here: whatever happened to it meanwhile would have evicted that.
        """
        is_visible = comment["state"] == "visible"
        lists: Taken = ()
        if is_visible:
            self._known[comment["id"]] = comment["version"]
            found = self._cache.made_of(f"post:{comment['post_id']}", began)
            lists = [(key, kept) for key, kept in found if takes_comments(key)]
        self.comment(comment["post_id"], comment["author_id"], may_wait=not is_visible)
        return lists

    def reading(self, person_id: str, post_id: str | None = None) -> None:
        """Forget how many notifications a person has not read, or whether they follow the discussion of a post."""
        self._attention.forget(person_id, post_id)

    def person(self, person_id: str) -> None:
        """Evict what shows a person who was renamed or erased."""
        self._authors.forget(person_id)
        self._cache.evict((f"name:{person_id}", f"profile:{person_id}"))

    def everything(self) -> None:
        """Evict all, because it is not known what changed."""
        self._authors.forget_all()
        self._navigation.forget()
        self._cache.clear()
        self._own_comments.forget_all()

    def by_event(self, event: Event) -> None:
        """Evict what an event concerns."""
        match event:
            case PostFact() | PostGone() | PostRevisionBlanked():
                self.post(str(event.post_id))
            case CommentPosted() if self._known.pop(str(event.comment_id), None) == event.version:
                pass  # it was evicted for when it was stored, and what was read since then has it
            case CommentPosted():
                self.comment(str(event.post_id), str(event.author_id), may_wait=event.state != "visible")
            case CommentFact():
                self.comment(str(event.post_id), str(event.author_id))
            case CommentGone():
                self.comment(str(event.post_id), None)
            case PersonRolesChanged():
                pass  # roles are nowhere public
            case PersonFact():
                self.person(str(event.person_id))


class InvalidationReader:
    """Reads the events of all services and evicts what they concern."""

    def __init__(self, invalidation: Invalidation, cache: ResponseCache, settings: GatewaySettings) -> None:
        self._invalidation = invalidation
        self._cache = cache
        self._settings = settings
        self._partitions = [
            [
                TopicPartition(settings.kafka_prefix + topic.name, number)
                for topic in topics
                for number in range(topic.partitions)
            ]
            for topics in TOPICS
        ]
        self._kinds = registry()
        self._repetition = Repetition()
        self._heard = [time.monotonic()] * len(TOPICS)
        # at a scrape: it also grows while the reader waits
        DEAF.set_function(lambda: time.monotonic() - min(self._heard))

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`. Without a broker the cache keeps entries for two seconds only, and reading begins anew."""
        async with Periodic("read events", PAUSE_SECONDS, self._read):
            await stop.wait()

    async def _read(self) -> None:
        """Read with Kafka clients until one of them fails; they must not be used again."""
        consumers: list[AIOKafkaConsumer] = []
        try:
            await self._create_topics()
            consumers = [self._consumer() for _ in TOPICS]
            for consumer, partitions in zip(consumers, self._partitions, strict=True):
                await wait_at_most(START_SECONDS, self._seek_to_end(consumer, partitions))
            self._cache.set_following(True)
            self._invalidation.everything()
            await _until_one_fails([self._follow(consumer, number) for number, consumer in enumerate(consumers)])
        except Exception as error:
            self._cache.set_following(False)
            self._invalidation.everything()
            if not isinstance(error, (KafkaError, OSError)):
                raise
            if not isinstance(error, Unreachable):
                log.warning("events cannot be read", error=repr(error))
            elif self._repetition.is_due(str(error)):
                log.warning(str(error))
        finally:
            await asyncio.gather(*(_stop(consumer) for consumer in consumers))

    async def _create_topics(self) -> None:
        settings = self._settings
        creating = create_topics(
            settings.kafka_bootstrap_servers,
            settings.kafka_prefix,
            replication_factor=settings.kafka_replication_factor,
            min_insync_replicas=settings.kafka_min_insync_replicas,
            seconds=settings.kafka_timeout_seconds,
            credential=connection(settings),
        )
        await wait_at_most(settings.kafka_timeout_seconds + STOP_SECONDS, creating)

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **connection(self._settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            request_timeout_ms=10_000,
        )

    async def _seek_to_end(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        await consumer.start()
        consumer.assign(partitions)
        await consumer.seek_to_end()
        for partition in partitions:
            await consumer.position(partition)

    async def _follow(self, consumer: AIOKafkaConsumer, number: int) -> None:
        checked = self._heard[number] = time.monotonic()
        while True:
            records = await wait_at_most(
                POLL_SECONDS + ANSWER_SECONDS, consumer.getmany(timeout_ms=POLL_SECONDS * 1000)
            )
            for batch in records.values():
                for record in batch:
                    self._apply(record)
            if records:
                await asyncio.sleep(GATHER_SECONDS)
            if time.monotonic() >= checked + CHECK_SECONDS:
                # A client whose broker is lost goes on polling without an error, as if nothing were written.
                await wait_at_most(ANSWER_SECONDS, consumer.end_offsets(self._partitions[number]))
                checked = self._heard[number] = time.monotonic()

    def _apply(self, record: ConsumerRecord) -> None:
        """Evict what one record concerns; a record that cannot be read may concern anything."""
        try:
            kind = self._kinds.get(type_of(record))
            if kind is not None:
                self._invalidation.by_event(kind.model_validate_json(record.value or b""))
        except (Undecodable, ValueError) as error:
            log.warning("an event cannot be read", error=repr(error))
            self._invalidation.everything()


async def _until_one_fails(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all until one fails; then end the others and raise its error."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    with contextlib.suppress(KafkaError, OSError):
        await wait_at_most(STOP_SECONDS, consumer.stop())
