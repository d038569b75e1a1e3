"""Republishing in batches: whatever the number of rows, each transaction is small and a repetition goes on anywhere."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.chassis.messaging import outbox
from tests.conftest import NewDatabase, OwnDatabase

ROWS = 30_000
FILL = """
insert into outbox (event_id, topic, type, source, subject, key, time, payload, published_at)
select gen_random_uuid(), 'people.events', 'dev.rapport.people.renamed.v1', '/services/people', $1, $1, now(), '{}',
       now() - $2::interval
from generate_series(1, $3)
"""


@pytest.fixture
async def db(new_database: NewDatabase) -> OwnDatabase:
    made = await new_database("services.chassis")
    async with made.transaction() as tx:
        await tx.execute(FILL, uuid4(), timedelta(days=2), 2_000)
        await tx.execute(FILL, uuid4(), timedelta(minutes=5), ROWS)
    return made


async def value(db: OwnDatabase, sql: str) -> int:
    async with db.reader() as reader:
        return int(await reader.fetchval(sql))


async def publish_all(db: OwnDatabase) -> int:
    """Do what the relay does, without Kafka; return how many waited."""
    async with db.transaction() as tx:
        return await tx.execute("update outbox set published_at = now() where published_at is null")


async def test_many_rows_go_in_batches_and_the_backlog_stays_bounded(db: OwnDatabase) -> None:
    since, place, sent, calls = datetime.now(UTC) - timedelta(hours=1), 0, 0, 0
    while True:
        answer = await outbox.republish(db, since, place)
        backlog = await value(db, "select count(*) from outbox where published_at is null")
        assert backlog < outbox.FULL + outbox.BATCH
        assert answer["count"] <= outbox.BATCH
        sent, calls = sent + answer["count"], calls + 1
        if answer["is_full"]:
            assert answer["next"] == place
            await publish_all(db)
            continue
        if answer["next"] is None:
            break
        place = answer["next"]
    assert sent == ROWS
    assert calls <= 14
    assert await value(db, "select count(*) from outbox where published_at < now() - interval '1 day'") == 2_000


async def test_a_repetition_sends_again_and_loses_nothing(db: OwnDatabase) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    first = await outbox.republish(db, since)
    assert (first["count"], first["next"]) == (3_000, 5_000)  # two thousand rows are too old
    await publish_all(db)
    assert (await outbox.republish(db, since))["count"] == 3_000  # killed, and begun anew
    await publish_all(db)
    assert (await outbox.republish(db, since, 30_000)) | {"kept_since": None} == {
        "count": 2_000,
        "next": None,
        "is_full": False,
        "kept_since": None,
    }


async def test_a_dry_run_counts_and_changes_nothing(db: OwnDatabase) -> None:
    since, place, found = datetime.now(UTC) - timedelta(hours=1), 0, 0
    while place is not None:
        answer = await outbox.republish(db, since, place, dry_run=True)
        found, place = found + answer["count"], answer["next"]
    assert found == ROWS
    assert await value(db, "select count(*) from outbox where published_at is null") == 0


async def test_the_answer_says_what_is_deleted_already(db: OwnDatabase) -> None:
    since = datetime.now(UTC) - timedelta(days=9)
    assert (await outbox.republish(db, since, dry_run=True))["kept_since"] is None  # the first row is still there
    async with db.transaction() as tx:
        assert await outbox.prune(tx, timedelta(days=1), 5_000) == 2_000
    kept_since = (await outbox.republish(db, since, dry_run=True))["kept_since"]
    assert abs(datetime.now(UTC) - timedelta(minutes=5) - datetime.fromisoformat(kept_since)) < timedelta(minutes=1)
