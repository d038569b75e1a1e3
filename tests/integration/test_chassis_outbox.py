"""The outbox, and the janitor that keeps the chassis' tables small."""

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
from tests.integration.chassis_harness import renamed, running, sealed, write
from tests.waiting import eventually


@pytest.fixture
async def database(new_database: NewDatabase) -> OwnDatabase:
    return await new_database("services.chassis")


async def test_an_event_is_kept_with_all_that_travels_along(database: OwnDatabase) -> None:
    event, cause = renamed(version=3), uuid4()
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    with bound(Context("request-9", cause, trace)):
        [event_id] = await write(database, event)
    async with database.reader() as reader:
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


async def test_a_change_and_its_event_are_one_statement(database: OwnDatabase) -> None:
    """The event is the same as `add` would write, and there is none if nothing was changed."""
    event, cause = renamed(version=3), uuid4()
    change = "update inbox set received_at = now() where source = $1 returning source"
    async with database.transaction() as tx:
        await tx.execute("insert into inbox (source, event_id) values ('/test', $1)", cause)
    async with database.statement() as tx:
        assert not await outbox.add_with(tx, change, ["/other"], event)
        assert not tx.wakes_relay
    with bound(Context("request-9", cause)):
        async with database.statement() as tx:
            assert await outbox.add_with(tx, change, ["/test"], event)
            assert tx.wakes_relay
        async with database.statement() as tx:
            await outbox.add(tx, event)
    async with database.reader() as reader:
        rows = await reader.fetch(
            "select topic, type, source, subject, key, correlation_id, causation_id, traceparent, payload "
            "from outbox order by id"
        )
    assert len(rows) == 2
    assert dict(rows[0]) == dict(rows[1])


async def test_ids_follow_the_order_of_commits_of_whoever_locks_the_aggregate(database: OwnDatabase) -> None:
    """20 writers of one thing, each touching its row before it writes the event."""
    person = uuid4()
    async with database.transaction() as tx:
        await tx.execute("create table things (id uuid primary key, version int not null)")
        await tx.execute("insert into things values ($1, 0)", person)

    async def change() -> None:
        async with database.transaction() as tx:
            version = await tx.fetchval(
                "update things set version = version + 1 where id = $1 returning version", person
            )
            await outbox.add(tx, renamed(person, version))

    await asyncio.gather(*(change() for _ in range(20)))
    async with database.reader() as reader:
        rows = await reader.fetch("select payload from outbox order by id")
    assert [PersonRenamed.model_validate_json(row["payload"]).version for row in rows] == list(range(1, 21))


AGE = """
insert into outbox (event_id, topic, type, source, subject, key, time, payload, published_at)
select gen_random_uuid(), 't', 't', 's', gen_random_uuid(), gen_random_uuid(), now() - age, '', now() - age
from unnest($1::interval[]) as age
"""


async def counts(database: OwnDatabase) -> tuple[int, ...]:
    async with database.reader() as reader:
        return tuple(
            [
                await reader.fetchval(f"select count(*) from {table}")
                for table in ("outbox", "inbox", "idempotency_keys")
            ]
        )


async def test_what_is_over_is_pruned_and_nothing_else(database: OwnDatabase) -> None:
    old, young = timedelta(days=8), timedelta(days=6)
    await write(database, renamed())
    async with database.transaction() as tx:
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
    async with running(Pruner("test", database, Settings()).run):
        await eventually(lambda: has_counts(database, (2, 1, 1)))
    async with database.reader() as reader:
        assert await reader.fetchval("select count(*) from outbox where published_at is null") == 1


async def has_counts(database: OwnDatabase, expected: tuple[int, ...]) -> bool:
    return await counts(database) == expected


async def test_much_is_pruned_in_pieces(database: OwnDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.chassis.messaging.retention.MOST", 10)
    async with database.transaction() as tx:
        await tx.execute(AGE, [timedelta(days=8)] * 25)
        assert await outbox.prune(tx, timedelta(days=7), 3) == 3
    await Pruner("test", database, Settings()).prune()
    assert await counts(database) == (0, 0, 0)


async def test_inbox_rows_outlive_everything_an_event_can_come_back_from() -> None:
    settings = Settings()
    longest = max(topic.retention_ms for topic in TOPICS) / DAY_MS
    assert settings.inbox_retention_days > longest + settings.outbox_retention_days


async def test_an_event_is_new_once(database: OwnDatabase) -> None:
    first, second = sealed(renamed()), sealed(renamed())
    foreign = sealed(renamed(), id=first.id, source="/services/elsewhere")
    async with database.transaction() as tx:
        assert await inbox.unseen(tx, [first])
        assert not await inbox.unseen(tx, [first])
        assert await inbox.unseen(tx, [foreign])
        new = await inbox.unseen(tx, [second, first, second])
        assert new == {(second.source, second.id)}
        assert await inbox.unseen(tx, []) == set()


async def test_two_at_once_are_one(database: OwnDatabase) -> None:
    """The second waits for the first transaction: a commit makes it a duplicate, a rollback makes it the first."""
    envelope = sealed(renamed())

    async def receive() -> bool:
        async with database.transaction() as tx:
            return bool(await inbox.unseen(tx, [envelope]))

    with pytest.raises(ValueError, match="no"):
        async with database.transaction() as tx:
            assert await inbox.unseen(tx, [envelope])
            waiting = asyncio.create_task(receive())
            await eventually(lambda: database.busy == 2)
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


async def test_a_janitor_that_fails_ends_nothing(database: OwnDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.chassis.messaging.retention.EVERY_SECONDS", 0.01)
    async with database.transaction() as tx:
        await tx.execute("alter table inbox rename to elsewhere")
        await tx.execute(AGE, [timedelta(days=8)])
    async with running(Pruner("test", database, Settings()).run):
        await eventually(lambda: outbox_is_empty(database))
        async with database.transaction() as tx:
            await tx.execute("alter table elsewhere rename to inbox")
            await tx.execute(AGE, [timedelta(days=8)])
        await eventually(lambda: outbox_is_empty(database))


async def outbox_is_empty(database: OwnDatabase) -> bool:
    async with database.reader() as reader:
        return bool(await reader.fetchval("select count(*) = 0 from outbox"))
