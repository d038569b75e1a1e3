"""A restore is whole or not there, refuses what would diverge, and sets the consumer group back to the snapshot."""

import re
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from services.chassis.backup.manifest import Migration, Refused
from services.chassis.backup.restore import CatchUp, RestoreResult
from services.chassis.backup.roles import one_shots
from services.chassis.database.migrations import migrate_within
from services.chassis.database.pool import Database, Transaction
from services.chassis.messaging.group_offsets import read_offsets
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.settings import Settings
from services.contracts.topics import COMMENTS, POSTS, Topic
from tests.integration.backup_harness import STRANGE, NewTrial, Trial, begin_discussion, new_trial, reseal
from tests.integration.restoring_process import nothing_again
from tests.waiting import eventually

__all__ = ["new_trial"]  # the fixture

ROWS = 2 * len(STRANGE) + 1


async def is_untouched(trial: Trial) -> bool:
    return bool(await trial.run("select count(*) = 0 from pg_tables where schemaname = 'public'"))


@pytest.mark.parametrize("point", ["restore.rewound", "restore.loaded", "restore.committed"])
async def test_a_killed_restore_left_nothing_or_everything_and_can_be_repeated(
    new_trial: NewTrial, tmp_path: Path, point: str
) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await begin_discussion(trial)
    await trial.take(tmp_path)
    killed = await back.program("restore", str(tmp_path), failpoints=point)
    assert killed.returncode == -9, killed.stderr
    assert await is_untouched(back) == (point != "restore.committed")
    again = await back.program("restore", str(tmp_path))
    assert again.returncode == 0, again.stderr
    assert ('"already":true' in again.stdout) == (point == "restore.committed")
    assert await back.everything() == await trial.everything()
    third = await back.put_back(tmp_path)
    assert (third.already, third.epoch) == (True, None)


async def test_a_dry_run_changes_nothing(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await begin_discussion(trial)
    await trial.take(tmp_path)
    found = await back.put_back(tmp_path, dry_run=True)
    assert (found.dry_run, found.rows, found.epoch) == (True, ROWS, None)
    assert await is_untouched(back)
    assert not await topic_exists(back.settings, "posts.events")


async def test_a_database_with_rows_is_refused_and_the_table_named(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = await new_trial("comments")
    await begin_discussion(trial)
    await trial.take(tmp_path)
    before = await trial.everything()
    with pytest.raises(Refused, match=r"not empty: discussions has rows.* `alter database comments rename"):
        await trial.put_back(tmp_path)
    assert await trial.everything() == before
    almost = await new_trial("comments")
    await almost.run("insert into inbox (source, event_id) values ('s', gen_random_uuid())", "select 1")
    with pytest.raises(Refused, match="inbox has rows"):
        await almost.put_back(tmp_path)


async def test_a_service_that_runs_is_refused(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("posts"), await new_trial("posts")
    await trial.take(tmp_path)
    db = await Database.connect(back.url, name="posts", size=1)
    try:
        async with db.reader():
            with pytest.raises(Refused, match="posts is running"):
                await back.put_back(tmp_path)
    finally:
        await db.close()
    await back.put_back(tmp_path)


async def test_what_is_newer_than_the_code_is_refused(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("posts"), await new_trial("posts", empty=True)
    taken = await trial.take(tmp_path)
    unknown = Migration(package="services.posts", name="9999_later.sql", sha256="0")
    reseal(tmp_path, "posts", migrations=(*taken.migrations, unknown))
    with pytest.raises(Refused, match=r"newer than this version of Rapport.* services\.posts 9999_later\.sql"):
        await back.put_back(tmp_path)
    other = taken.migrations[0].model_copy(update={"sha256": "0"})
    reseal(tmp_path, "posts", migrations=(other, *taken.migrations[1:]))
    with pytest.raises(Refused, match="is not the file of that name here"):
        await back.put_back(tmp_path)
    assert await is_untouched(back)


async def test_an_older_snapshot_is_loaded_as_it_was_and_migrated_on(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = await new_trial("comments", empty=True)
    async with trial.connected() as connection, connection.transaction():
        chassis = {("services.chassis", f"000{number}_{name}.sql") for number, name in enumerate_chassis()}
        own = {("services.comments", "0001_comments.sql"), ("services.comments", "0002_twins.sql")}
        await migrate_within(connection, trial.backed.packages, chassis | own)
    await begin_discussion(trial)
    taken = await trial.take(tmp_path)
    assert len(taken.migrations) == 6

    migrated = await new_trial("comments")
    with pytest.raises(Refused, match=r"newer than the snapshot: it has services\.chassis 0005_restored_from"):
        await migrated.put_back(tmp_path)
    back = await new_trial("comments", empty=True)
    found = await back.put_back(tmp_path)
    assert found.migrations[0] == "services.chassis/0005_restored_from.sql"
    assert found.migrations[-1] == "services.comments/0010_of_author.sql"
    assert await back.run("select count(*) from comments") == len(STRANGE)
    assert await back.run("select count(*) from discussions where epoch = 0 and not gone") == 1
    indexes = "select count(*) from pg_indexes where schemaname = 'public'"
    assert await back.run(indexes) == await migrated.run(indexes)  # also those that are made concurrently elsewhere


def enumerate_chassis() -> list[tuple[int, str]]:
    return list(enumerate(("messaging", "outbox_vacuum", "consumer_partitions", "epochs"), 1))


async def test_what_the_inbox_would_forget_is_never_restored(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await trial.take(tmp_path)
    reseal(tmp_path, "comments", taken_at=datetime.now(UTC) - timedelta(days=121))
    for force in (False, True):
        with pytest.raises(Refused, match=r"INBOX_RETENTION_DAYS is 120: .* there is no way around"):
            await back.put_back(tmp_path, force=force)
    assert await is_untouched(back)


async def test_what_outboxes_have_forgotten_needs_force_and_then_resync(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await trial.take(tmp_path)
    reseal(tmp_path, "comments", taken_at=datetime.now(UTC) - timedelta(days=8))
    with pytest.raises(Refused, match=r"OUTBOX_RETENTION_DAYS is 7: .* With --force"):
        await back.put_back(tmp_path)
    found = await back.put_back(tmp_path, force=True)
    assert {"posts", "comments", "people"} <= set(found.resync)


async def test_rows_that_do_not_fit_leave_nothing(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await begin_discussion(trial)
    taken = await trial.take(tmp_path)
    tables = tuple(
        one.model_copy(update={"rows": one.rows + 1}) if one.name == "outbox" else one for one in taken.tables
    )
    reseal(tmp_path, "comments", tables=tables)
    with pytest.raises(Refused, match=r"outbox\.copy\.gz of comments should have 11 rows"):
        await back.put_back(tmp_path)
    assert await is_untouched(back)


async def test_people_with_leases_and_deferred_references_come_back(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("people"), await new_trial("people", empty=True)
    one = uuid4()
    await trial.run(
        f"insert into people (id, name, roles) values ('{one}', 'Zo\u00eb \t\\', '{{admin,author}}')",
        f"insert into imported_authors values ('\\x00', '{one}', 's', null, 'n', null)",
        f"insert into sessions (id, person_id, expires_at) values ('{one}', '{one}', 'infinity')",
        f"insert into refresh_tokens (token_sha256, session_id, expires_at) values ('\\x5c6e', '{one}', now())",
        f"insert into sign_in_requests (id, address, lookup, lease) values ('{one}', 'a@b', 'a@b', '{one}')",
        "insert into sign_in_wrong_codes (lookup) values ('a@b'), ('a@b')",
        "select 1",
    )
    before = await trial.everything()
    await trial.take(tmp_path)
    found = await back.put_back(tmp_path)
    assert found.counters == {"leases ended": 1}
    after = await back.everything()
    assert await back.run("select count(*) from sign_in_requests where lease is null and next_attempt_at <= now()") == 1
    assert after.pop("sign_in_requests") != before.pop("sign_in_requests")
    assert after == before


async def test_posts_with_an_identity_that_is_always_generated_come_back(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("posts"), await new_trial("posts", empty=True)
    one = uuid4()
    columns = "id, kind, slug, title, body, format, body_html, renderer_version, excerpt, author_id, status, discussion"
    await trial.run(
        f"insert into posts ({columns}, created_at, revision, version, imported) values ('{one}', 'post', 's', 't', '',"
        f" 'html', '', 1, '', '{one}', 'draft', 'open', now(), 1, 1, false)",
        f"insert into revisions values ('{one}', 1, 't', 'b', null, now())",
        f"insert into old_addresses (address, post_id) select 'a' || n, '{one}' from generate_series(1, 9) as n",
        "delete from old_addresses where number < 4",
        "select 1",
    )
    before = await trial.everything()
    await trial.take(tmp_path)
    await back.put_back(tmp_path)
    assert await back.everything() == before
    await back.run(f"insert into old_addresses (address, post_id) values ('new', '{one}')", "select 1")
    assert await back.run("select number from old_addresses where address = 'new'") == 10


async def test_a_table_that_somebody_holds_is_said(
    new_trial: NewTrial, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.chassis.backup.loading.SET_LOCK_TIMEOUT", "set local lock_timeout = '100ms'")
    trial, back = await new_trial("posts"), await new_trial("posts")
    await trial.take(tmp_path)
    for table, sentence in (("posts", "Somebody uses the tables of posts"), ("epoch", "The database of posts failed")):
        async with back.connected() as connection, connection.transaction():
            await connection.execute(f"lock table {table} in share mode")
            roles = one_shots(back.backed, back.settings, nothing_again("posts"))
            assert await roles["restore"].run([str(tmp_path)]) == 1
        assert sentence in capsys.readouterr().err
    assert await back.run("select number from epoch") == 0


async def test_long_work_says_how_far_and_how_fast(
    new_trial: NewTrial, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.chassis.backup.progress.SAY_EVERY_SECONDS", 0)
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await begin_discussion(trial)
    await trial.take(tmp_path)
    said = capsys.readouterr().err
    assert re.search(r"^comments: written: [\d,]+ rows \(at comments\), [\d,]+/s$", said, re.MULTILINE)
    await back.put_back(tmp_path)
    said = capsys.readouterr().err
    assert re.search(rf"^comments: loaded: {ROWS} rows \(at [a-z_]+\), [\d,]+/s$", said, re.MULTILINE)
    assert {"comments", "discussions"} <= set(re.findall(r"\(at ([a-z_]+)\)", said))


@dataclass(frozen=True)
class SomeHistory:
    epoch: int
    kept_since: datetime | None
    undecodable: int = 0


async def test_what_was_said_since_is_applied_in_the_same_transaction(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await begin_discussion(trial)
    taken = await trial.take(tmp_path)
    asked: list[tuple[str, datetime]] = []
    kept = taken.taken_at + timedelta(hours=1)
    far = 9_000_000_000

    async def read(settings: Settings, topic: Topic, since: datetime) -> SomeHistory:
        asked.append((topic.name, since))
        return SomeHistory(far, kept)

    async def apply(tx: Transaction, history: SomeHistory, epoch: int) -> Mapping[str, int]:
        assert await tx.fetchval("select number from epoch") > far  # above all that was said before
        removed = await tx.execute("update comments set state = 'removed' where body = $1", STRANGE[0])
        return {"comments removed again": removed}

    async def fail(tx: Transaction, history: SomeHistory, epoch: int) -> Mapping[str, int]:
        await apply(tx, history, epoch)
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        await back.put_back(tmp_path, catch_up=CatchUp(COMMENTS, read, fail))
    assert await is_untouched(back)
    found: RestoreResult = await back.put_back(tmp_path, catch_up=CatchUp(COMMENTS, read, apply))
    assert found.counters == {"leases ended": 0, "comments removed again": 1}
    assert found.again_only_since == kept
    assert found.epoch == far + 1
    assert asked[0][0] == "comments.events"
    assert timedelta(0) < taken.taken_at - asked[0][1] < timedelta(minutes=10)


PART = 3


def part(trial: Trial, number: int = PART) -> TopicPartition:
    return TopicPartition(trial.settings.kafka_prefix + "posts.events", number)


async def topic_exists(settings: Settings, name: str) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        return settings.kafka_prefix + name in await admin.list_topics()
    finally:
        await admin.close()


async def is_gone(settings: Settings) -> bool:
    return not await topic_exists(settings, "posts.events")


async def write_records(trial: Trial, count: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=trial.settings.kafka_bootstrap_servers)
    await producer.start()
    try:
        for number in range(count):
            await producer.send_and_wait(part(trial).topic, b"%d" % number, partition=PART)
    finally:
        await producer.stop()


@asynccontextmanager
async def member(trial: Trial) -> Any:
    client = AIOKafkaConsumer(
        part(trial).topic,
        bootstrap_servers=trial.settings.kafka_bootstrap_servers,
        group_id=trial.settings.kafka_prefix + "comments",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


async def handle(trial: Trial, offset: int) -> None:
    """Commit this offset, as a consumer does that was there."""
    async with member(trial) as client:
        await client.getmany(timeout_ms=5_000)
        await client.commit({part(trial): offset})


async def position(trial: Trial, number: int = PART) -> int:
    return (await read_offsets(trial.settings, "comments", [POSTS]))[part(trial, number)][0]


async def begun(trial: Trial) -> None:
    await create_topics(trial.settings.kafka_bootstrap_servers, trial.settings.kafka_prefix, topics=[POSTS, COMMENTS])


async def test_the_group_goes_back_to_the_snapshot(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await begun(trial)
    await write_records(trial, 9)
    await handle(trial, 4)
    taken = await trial.take(tmp_path)
    assert taken.offsets == {"posts.events": {PART: 4}}
    await handle(trial, 9)
    found = await back.put_back(tmp_path)
    assert (await position(back), found.resync) == (4, [])


async def test_a_group_with_members_is_refused(
    new_trial: NewTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.chassis.backup.restore.SESSION_SECONDS", 0)
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await begun(trial)
    await write_records(trial, 2)
    await trial.take(tmp_path)
    async with member(trial) as client:
        await client.getmany(timeout_ms=5_000)
        with pytest.raises(Refused, match="consumer group of comments lives: 1 member reads on"):
            await back.put_back(tmp_path)
    assert await is_untouched(back)
    await back.put_back(tmp_path)


async def test_records_that_the_log_deleted_since_must_be_stated(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await begun(trial)
    await write_records(trial, 9)
    await handle(trial, 4)
    await trial.take(tmp_path)
    admin = AIOKafkaAdminClient(bootstrap_servers=trial.settings.kafka_bootstrap_servers)
    await admin.start()
    await admin.delete_records({part(trial): RecordsToDelete(before_offset=6)})
    await admin.close()
    found = await back.put_back(tmp_path)
    assert (await position(back), found.resync) == (6, ["posts"])


@pytest.mark.parametrize("records", [2, 30])
async def test_another_log_of_the_same_name_is_read_from_its_beginning(
    new_trial: NewTrial, tmp_path: Path, records: int
) -> None:
    """Also when it is longer than the first one was: its records are all younger than the snapshot."""
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await begun(trial)
    await write_records(trial, 9)
    await handle(trial, 9)
    taken = await trial.take(tmp_path)
    reseal(tmp_path, "comments", taken_at=taken.taken_at - timedelta(hours=1))
    admin = AIOKafkaAdminClient(bootstrap_servers=trial.settings.kafka_bootstrap_servers)
    await admin.start()
    await admin.delete_topics([part(trial).topic])
    await admin.close()
    await eventually(lambda: is_gone(trial.settings))
    await begun(trial)
    await write_records(trial, records)
    found = await back.put_back(tmp_path)
    assert (await position(back), found.resync) == (0, ["posts"])


async def test_a_log_that_is_gone_is_made_and_must_be_filled(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await trial.take(tmp_path)
    reseal(tmp_path, "comments", offsets={"posts.events": {PART: 4}})
    found = await back.put_back(tmp_path)
    assert await topic_exists(back.settings, "posts.events")
    assert (await position(back), found.resync) == (0, ["posts"])


async def test_without_offsets_the_whole_log_is_read_again(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await begun(trial)
    await write_records(trial, 5)
    await handle(trial, 5)
    await trial.take(tmp_path)
    reseal(tmp_path, "comments", offsets=None)
    found = await back.put_back(tmp_path)
    assert (await position(back), found.resync) == (0, ["posts"])


async def test_without_kafka_nothing_is_restored(new_trial: NewTrial, tmp_path: Path, free_port: Any) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    await trial.take(tmp_path)
    away = replace(
        back, settings=back.settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}"})
    )
    with pytest.raises(Refused, match="Kafka is needed to restore comments"):
        await away.put_back(tmp_path)
    assert await is_untouched(back)


async def test_wrong_use_and_refusals_of_the_roles(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = await new_trial("posts")
    for arguments in (["backup"], ["backup", "a", "b"], ["restore", "--dry"], ["verify"], ["migrate", "x"]):
        ended = await trial.program(*arguments)
        assert ended.returncode == 2, arguments
        assert "usage: python -m services.posts backup FOLDER" in ended.stderr
    ended = await trial.program("restore", str(tmp_path / "nowhere"))
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "holds no whole snapshot of posts" in ended.stderr
    nowhere = Trial("posts", trial.url.rpartition("/")[0] + f"/none_{uuid4().hex[:6]}", trial.settings)
    ended = await nowhere.program("backup", str(tmp_path))
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "POSTS_DATABASE_URL cannot be used: the server refuses: database" in ended.stderr
