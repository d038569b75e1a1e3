"""`rapport backup` and `rapport restore` with a running system: the drill of docs/operations.md."""

import asyncio
import gzip
import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg

from services.chassis.backup import manifest
from services.chassis.backup.table_files import Content
from services.operator.backups.one_shots import environment_of
from tests.client import Client, Person
from tests.e2e.test_operator_command import rapport
from tests.e2e.test_resync import check, comment, mails_end, sql
from tests.integration.backup_harness import reseal
from tests.servers import free_port
from tests.smtp_sink import SmtpSink
from tests.stack import DATABASES, Stack
from tests.waiting import eventually


async def replace_database(stack: Stack, service: str) -> None:
    """Put an empty database in the place of a service's, as an operator does before a restore."""
    admin = await asyncpg.connect(stack.servers.postgres_url("postgres"))
    try:
        await admin.execute(f'drop database "{stack.name}_{service}" with (force)')
        await admin.execute(f'create database "{stack.name}_{service}"')
    finally:
        await admin.close()


async def is_mailed(stack: Stack, comment_id: str) -> bool:
    wanted = f"select exists (select from notifications where comment_id = '{comment_id}' and state = 'sent')"
    return bool(await sql(stack, "notify", wanted))


async def test_the_drill(own_stack: Stack, own_client: Client, writer: Person, sink: SmtpSink, tmp_path: Path) -> None:
    """A backup under writes, an older comments put back, and the printed commands make everything agree."""
    stack, client, folder = own_stack, own_client, tmp_path / "first"
    ben = await client.sign_in("Ben", "ben@example.com")
    post = await client.publish(writer, "Kept")
    for number in range(5):
        await comment(client, post, ben, f"Before {number}.")
    await eventually(lambda: mails_end(stack), timeout=30)

    writes = asyncio.create_task(comment(client, post, ben, "While it is written."))
    taken = await rapport(stack, "backup", str(folder), "--json")
    assert taken.status == 0, taken.err
    await writes
    result = json.loads(taken.out)
    assert [one["service"] for one in result["services"]] == ["notify", "comments", "posts", "people"]
    times = [one["taken_at"] for one in result["services"]]
    assert times == sorted(times)

    verified = await rapport(stack, "backup", str(folder), "--verify")
    assert verified.status == 0, verified.err
    assert "come back as they were" in verified.out
    assert "Everything in comments.comments.author_id is in the snapshot of people." in verified.out

    lost = await comment(client, post, ben, "After the backup.")
    await eventually(lambda: is_mailed(stack, lost["id"]), timeout=30)
    await eventually(lambda: mails_end(stack), timeout=30)
    newer = await client.publish(writer, "Published after the backup")
    mails = len(sink.messages)
    running = await rapport(stack, "restore", str(folder), "comments")
    assert running.status == 1
    assert "not empty" in running.err
    assert "Nothing was changed." in running.err

    stack.part("comments").stop()
    await replace_database(stack, "comments")
    tried = await rapport(stack, "restore", str(folder), "comments", "--dry-run")
    assert (tried.status, tried.err) == (0, "")
    assert "comments would get" in tried.out
    restored = await rapport(stack, "restore", str(folder), "comments")
    assert restored.status == 0, restored.err
    again = await rapport(stack, "restore", str(folder), "comments")
    assert "comments was restored from this snapshot before; nothing was changed." in again.out
    assert again.status == 0
    await stack.start("comments")
    opened = await comment(client, newer, writer, "Its consumer has read again what came since.")
    assert (await client.call("GET", f"/v1/comments/{opened['id']}", who=ben)).status == 200

    commands = [line.split()[1:] for line in restored.out.splitlines() if line.startswith("    rapport ")]
    assert [command[0] for command in commands] == ["republish"] * 4 + ["resync", "check"]
    assert commands[4] == ["resync", "comments"]
    assert commands[0] == ["republish", "posts", "--since", min(times)]
    for command in commands[:-1]:
        ended = await rapport(stack, *command)
        assert ended.status == 0, ended.err
    status, found = await check(stack, "--wait", "60")
    assert status == 0, found
    assert len(sink.messages) == mails  # nobody is told anything twice
    assert (await client.call("GET", f"/v1/comments/{lost['id']}", who=ben)).status == 404
    later = await comment(client, post, ben, "After the restore.")
    assert (await client.call("GET", f"/v1/comments/{later['id']}", who=ben)).status == 200


async def test_all_four_go_back_at_once(
    own_stack: Stack, own_client: Client, writer: Person, sink: SmtpSink, tmp_path: Path
) -> None:
    stack, client = own_stack, own_client
    cleo = await client.sign_in("Cleo", "cleo@example.com")
    post = await client.publish(writer, "In the backup")
    kept = await comment(client, post, cleo, "Kept.")
    await eventually(lambda: is_mailed(stack, kept["id"]), timeout=30)
    assert (await rapport(stack, "backup", str(tmp_path))).status == 0
    lost_post = await client.publish(writer, "Not in the backup")
    lost = await comment(client, lost_post, cleo, "Lost.")
    await eventually(lambda: is_mailed(stack, lost["id"]), timeout=30)
    mails = len(sink.messages)

    for service in DATABASES:
        stack.part(service).stop()
        await replace_database(stack, service)
    assert (await rapport(stack, "restore", str(tmp_path), "posts")).status == 0  # interrupted after the first
    restored = await rapport(stack, "restore", str(tmp_path), *DATABASES, "--json")
    assert restored.status == 0, restored.err
    result = json.loads(restored.out)
    already = {one["service"]: one["already"] for one in result["services"]}
    assert already == {"notify": False, "comments": False, "posts": True, "people": False}
    for service in DATABASES:
        await stack.start(service)
    assert result["next"][-2:] == ["rapport check", "rapport mail resume"]
    for command in result["next"]:
        ended = await rapport(stack, *command.split()[1:])
        assert ended.status == 0, ended.err
    await eventually(lambda: mails_end(stack), timeout=60)
    for who in (writer, cleo):  # the restore of people has ended their sessions
        fresh = await client.sign_in(who.name, who.email)
        who.access_token, who.refresh_token = fresh.access_token, fresh.refresh_token
    assert len(sink.messages) == mails + 2  # the two links: none about what is gone, none again
    assert (await client.call("GET", f"/v1/comments/{kept['id']}", who=cleo)).status == 200
    for gone in (f"/v1/comments/{lost['id']}", f"/v1/posts/{lost_post['id']}"):
        assert (await client.call("GET", gone, who=cleo)).status == 404


async def test_one_refusal_stops_all(own_stack: Stack, own_client: Client, writer: Person, tmp_path: Path) -> None:
    stack = own_stack
    assert (await rapport(stack, "backup", str(tmp_path), "--only", "posts", "--only", "people")).status == 0
    (tmp_path / "people/people.copy.gz").unlink()
    stack.part("posts").stop()
    before = await sql(stack, "posts", "select count(*) from posts")
    ended = await rapport(stack, "restore", str(tmp_path), "posts", "people")
    assert ended.status == 1
    assert "people.copy.gz is missing" in ended.err
    assert "posts is not empty" in ended.err
    assert ended.err.rstrip().endswith("Nothing was changed.")
    assert await sql(stack, "posts", "select count(*) from posts") == before
    await stack.start("posts")


async def test_references_that_lead_nowhere_are_found(
    own_stack: Stack, own_client: Client, writer: Person, tmp_path: Path
) -> None:
    """Explained by the order if the owner was read before; a fault if it was read after."""
    stack = own_stack
    post = await own_client.publish(writer, "Referred to")
    await comment(own_client, post, writer, "Here.")
    assert (await rapport(stack, "backup", str(tmp_path))).status == 0
    file = tmp_path / "posts/posts.copy.gz"
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    packed = gzip.compress(b"".join(line for line in lines if post["id"].encode() not in line))
    file.write_bytes(packed)
    (tmp_path / "posts/revisions.copy.gz").write_bytes(empty := gzip.compress(b""))
    kept = manifest.read(tmp_path, "posts")
    changes = {"posts": (packed, len(lines) - 1), "revisions": (empty, 0)}
    tables = tuple(
        table.model_copy(
            update={
                "sha256": sha256(changes[table.name][0]).hexdigest(),
                "rows": changes[table.name][1],
                "bytes": len(changes[table.name][0]),
            }
        )
        if table.name in changes
        else table
        for table in kept.tables
    )
    reseal(tmp_path, "posts", tables=tables)
    damaged = await rapport(stack, "backup", str(tmp_path), "--verify", "--only", "posts")
    assert damaged.status == 1
    assert "posts of posts does not come back as it was" in damaged.err

    content = {table.name: table.content for table in kept.tables}
    for name, (data, _) in changes.items():
        counted = Content()
        counted.add(gzip.decompress(data))
        content[name] = counted.digest
    tables = tuple(table.model_copy(update={"content": content[table.name]}) for table in tables)
    reseal(tmp_path, "posts", tables=tables)
    wrong = await rapport(stack, "backup", str(tmp_path), "--verify", "--json")
    assert wrong.status == 1
    found = {one["in"]: one for one in json.loads(wrong.out)["references"]}
    assert found["comments.discussions.post_id"] == {
        "in": "comments.discussions.post_id",
        "owner": "posts",
        "missing": 1,
        "examples": [post["id"]],
        "explained": False,
    }
    early = manifest.read(tmp_path, "comments").taken_at.replace(year=2020)
    reseal(tmp_path, "posts", taken_at=early)
    explained = await rapport(stack, "backup", str(tmp_path), "--verify")
    assert explained.status == 0, explained.err
    assert f"1 id of comments.discussions.post_id is not in the snapshot of posts: {post['id']}." in explained.out


async def test_wrong_use_says_what_to_do(own_stack: Stack, tmp_path: Path) -> None:
    stack = own_stack
    for arguments, sentence in (
        (["backup", str(tmp_path), "--only", "gateway"], "There is no service 'gateway' with a database"),
        (["backup", str(tmp_path / "none"), "--verify"], "holds no backup"),
        (["restore", str(tmp_path / "none"), "posts"], "holds no whole snapshot of posts"),
    ):
        ended = await rapport(stack, *arguments)
        assert (ended.status, sentence in ended.err) == (1, True), ended.err
    for arguments in (["backup"], ["restore", str(tmp_path)], ["backup", "a", "--dry"]):
        assert (await rapport(stack, *arguments)).status == 2
    bare = await rapport(stack, "backup", str(tmp_path / "new"), POSTS_DATABASE_URL="")
    assert "POSTS_DATABASE_URL is not set" in bare.err
    assert "`make backup`" in bare.err
    for command in ("backup", "restore"):
        shown = await rapport(stack, command, "--help")
        assert f"Example: rapport {command} /backups/" in shown.out
    assert (await rapport(stack, "backup", str(tmp_path / "one"), "--only", "posts")).status == 0
    away = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}
    blind = await rapport(stack, "backup", str(tmp_path / "blind"), "--only", "comments", **away)
    assert blind.status == 0
    assert "Kafka does not tell how far the consumer group is" in blind.err
    twice = await rapport(stack, "backup", str(tmp_path / "one"))
    assert "has a backup of posts already" in twice.err


def test_a_role_sees_its_own_variables_only() -> None:
    given = {f"{service.upper()}_DATABASE_URL": service for service in DATABASES}
    given |= {"PATH": os.environ["PATH"], "KAFKA_USERNAME": "operator", "KAFKA_PASSWORD": "o", "KAFKA_CA_FILE": "ca"}
    given |= {"OPERATOR_SIGNING_KEY": "k", "NOTIFY_SECRET": "n", "SMTP_PASSWORD": "s", "REDIS_URL": "r"}
    given |= {"COMMENTS_KAFKA_USERNAME": "comments", "COMMENTS_KAFKA_PASSWORD": "c", "OUTBOX_RETENTION_DAYS": "9"}
    shared = {"PATH": os.environ["PATH"], "KAFKA_CA_FILE": "ca", "OUTBOX_RETENTION_DAYS": "9"}
    own: dict[str, Any] = {"COMMENTS_DATABASE_URL": "comments", "KAFKA_USERNAME": "comments", "KAFKA_PASSWORD": "c"}
    assert environment_of("comments", given) == shared | own
    operators = {"KAFKA_USERNAME": "operator", "KAFKA_PASSWORD": "o"}
    assert environment_of("notify", given) == shared | operators | {"NOTIFY_DATABASE_URL": "notify"}
