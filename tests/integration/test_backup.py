"""Snapshots of one service's database: taken under load, whole or not there, and back as they were."""

import asyncio
import gzip
import os
import stat
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from services.chassis.backup import catalogue, manifest, table_files
from services.chassis.backup.manifest import Refused
from services.chassis.backup.verify import verify
from services.chassis.database.migrations import MIGRATION_LOCK
from services.posts.image_rows import INSERT_IMAGE
from tests.integration.backup_harness import (
    POST,
    STRANGE,
    NewTrial,
    Trial,
    begin_discussion,
    new_trial,
    reseal,
    write_comments,
)
from tests.servers import Servers

__all__ = ["new_trial"]  # the fixture

SERVICES = ("posts", "comments", "people", "notify")


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("service", SERVICES)
async def test_every_table_of_the_catalogue_is_in_a_snapshot_or_left_out_for_a_reason(
    new_trial: NewTrial, service: str, tmp_path: Path
) -> None:
    trial = await new_trial(service)
    taken = await trial.take(tmp_path)
    async with trial.connected() as connection:
        present = {
            row["tablename"]
            for row in await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
        }
    assert {table.name for table in taken.tables} == present - catalogue.LEFT_OUT.keys()
    assert catalogue.LEFT_OUT.keys() <= present
    order = [table.name for table in taken.tables]
    async with trial.connected() as connection:
        for table in await catalogue.tables(connection):
            assert all(order.index(other) < order.index(table.name) for other in table.refers_to)


async def test_pictures_come_back_and_are_never_in_memory_together(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back, count = await new_trial("posts"), await new_trial("posts", empty=True), 12
    async with trial.connected() as connection:
        for _ in range(count):
            await connection.execute(INSERT_IMAGE, uuid4(), uuid4(), 2048, 8192, os.urandom(1024) * 5 * 1024)
        await connection.execute(
            "insert into posts (id, kind, slug, title, body, format, body_html, renderer_version, excerpt, author_id, "
            "status, discussion, created_at, revision, version, imported, cover) select id, 'post', 'a', '', '', "
            "'markdown', '', 1, '', id, 'draft', 'open', now(), 1, 1, false, id from images limit 1"
        )
    most, own = [0], psutil.Process()
    before, stop = own.memory_info().rss, threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            most[0] = max(most[0], own.memory_info().rss - before)

    watching = asyncio.create_task(asyncio.to_thread(watch))
    await trial.take(tmp_path)
    await back.put_back(tmp_path)
    stop.set()
    await watching
    digests = "select string_agg(sha256(content)::text, ' ' order by id) || (select cover from posts) from images"
    assert await back.run(digests) == await trial.run(digests) is not None
    assert most[0] < 2 * count * 5 * 2**20 * 0.75, f"{most[0] / 2**20:.0f} MiB, and the rows have {2 * count * 5}"


async def test_a_snapshot_under_write_load_is_of_one_moment(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = await new_trial("comments")
    await begin_discussion(trial, ["x" * 500] * 3_000)
    stop = asyncio.Event()

    async def write() -> int:
        rounds = 0
        async with trial.connected() as connection:
            while not stop.is_set():
                await write_comments(connection, ["more"] * 3)
                rounds += 1
        return rounds

    writers = [asyncio.create_task(write()) for _ in range(3)]
    taken = await trial.take(tmp_path)
    stop.set()
    assert sum(await asyncio.gather(*writers)) > 3
    rows = {table.name: table.rows for table in taken.tables}
    assert rows["comments"] == rows["outbox"] < await trial.run("select count(*) from comments")
    back = await new_trial("comments", empty=True)
    await back.put_back(tmp_path)
    assert await back.run("select visible_count from discussions") == rows["comments"]
    assert await back.run("select count(*) from comments where post_id not in (select post_id from discussions)") == 0


async def test_what_is_restored_equals_the_snapshot_table_by_table(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = await new_trial("comments")
    await begin_discussion(trial)
    await trial.run(
        "update outbox set published_at = now() where id < 4",
        "insert into inbox (source, event_id) values ('/services/posts', gen_random_uuid())",
        "insert into idempotency_keys (person_id, key, method, path, body_sha256, status, representation)"
        " values (gen_random_uuid(), E'k\\\\ \\t', 'POST', '/', '\\x005c0a', 201,"
        ' \'{"a": [1.50, "\\\\u00e9\\\\n"]}\')',
        "insert into consumer_partitions (consumer_group, topic, partition, state)"
        " values ('comments', 't', 1, 'paused')",
        "select 1",
    )
    before = await trial.everything()
    assert sum(STRANGE[0] in row for row in before["comments"]) == 1
    taken = await trial.take(tmp_path)
    await trial.run(f"delete from comments where post_id = '{POST}'", "select 1")

    back = await new_trial("comments", empty=True)
    found = await back.put_back(tmp_path)
    assert await back.everything() == before
    assert found.tables == {table.name: table.rows for table in taken.tables}
    assert await back.run("select count(*) from consumer_partitions") == 0
    assert found.epoch == await back.run("select number from epoch") > 1_700_000_000
    async with back.connected() as connection:
        await write_comments(connection, ["after"])  # the identity goes on behind the rows
        assert await connection.fetchval("select max(epoch) from outbox") == found.epoch
    migrated = await new_trial("comments")  # a database that `migrate` has made is empty as well
    await migrated.put_back(tmp_path)
    assert await migrated.everything() == before


async def test_leases_end_and_rows_of_every_type_come_back(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = await new_trial("notify")
    one = uuid4()
    await trial.run(
        f"insert into comments values ('{one}', '{one}', '{one}', null, null, '{one}', 'visible', false, 1, now())",
        "insert into notifications (person_id, comment_id, id, post_id, reasons, state, announced, due_at, lease_token,"
        f" lease_until, frozen) values ('{one}', '{one}', '{one}', '{one}', E'{{\"a,b\",\"c\\\\\\\\\"}}', 'waiting',"
        f" true, now(), '{one}', now() + interval '1 hour', '\\x00ff0a5c')",
        "select 1",
    )
    before = await trial.everything()
    await trial.take(tmp_path)
    back = await new_trial("notify", empty=True)
    found = await back.put_back(tmp_path)
    assert found.counters == {"leases ended": 1}
    assert await back.run("select count(*) from notifications where lease_token is null and lease_until is null") == 1
    await trial.run("update notifications set lease_token = null, lease_until = null", "select 1")
    assert await back.everything() == await trial.everything() != before


async def test_only_the_owner_can_read_a_backup(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = await new_trial("people")
    old = os.umask(0)
    try:
        await trial.take(tmp_path / "new" / "folder")
    finally:
        os.umask(old)
    folder = tmp_path / "new" / "folder"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "people")] == [0o700, 0o700]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder / "people").iterdir()} == {0o600}
    assert [path.name for path in folder.iterdir()] == ["people"]


async def test_a_second_backup_does_not_overwrite_the_first(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = await new_trial("posts")
    first = await trial.take(tmp_path)
    with pytest.raises(Refused, match="exists already"):
        await trial.take(tmp_path)
    assert manifest.read(tmp_path, "posts") == first


@pytest.mark.parametrize("point", ["backup.written", "backup.before_rename"])
async def test_a_killed_backup_never_looks_whole_and_can_be_repeated(
    new_trial: NewTrial, tmp_path: Path, point: str
) -> None:
    trial = await new_trial("comments")
    await begin_discussion(trial)
    killed = await trial.program("backup", str(tmp_path), failpoints=point)
    assert killed.returncode == -9, killed.stderr
    assert not (tmp_path / "comments").exists()
    with pytest.raises(Refused, match="no whole snapshot of comments"):
        manifest.read(tmp_path, "comments")
    again = await trial.program("backup", str(tmp_path))
    assert (again.returncode, again.stderr) == (0, "")
    assert names_in(tmp_path) == ["comments"]
    assert manifest.read(tmp_path, "comments").rows == 2 * len(STRANGE) + 1


async def test_a_failed_backup_leaves_nothing(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = await new_trial("posts", empty=True)
    with pytest.raises(Refused, match=r"no tables: run `python -m services\.posts migrate`"):
        await trial.take(tmp_path)
    assert names_in(tmp_path) == []


async def test_a_full_disk_is_said_and_nothing_is_left(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = await new_trial("comments")
    await begin_discussion(trial, [os.urandom(20_000).hex() for _ in range(10)])
    ended = await trial.program("backup", str(tmp_path), blocks=100)
    assert ended.returncode == 1
    assert ended.stderr == "comments: File too large. Nothing was done by halves: repeat it when that is mended.\n"
    assert names_in(tmp_path) == []


async def test_a_backup_and_a_migration_do_not_run_at_once(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = await new_trial("posts")
    async with trial.connected() as migrating:
        await migrating.execute(f"select pg_advisory_lock({MIGRATION_LOCK})")
        with pytest.raises(Refused, match="migration of posts runs"):
            await trial.take(tmp_path)


async def test_a_backup_without_kafka_says_what_it_lacks(
    new_trial: NewTrial, tmp_path: Path, capfd: pytest.CaptureFixture[str], free_port: Callable[[], int]
) -> None:
    trial = await new_trial("comments", kafka_bootstrap_servers=f"127.0.0.1:{free_port()}")
    taken = await trial.take(tmp_path)
    assert taken.offsets is None
    assert "Kafka does not tell how far the consumer group is" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("missing", r"comments\.copy\.gz is missing"),
        ("truncated", r"comments\.copy\.gz is truncated: [\d,]+ of [\d,]+ bytes"),
        ("altered", r"comments\.copy\.gz was altered"),
        ("longer", r"comments\.copy\.gz was altered"),
        ("no manifest", r"manifest\.json is missing"),
        ("broken manifest", r"manifest\.json is damaged"),
        ("altered manifest", r"manifest\.json was altered"),
        ("later format", r"manifest\.json has format 7"),
    ],
)
async def test_a_damaged_snapshot_is_refused_and_the_file_named(
    new_trial: NewTrial, tmp_path: Path, damage: str, sentence: str
) -> None:
    trial = await new_trial("comments")
    await begin_discussion(trial)
    await trial.take(tmp_path)
    file, listing = tmp_path / "comments/comments.copy.gz", tmp_path / "comments/manifest.json"
    content = file.read_bytes()
    match damage:
        case "missing":
            file.unlink()
        case "truncated":
            file.write_bytes(content[:-9])
        case "altered":
            file.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
        case "longer":
            file.write_bytes(content + b"\n")
        case "no manifest":
            listing.unlink()
        case "broken manifest":
            listing.write_bytes(listing.read_bytes()[:-20])
        case "altered manifest":
            listing.write_text(listing.read_text().replace('"epoch": 0', '"epoch": 1'))
        case "later format":
            listing.write_text(listing.read_text().replace('"format": 1', '"format": 7'))
    back = await new_trial("comments", empty=True)
    for work in (back.put_back(tmp_path), verify(back.backed, tmp_path)):
        with pytest.raises(Refused, match=sentence):
            await work
    assert await back.run("select count(*) from pg_tables where schemaname = 'public'") == 0


async def test_verify_compares_every_row_and_leaves_nothing(
    new_trial: NewTrial, servers: Servers, tmp_path: Path
) -> None:
    trial = await new_trial("comments")
    await begin_discussion(trial)
    taken = await trial.take(tmp_path)
    assert await verify(trial.backed, tmp_path) == taken

    path = tmp_path / "comments/comments.copy.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"slash", b"plash")))
    planted = _as_written(tmp_path, "comments")
    with pytest.raises(Refused, match="comments of comments does not come back as it was"):
        await verify(trial.backed, tmp_path)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).split(b"\n", 1)[1]))
    assert _as_written(tmp_path, "comments") != planted
    with pytest.raises(Refused, match=r"comments\.copy\.gz of comments should have 10 rows: COPY 9"):
        await verify(trial.backed, tmp_path)
    left = await trial.run("select count(*) from pg_database where datname like 'rapport\\_verify\\_%'")
    assert left == 0


def _as_written(folder: Path, name: str) -> manifest.Manifest:
    """Give the manifest the size and digest that a file has now, as a faulty writer would."""
    content = (folder / "comments" / f"{name}.copy.gz").read_bytes()
    tables = tuple(
        table.model_copy(update={"bytes": len(content), "sha256": sha256(content).hexdigest()})
        if table.name == name
        else table
        for table in manifest.read(folder, "comments").tables
    )
    return reseal(folder, "comments", tables=tables)


async def test_verify_says_which_right_is_missing(new_trial: NewTrial, servers: Servers, tmp_path: Path) -> None:
    trial = await new_trial("posts")
    await trial.take(tmp_path)
    role = f"limited_{uuid4().hex[:8]}"
    await trial.run(f"create role {role} login password 'p'", "select 1")
    try:
        host = trial.url.rpartition("@")[2]
        limited = Trial("posts", f"postgresql://{role}:p@{host}", trial.settings)
        with pytest.raises(Refused, match=f"alter role {role} createdb"):
            await verify(limited.backed, tmp_path)
        await trial.run(f"alter role {role} createdb", "select 1")
        await verify(limited.backed, tmp_path)
    finally:
        await trial.run(f"drop role {role}", "select 1")


def test_the_digest_of_rows_depends_on_neither_order_nor_pieces() -> None:
    found = []
    for pieces in ([b"a\nb", b"\nc\n"], [b"c\nb\na\n"], [b"", b"b\n", b"a\n", b"", b"c", b"\n"]):
        content = table_files.Content()
        for piece in pieces:
            content.add(piece)
        found.append((content.rows, content.digest))
    assert len(set(found)) == 1
    assert found[0][0] == 3
