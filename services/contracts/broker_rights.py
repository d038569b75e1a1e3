"""Who may write and read which topic. Only its owner's credential can write a topic: events are believed for that."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from services.contracts.topics import (
    COMMENTS,
    CONSUMER_GROUPS,
    EVENT_TOPICS,
    NOTIFY,
    PEOPLE,
    POSTS,
    SUBSCRIPTIONS,
    TOPICS,
    Topic,
    dead_letter_topic,
)


@dataclass(frozen=True)
class Access:
    """The rights of one account of the broker.

    Attributes:
        writes: topics that it owns; the operator's, where dead letters come from and go back to.
        groups: consumer groups whose offsets it commits.
        watched: consumer groups whose offsets it only sees.
        configures: whether it sees and alters the settings of topics.
    """

    writes: tuple[Topic, ...] = ()
    reads: tuple[Topic, ...] = ()
    groups: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    configures: bool = False


def _consumer(group: str, owned: Topic) -> Access:
    return Access(writes=(owned, dead_letter_topic(group)), reads=(*SUBSCRIPTIONS[group], owned), groups=(group,))


# An owner reads its own topic too, when its database was restored.
ACCOUNTS: Mapping[str, Access] = {
    "posts": _consumer("posts", POSTS),
    "comments": _consumer("comments", COMMENTS),
    "people": Access(writes=(PEOPLE,), reads=(PEOPLE,)),
    "notify": _consumer("notify", NOTIFY),
    "gateway": Access(reads=EVENT_TOPICS, watched=CONSUMER_GROUPS),
    # redrives: it reads dead letters, writes them where they came from, and marks them
    "operator": Access(
        writes=(
            *dict.fromkeys(topic for group in CONSUMER_GROUPS for topic in SUBSCRIPTIONS[group]),
            *(dead_letter_topic(group) for group in CONSUMER_GROUPS),
        ),
        reads=tuple(dead_letter_topic(group) for group in CONSUMER_GROUPS),
        groups=tuple(f"{group}.redrive" for group in CONSUMER_GROUPS),
        configures=True,
    ),
}


@dataclass(frozen=True)
class Grant:
    """One right: the account may do this with the topic or the group of that name, without prefix."""

    account: str
    operation: Literal["create", "describe", "describe-configs", "alter-configs", "write", "read"]
    resource: Literal["topic", "group"]
    name: str


def grants() -> Iterator[Grant]:
    """Yield every right. All accounts may create and describe all topics: whoever comes first creates them."""
    for account, access in ACCOUNTS.items():
        for topic in TOPICS:
            yield Grant(account, "create", "topic", topic.name)
            yield Grant(account, "describe", "topic", topic.name)
            if access.configures:
                yield Grant(account, "describe-configs", "topic", topic.name)
                yield Grant(account, "alter-configs", "topic", topic.name)
        for topic in access.writes:
            yield Grant(account, "write", "topic", topic.name)
        for topic in access.reads:
            yield Grant(account, "read", "topic", topic.name)
        for group in access.groups:
            yield Grant(account, "read", "group", group)
        for group in access.watched:
            yield Grant(account, "describe", "group", group)
