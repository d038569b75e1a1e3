"""The epoch of an owner: what it says after a restore overtakes what readers know, whatever the versions."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.messaging import inbox, outbox
from services.chassis.messaging.cloudevents import from_record
from services.chassis.messaging.epochs import find_epoch, raise_epoch
from services.chassis.messaging.handlers import Handlers
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.comments.handlers import handlers as comments_handlers
from services.contracts.comments import CommentEdited, CommentPosted, CommentRemoved, CommentStated
from services.contracts.event import Envelope, Event
from services.contracts.posts import PostEdited, PostPublished, PostStated, PostWithdrawn
from services.notify import handlers as notify_handlers
from tests.conftest import NewDatabase, OwnDatabase
from tests.integration.chassis_harness import all_published, header, records, renamed_event, running, write_events
from tests.integration.comments_harness import post_fact
from tests.integration.notify_harness import PACKAGES, FakeComment
from tests.waiting import eventually


@dataclass(frozen=True)
class Told:
    """An event with its id and epoch, as it comes from the log."""

    id: UUID
    event: Event
    epoch: int = 0


def told(event: Event, epoch: int = 0) -> Told:
    return Told(uuid4(), event, epoch)


async def handle(db: OwnDatabase, by_type: Any, facts: Sequence[Told]) -> None:
    """Handle events as the consumer does: each id once."""
    for one in facts:
        event = one.event
        source, now = "/services/" + event.topic.name.partition(".")[0], datetime.now(UTC)
        envelope = Envelope(one.id, source, event.type, event.subject, now, event.key, b"", epoch=one.epoch)
        async with db.transaction() as tx:
            if await inbox.insert_new(tx, [envelope]):
                await by_type[event.type](tx, event, envelope)


async def handle_at_once(db: OwnDatabase, handlers: Handlers, facts: Sequence[Told]) -> None:
    """Handle events of one handler as the consumer does that finds them one after the other in its topic."""
    now = datetime.now(UTC)
    run = [
        (one.event, Envelope(one.id, "/", one.event.type, one.event.subject, now, one.event.key, b"", epoch=one.epoch))
        for one in facts
    ]
    at_once = handlers.of_run(handlers.by_type[facts[0].event.type])
    assert at_once is not None
    async with db.transaction() as tx:
        await at_once(tx, run)


async def test_the_outbox_fills_in_the_present_epoch(new_database: NewDatabase, kafka: str, kafka_prefix: str) -> None:
    db = await new_database("services.chassis")
    settings = Settings(kafka_bootstrap_servers=kafka, kafka_prefix=kafka_prefix)
    await create_topics(kafka, kafka_prefix)
    await write_events(db, renamed_event())
    async with db.transaction() as tx:
        epoch = await raise_epoch(tx)
        await outbox.add(tx, renamed_event())  # in the very transaction that raises it
    async with db.transaction() as tx:
        await outbox.add_all(tx, [outbox.new_row(renamed_event())])
        await outbox.add_with_each(tx, "select 1 as place", (), [outbox.new_row(renamed_event())])
    async with running(Relay(db, db.url, Producer(settings), settings).run):
        await eventually(lambda: all_published(db), timeout=30)
    found = await records(settings)
    assert sorted(from_record(record).epoch for record in found) == [0, epoch, epoch, epoch]
    assert [header(record, "ce_epoch") for record in found if from_record(record).epoch] == [str(epoch)] * 3


async def test_the_row_of_an_older_version_gets_the_epoch_too(new_database: NewDatabase) -> None:
    db = await new_database("services.chassis")
    async with db.transaction() as tx:
        epoch = await raise_epoch(tx)
        # the statement of the version before epochs
        await tx.execute(outbox.INSERT_EVENT, *outbox.new_row(renamed_event()))
        assert await tx.fetchval("select epoch from outbox") == epoch


async def test_an_epoch_is_raised_above_all_others(new_database: NewDatabase) -> None:
    db = await new_database("services.chassis")
    async with db.transaction() as tx:
        assert await find_epoch(tx) == 0
        first = await raise_epoch(tx)
        assert abs(first - datetime.now(UTC).timestamp()) < 60  # so two restores of one backup differ
        second = await raise_epoch(tx)
        third = await raise_epoch(tx, above=second + 1000)
        assert first < second < third == second + 1001
        assert await find_epoch(tx) == third


async def test_a_restored_post_overtakes_what_is_newer_and_wrong(new_database: NewDatabase) -> None:
    db = await new_database("services.chassis", "services.comments")
    post_id = uuid4()
    wrong = told(post_fact(post_id, version=7, status="withdrawn"))
    restored = told(as_type(PostStated, post_fact(post_id, version=3)), 1)
    await handle(db, comments_handlers.by_type, [wrong, restored, told(post_fact(post_id, version=8, status="draft"))])
    assert await discussion(db, post_id) == ("published", "open", 1, 3)


@pytest.mark.parametrize("copies", [1, 2])
async def test_old_and_new_events_of_posts_give_the_same_discussion_in_any_order(
    new_database: NewDatabase, copies: int
) -> None:
    db = await new_database("services.chassis", "services.comments")
    found = set()
    for order in itertools.permutations(range(4)):
        post_id = uuid4()
        facts = [
            told(as_type(PostPublished, post_fact(post_id, version=1))),
            told(as_type(PostWithdrawn, post_fact(post_id, version=2, status="withdrawn"))),
            told(as_type(PostStated, post_fact(post_id, version=1)), 1),
            told(as_type(PostEdited, post_fact(post_id, version=2, discussion="held")), 1),
        ]
        await handle(db, comments_handlers.by_type, [facts[number] for number in order] * copies)
        found.add(await discussion(db, post_id))
        for split in range(len(order)):
            other_id = uuid4()
            copied = [replace(fact, event=fact.event.model_copy(update={"post_id": other_id})) for fact in facts]
            moved = [copied[number] for number in order] * copies
            for part in filter(None, (moved[:split], moved[split:])):
                await handle_at_once(db, comments_handlers, part)
            found.add(await discussion(db, other_id))
    assert found == {("published", "held", 1, 2)}


async def test_old_and_new_events_of_comments_give_the_same_row_in_any_order(new_database: NewDatabase) -> None:
    db = await new_database(*PACKAGES)
    by_type = notify_handlers.build(0).by_type
    found = set()
    for order in itertools.permutations(range(4)):
        comment = FakeComment()
        again = comment.changed_to("visible")
        facts = [
            told(comment.fact(CommentPosted)),
            told(comment.changed_to("removed").fact(CommentRemoved)),
            told(comment.fact(CommentStated), 1),
            told(again.fact(CommentEdited), 1),
        ]
        await handle(db, by_type, [facts[number] for number in order] * 2)
        async with db.reader() as reader:
            row = await reader.fetchrow(
                "select state, epoch, version from comments where comment_id = $1", comment.comment_id
            )
        found.add(tuple(row or ()))
    assert found == {("visible", 1, 2)}


async def test_a_stated_comment_of_a_later_epoch_makes_no_mail(new_database: NewDatabase) -> None:
    db = await new_database(*PACKAGES)
    comment = FakeComment()
    await handle(db, notify_handlers.build(0).by_type, [told(comment.fact(CommentStated), 5)])
    async with db.reader() as reader:
        assert await reader.fetchval("select count(*) from notifications") == 0


def as_type(kind: Any, fact: Any) -> Any:
    return kind.model_validate(fact.model_dump())


async def discussion(db: OwnDatabase, post_id: UUID) -> tuple[object, ...]:
    async with db.reader() as reader:
        sql = "select status, discussion, epoch, version from discussions where post_id = $1"
        return tuple(await reader.fetchrow(sql, post_id) or ())
