"""The outbox, the inbox, and the retention of the chassis' tables."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.chassis.ids import id_at, moment_of, new_id
from services.chassis.messaging import inbox, outbox
from services.chassis.messaging.retention import Pruner
from services.chassis.runtime.context import Context, bound
from services.chassis.runtime.settings import Settings
from services.contracts.people import PersonRenamed
from services.contracts.topics import DAY_MS, TOPICS
from tests.conftest import NewDatabase, OwnDatabase
from tests.integration.chassis_harness import envelope_of, renamed_event, running, write_events
from tests.waiting import eventually


@pytest.fixture
async def db(new_database: NewDatabase) -> OwnDatabase:
    return await new_database("services.chassis")


async def test_event_is_stored_with_its_context(db: OwnDatabase) -> None:
    event, cause = renamed_event(version=3), uuid4()
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    with bound(Context("request-9", cause, trace)):
        [event_id] = await write_events(db, event)
    async with db.reader() as reader:
        row = await reader.fetchrow(
            "select event_id, topic, type, source, subject, key, time, correlation_id, causation_id, traceparent, "
            "payload, published_at from outbox"
        )
    assert row is not None
    assert row["event_id"] == event_id
    assert event_id.version == 7
    assert (row["topic"], row["type"], row["source"]) == ("people.events", PersonRenamed.type, "/services/people")
    assert (row["subject"], row["key"]) == (event.person_id, event.person_id)
    assert (row["correlation_id"], row["causation_id"], row["traceparent"]) == ("request-9", cause, trace)
    assert PersonRenamed.model_validate_json(row["payload"]).version == 3
    assert datetime.now(UTC) - row["time"] < timedelta(minutes=1)
    assert row["published_at"] is None


CHANGE_EACH = """
with changing as materialized (
    select i.source, i.event_id, given.place
    from unnest($1::text[]) with ordinality as given (source, place) join inbox i on i.source = given.source
    order by i.source
    for update of i
)
update inbox set received_at = now() from changing
where inbox.source = changing.source and inbox.event_id = changing.event_id
returning changing.place
"""


async def test_changes_and_their_events_in_one_statement(db: OwnDatabase) -> None:
    """The events equal those of `add`, in the given order, and there is none for what was not changed."""
    first, second = renamed_event(version=3), renamed_event(version=4)
    async with db.transaction() as tx:
        for source in ("/a", "/b"):
            await tx.execute("insert into inbox (source, event_id) values ($1, $2)", source, uuid4())
    async with db.statement() as tx:
        assert await outbox.add_with_each(tx, CHANGE_EACH, (["/other"],), [outbox.new_row(first)]) == [False]
        assert not tx.wakes_relay
    with bound(Context("request-9", uuid4())):
        async with db.statement() as tx:
            rows = [outbox.new_row(event) for event in (first, renamed_event(), second)]
            assert await outbox.add_with_each(tx, CHANGE_EACH, (["/b", "/other", "/a"],), rows) == [True, False, True]
            assert tx.wakes_relay
        async with db.transaction() as tx:
            await outbox.add(tx, first)
            await outbox.add(tx, second)
    async with db.reader() as reader:
        found = await reader.fetch(
            "select topic, type, source, subject, key, correlation_id, causation_id, traceparent, payload "
            "from outbox order by id"
        )
    assert [dict(row) for row in found[:2]] == [dict(row) for row in found[2:]]
    assert [row["subject"] for row in found[:2]] == [first.subject, second.subject]


async def test_ids_follow_the_commits_of_a_locked_aggregate(db: OwnDatabase) -> None:
    """20 concurrent writers of one aggregate, each updating its row before it writes the event."""
    person = uuid4()
    async with db.transaction() as tx:
        await tx.execute("create table things (id uuid primary key, version int not null)")
        await tx.execute("insert into things values ($1, 0)", person)

    async def change() -> None:
        async with db.transaction() as tx:
            version = await tx.fetchval(
                "update things set version = version + 1 where id = $1 returning version", person
            )
            await outbox.add(tx, renamed_event(person, version))

    await asyncio.gather(*(change() for _ in range(20)))
    async with db.reader() as reader:
        rows = await reader.fetch("select payload from outbox order by id")
    assert [PersonRenamed.model_validate_json(row["payload"]).version for row in rows] == list(range(1, 21))


AGE = """
insert into outbox (event_id, topic, type, source, subject, key, time, payload, published_at)
select gen_random_uuid(), 't', 't', 's', gen_random_uuid(), gen_random_uuid(), now() - age, '', now() - age
from unnest($1::interval[]) as age
"""


async def counts(db: OwnDatabase) -> tuple[int, ...]:
    async with db.reader() as reader:
        return tuple(
            [
                await reader.fetchval(f"select count(*) from {table}")
                for table in ("outbox", "inbox", "idempotency_keys")
            ]
        )


async def test_only_expired_rows_are_pruned(db: OwnDatabase) -> None:
    old, young = timedelta(days=8), timedelta(days=6)
    await write_events(db, renamed_event())
    async with db.transaction() as tx:
        await tx.execute(AGE, [old, old, young])
        await tx.execute("update outbox set time = now() - interval '1 year' where published_at is null")
        await tx.execute(
            "insert into inbox (source, event_id, received_at) "
            "select 's', gen_random_uuid(), now() - age from unnest($1::interval[]) as age",
            [timedelta(days=121), timedelta(days=119)],
        )
        await tx.execute(
            "insert into idempotency_keys (person_id, key, method, path, body_sha256, status, created_at) "
            "select gen_random_uuid(), 'k', 'POST', '/', '', 201, now() - age from unnest($1::interval[]) as age",
            [timedelta(hours=25), timedelta(hours=23)],
        )
    async with running(Pruner(db, Settings()).run):
        await eventually(lambda: has_counts(db, (2, 1, 1)))
    async with db.reader() as reader:
        assert await reader.fetchval("select count(*) from outbox where published_at is null") == 1


async def has_counts(db: OwnDatabase, expected: tuple[int, ...]) -> bool:
    return await counts(db) == expected


async def test_rows_are_pruned_in_batches(db: OwnDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.chassis.messaging.retention.BATCH_SIZE", 10)
    async with db.transaction() as tx:
        await tx.execute(AGE, [timedelta(days=8)] * 25)
        assert await outbox.prune(tx, timedelta(days=7), 3) == 3
    await Pruner(db, Settings()).prune()
    assert await counts(db) == (0, 0, 0)


async def test_inbox_rows_outlive_all_redeliveries() -> None:
    settings = Settings()
    longest = max(topic.retention_ms for topic in TOPICS) / DAY_MS
    assert settings.inbox_retention_days > longest + settings.outbox_retention_days


async def test_event_is_unseen_once(db: OwnDatabase) -> None:
    first, second = envelope_of(renamed_event()), envelope_of(renamed_event())
    foreign = envelope_of(renamed_event(), id=first.id, source="/services/elsewhere")
    async with db.transaction() as tx:
        assert await inbox.insert_new(tx, [first])
        assert not await inbox.insert_new(tx, [first])
        assert await inbox.insert_new(tx, [foreign])
        new = await inbox.insert_new(tx, [second, first, second])
        assert new == {(second.source, second.id)}
        assert await inbox.insert_new(tx, []) == set()


async def test_concurrent_duplicates(db: OwnDatabase) -> None:
    """The second waits for the first transaction: after its commit it is a duplicate, after its rollback the first."""
    envelope = envelope_of(renamed_event())

    async def receive() -> bool:
        async with db.transaction() as tx:
            return bool(await inbox.insert_new(tx, [envelope]))

    with pytest.raises(ValueError, match="no"):
        async with db.transaction() as tx:
            assert await inbox.insert_new(tx, [envelope])
            waiting = asyncio.create_task(receive())
            await eventually(lambda: db.busy == 2)
            raise ValueError("no")
    assert await waiting
    assert not await receive()


def test_ids_are_uuid7() -> None:
    made: list[UUID] = [new_id() for _ in range(1000)]
    assert made == sorted(made)
    assert {uuid.version for uuid in made} == {7}
    assert abs(moment_of(made[0]) - datetime.now(UTC)) < timedelta(minutes=1)
    moment = datetime(2011, 3, 4, 5, 6, 7, 891000, UTC)
    imported = id_at(moment)
    assert moment_of(imported) == moment
    assert (imported.version, imported.variant) == (7, "specified in RFC 4122")
    assert len({id_at(moment) for _ in range(100)}) == 100
    with pytest.raises(ValueError, match="does not fit"):
        id_at(datetime(1969, 12, 31, tzinfo=UTC))


async def test_pruner_continues_after_a_failure(db: OwnDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.chassis.messaging.retention.EVERY_SECONDS", 0.01)
    async with db.transaction() as tx:
        await tx.execute("alter table inbox rename to elsewhere")
        await tx.execute(AGE, [timedelta(days=8)])
    async with running(Pruner(db, Settings()).run):
        await eventually(lambda: outbox_is_empty(db))
        async with db.transaction() as tx:
            await tx.execute("alter table elsewhere rename to inbox")
            await tx.execute(AGE, [timedelta(days=8)])
        await eventually(lambda: outbox_is_empty(db))


async def outbox_is_empty(db: OwnDatabase) -> bool:
    async with db.reader() as reader:
        return bool(await reader.fetchval("select count(*) = 0 from outbox"))
