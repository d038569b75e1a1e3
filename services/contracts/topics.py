"""All Kafka topics. The broker's topics are created from this list."""

from collections.abc import Mapping
from dataclasses import dataclass

PARTITIONS = 12
DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Topic:
    """A Kafka topic with delete-retention (never compacted: an edit must not delete a publication).

    Attributes:
        name: `<owner>.events` or `<group>.dead-letter`.
        key: description of the record key.
        partitions: never change it: another number would map the same key to another partition.
        retention_ms: retention time of a record. PostgreSQL is the source of truth, not the topic.
    """

    name: str
    key: str
    partitions: int = PARTITIONS
    retention_ms: int = 14 * DAY_MS

    @property
    def is_dead_letter(self) -> bool:
        return self.name.endswith(".dead-letter")


POSTS = Topic("posts.events", key="post id")
COMMENTS = Topic("comments.events", key="post id")
PEOPLE = Topic("people.events", key="person id")
NOTIFY = Topic("notify.events", key="person id")

EVENT_TOPICS = (POSTS, COMMENTS, PEOPLE, NOTIFY)

# consumer group to the topics it reads; a group has the name of its service
SUBSCRIPTIONS: Mapping[str, tuple[Topic, ...]] = {"posts": (PEOPLE,), "comments": (POSTS,), "notify": (COMMENTS,)}
CONSUMER_GROUPS = tuple(SUBSCRIPTIONS)


def dead_letter_topic(group: str) -> Topic:
    """Return the dead-letter topic of a consumer group. Its retention is longer: an operator must look at it."""
    return Topic(f"{group}.dead-letter", key="as the original record", partitions=1, retention_ms=90 * DAY_MS)


TOPICS = (*EVENT_TOPICS, *(dead_letter_topic(group) for group in CONSUMER_GROUPS))
