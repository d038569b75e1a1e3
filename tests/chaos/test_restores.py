"""Restore each service from an older backup under load, delete Kafka's data, lose a read model: nothing stays wrong."""

import asyncio
import json
import shlex
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from services.chassis.ids import new_id
from services.contracts.event import rfc3339
from tests import smtp_sink as smtp
from tests.chaos.counts import HOUR, PATIENT
from tests.chaos.drill import Drill, drilled
from tests.client import Person
from tests.servers import PrivateServers
from tests.stack import DATABASES
from tests.waiting import eventually

WANTED = 0.999  # of the reads
COPIES = """
insert into comments (id, post_id, list_id, path, depth, author_id, body, format, body_html, renderer_version, state,
                      created_at, shown)
select new, c.post_id, c.list_id, uuid_send(new), c.depth, c.author_id, c.body, c.format, c.body_html,
       c.renderer_version, c.state, c.created_at, c.shown
from comments c, unnest($2::uuid[]) as new
where c.id = $1
"""
COUNTED = "update discussions set visible_count = visible_count + $2 where post_id = $1"

comments_there = pytest.mark.parametrize(
    "drill",
    [
        pytest.param(500, id="short", marks=pytest.mark.timeout(PATIENT)),
        pytest.param(50_000, id="full", marks=[pytest.mark.chaos, pytest.mark.timeout(HOUR)]),
    ],
    indirect=True,
)


@pytest.fixture(scope="module")
async def drill(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Drill]:
    """Run a system with so many comments below one post, on servers of its own: Kafka loses its data here."""
    servers = PrivateServers(tmp_path_factory.mktemp("drill_servers"))
    folder = tmp_path_factory.mktemp("drill")
    try:
        async with smtp.listening() as sink, drilled(servers, sink, folder) as found:
            await _fill(found, request.param)
            yield found
    finally:
        servers.stop()


async def _fill(found: Drill, count: int) -> None:
    crowded = await found.client.publish(found.ada, "Crowded")
    first = await found.comment(found.people[0], crowded["id"], "One of many.")
    await found.at_rest()
    connection = await asyncpg.connect(found.stack.database_urls["comments"])
    try:
        async with connection.transaction():
            await connection.execute(COPIES, first, [new_id() for _ in range(count)])
            await connection.execute(COUNTED, crowded["id"], count)
    finally:
        await connection.close()
    await found.command("resync", "comments")
    found.busy = [(await found.client.publish(found.ada, f"Busy {n}"))["id"] for n in range(2)]
    found.read_paths = [
        f"/v1/posts/{crowded['id']}",
        f"/v1/posts/{crowded['id']}/comments",
        f"/posts/{crowded['slug']}",
        "/",
    ]
    await found.at_rest()


@dataclass
class Since:
    """What happens after a backup, and must not be undone by restoring it."""

    withdrawn: str
    lost: str
    removed: str
    lost_comment: str
    asked: str
    erased: Person
    leaves: Person


async def before(drill: Drill, name: str) -> Since:
    """Write what the backup will hold."""
    erased, leaves = [
        await drill.client.sign_in(f"{deed} {name}", f"{deed}-{name}@example.com") for deed in ("erased", "leaves")
    ]
    withdrawn = await drill.client.publish(drill.ada, f"To be withdrawn, {name}")
    removed = await drill.comment(leaves, drill.busy[0], f"To be removed, {name}.")
    asked = await drill.comment(leaves, drill.busy[0], f"A question, {name}.")
    await drill.comment(erased, drill.busy[0], f"By somebody who leaves for good, {name}.")
    return Since(withdrawn["id"], "", removed, "", asked, erased, leaves)


async def after(drill: Drill, since: Since, name: str) -> None:
    """Change it, and wait until everybody has heard of that."""
    client = drill.client
    assert (await client.call("POST", f"/v1/posts/{since.withdrawn}/withdraw", {}, who=drill.ada)).status == 200
    assert (await client.call("DELETE", f"/v1/comments/{since.removed}", who=since.leaves)).status in (200, 204)
    assert (await client.call("DELETE", "/v1/me", who=since.erased)).status in (202, 204)
    wanted = {"notifications": False}
    assert (await client.call("PATCH", "/v1/me/mail", wanted, who=since.leaves)).status == 200
    since.lost = (await client.publish(drill.ada, f"After the backup, {name}"))["id"]
    since.lost_comment = await drill.comment(drill.people[1], drill.busy[0], f"After the backup, {name}.")
    await drill.at_rest()


LATEST_MAILS = """
select json_agg(latest) from (
    select state, why, attempts, due_at - now() as due_in from notifications order by id desc limit 5
) as latest
"""


async def nothing_came_back(drill: Drill, since: Since, service: str) -> None:
    client = drill.client
    assert (await client.call("GET", f"/v1/posts/{since.withdrawn}")).status in (404, 410)
    lost = await client.call("GET", f"/v1/posts/{since.lost}")
    assert lost.status == (404 if service == "posts" else 200)
    removed = await client.call("GET", f"/v1/comments/{since.removed}")
    assert removed.status in (404, 410) or removed.json["state"] == "removed", removed.json
    assert await drill.sql("people", "select count(*) from addresses where address like 'erased-%'") == 0
    # the newest word wins: what is written now is what everybody knows
    closed = {"discussion": "closed"}
    assert (await client.call("PATCH", f"/v1/posts/{drill.busy[1]}", closed, who=drill.ada)).status == 200

    async def is_closed() -> bool:
        answer = await client.call("POST", f"/v1/posts/{drill.busy[1]}/comments", {"body": "Late"}, who=drill.people[0])
        return answer.status in (403, 409, 422)

    await eventually(is_closed, timeout=30)
    assert (
        await client.call("PATCH", f"/v1/posts/{drill.busy[1]}", {"discussion": "open"}, who=drill.ada)
    ).status == 200
    mails = len(drill.notifications())
    await drill.comment(drill.people[0], drill.busy[0], f"After {service} was restored.")
    await drill.comment(drill.people[0], drill.busy[0], f"To one who wants no mail, {service}.", since.asked)

    async def told() -> bool:
        return len(drill.notifications()) >= mails + 2  # the author of the post, twice

    try:
        await eventually(told, timeout=60)
    except AssertionError:
        raise AssertionError(
            f"{len(drill.notifications()) - mails} of 2 mails came: {await drill.sql('notify', LATEST_MAILS)}"
        ) from None
    await drill.at_rest()
    assert wrong_mails(drill) == []


def wrong_mails(drill: Drill) -> list[tuple[str, str]]:
    """Return (recipient, comment) of every mail that came twice, or to somebody who is gone or wants none."""
    found = []
    for (recipient, comment), copies in drill.notifications().items():
        ids = {mail.message["Message-ID"] for mail in copies}
        if len(ids) > 1 or recipient.startswith(("erased-", "leaves-")):
            found.append((recipient, comment))
    return found


# Every run restores all four at once (`e2e/test_backup.py`); one by one under load takes minutes.
@comments_there
@pytest.mark.chaos
@pytest.mark.parametrize("service", ["posts", "comments", "people", "notify"])
async def test_a_service_is_restored_from_an_older_backup(drill: Drill, service: str, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    since = await before(drill, service)
    await drill.at_rest()
    await drill.command("backup", str(folder))
    await after(drill, since, service)

    async with drill.load() as traffic:
        commands = await drill.replace(service, folder)
        _, found = await drill.check("--wait", "2")
        differing = {one["owner"]: one["differing"] for one in found}
        print(differing)
        if service in ("posts", "comments"):
            assert differing[service] > 0
            assert next(one for one in found if one["owner"] == service)["mend"] == f"rapport resync {service}"
        if service == "notify":
            assert json.loads((await drill.command("mail", "status", "--json")).out)["paused"]
        for command in commands:
            print(command)
            await drill.command(*shlex.split(command)[1:])
    await drill.at_rest()
    print(traffic.reads, "reads,", f"{traffic.good:.5f} good,", len(traffic.written), "comments;", traffic.bad)
    assert (await drill.check())[0] == 0
    if service == "people":
        await drill.sign_in_again()
    await nothing_came_back(drill, since, service)
    assert (await drill.check())[0] == 0
    assert traffic.good >= WANTED, traffic.bad


@comments_there
async def test_kafkas_data_is_deleted(drill: Drill) -> None:
    """The consumers find the topics that were made anew, and `republish` makes read models whole."""
    broker = drill.servers.broker
    before = rfc3339(datetime.now(UTC) - timedelta(minutes=5))
    async with drill.load() as traffic:
        await asyncio.to_thread(broker.kill)
        shutil.rmtree(broker.folder / "data")
        await asyncio.to_thread(broker.start)
        for service in DATABASES:
            await drill.command("republish", service, "--since", before)
        status, found = await drill.check()
        assert status == 0, found
    await drill.at_rest()
    print(traffic.reads, "reads,", f"{traffic.good:.5f} good,", len(traffic.written), "comments;", traffic.bad)
    assert (await drill.check())[0] == 0
    mails = len(drill.notifications())
    await drill.comment(drill.people[0], drill.busy[0], "With an empty log.")
    await eventually(lambda: len(drill.notifications()) > mails, timeout=60)
    assert wrong_mails(drill) == []
    assert traffic.good >= WANTED, traffic.bad


@comments_there
@pytest.mark.parametrize(
    ("reader", "owner", "lose"),
    [
        pytest.param("comments", "posts", "delete from discussions", marks=pytest.mark.chaos),
        ("notify", "comments", "delete from comments"),
    ],
)
async def test_a_read_model_is_lost(drill: Drill, reader: str, owner: str, lose: str) -> None:
    mails = len(drill.sink.messages)
    await drill.at_rest()
    async with drill.load() as traffic:
        await drill.sql(reader, "set local session_replication_role = replica", lose, "select 1")
        status, found = await drill.check("--wait", "0")
        assert status == 1
        assert any(one["kinds"].get("missing") for one in found if one["owner"] == owner)
        await drill.command("resync", owner)
    await drill.at_rest()
    assert (await drill.check())[0] == 0
    assert wrong_mails(drill) == []
    assert mails <= len(drill.sink.messages)
    print(traffic.reads, "reads,", f"{traffic.good:.5f} good;", traffic.bad)
    assert traffic.good >= WANTED, traffic.bad
