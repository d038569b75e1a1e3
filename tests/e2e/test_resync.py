"""`rapport check` and `rapport resync` against a running system whose rows went back in time, or were lost."""

import asyncio
import json
from typing import Any

import asyncpg

from tests.client import Client, Person
from tests.e2e.test_operator_command import Ended, rapport, started
from tests.smtp_sink import SmtpSink
from tests.stack import Stack
from tests.waiting import eventually

POSTS = 1_300


async def sql(stack: Stack, service: str, *statements: str) -> Any:
    """Run statements in the database of a service, as somebody who restores it by hand; return the last's value."""
    connection = await asyncpg.connect(stack.database_urls[service])
    try:
        async with connection.transaction():
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


async def check(stack: Stack, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    ended = await rapport(stack, "check", "--json", *arguments)
    assert ended.err == ""
    return ended.status, json.loads(ended.out)


async def comment(client: Client, post: dict[str, Any], who: Person, text: str) -> dict[str, Any]:
    answers: list[Any] = []

    async def accepted() -> bool:
        answers.append(await client.call("POST", f"/v1/posts/{post['id']}/comments", {"body": text}, who=who))
        return bool(answers[-1].status == 201)

    await eventually(accepted, timeout=20)
    return dict(answers[-1].json)


async def mails_end(stack: Stack) -> bool:
    return not await sql(stack, "notify", "select count(*) from notifications where state = 'waiting'")


async def test_posts_restored_from_before_are_named_and_made_whole(
    own_stack: Stack, own_client: Client, sink: SmtpSink, writer: Person
) -> None:
    stack, client = own_stack, own_client
    ben = await client.sign_in("Ben", "ben@example.com")
    kept = await client.publish(writer, "Kept")
    lost = await client.publish(writer, "Lost")
    said = await comment(client, kept, ben, "Before.")
    await comment(client, lost, ben, "Below what is lost.")
    assert (await client.call("POST", f"/v1/posts/{kept['id']}/withdraw", {}, who=writer)).status == 200
    await eventually(lambda: mails_end(stack), timeout=30)
    assert await check(stack) == (0, (await check(stack))[1])
    mails = len(sink.messages)

    # A backup from before the withdrawal is put back: one post is older, one is not there.
    version = await sql(stack, "posts", f"select version from posts where id = '{kept['id']}'")
    await sql(
        stack,
        "posts",
        f"update posts set status = 'published', version = {version - 1} where id = '{kept['id']}'",
        f"delete from revisions where post_id = '{lost['id']}'",
        f"delete from posts where id = '{lost['id']}'",
        "update epoch set number = 1 returning 1",
    )
    status, found = await check(stack, "--wait", "1")
    (of_posts, of_comments, of_people) = found
    assert (status, of_posts["owner"], of_posts["mend"]) == (1, "posts", "rapport resync posts")
    assert of_posts["kinds"]["not gone"] == 1
    assert set(of_posts["ids"]) >= {kept["id"], lost["id"]}
    assert (of_comments["differing"], of_comments["mend"], of_people["differing"]) == (0, None, 0)
    in_words = await rapport(stack, "check", "posts", "--wait", "0")
    assert "run `rapport resync posts`" in in_words.out
    unread = await client.call("GET", f"/v1/posts/{kept['id']}/comments")
    assert unread.status == 503  # for ever, without a resync

    assert (await rapport(stack, "resync", "posts", "--dry-run")).out.startswith("posts would state ")
    ended = await rapport(stack, "resync", "posts", "--json")
    assert (ended.status, json.loads(ended.out)["gone"]) == (0, 1)
    assert (await check(stack))[0] == 0
    read = await client.call("GET", f"/v1/posts/{kept['id']}/comments")
    assert [one["id"] for one in read.json["items"]] == [said["id"]]
    assert (await client.call("GET", f"/v1/posts/{lost['id']}/comments")).status == 404
    assert await sql(stack, "comments", f"select count(*) from comments where post_id = '{lost['id']}'") == 1

    # a tag of before the restore, whose version is used again, does not let a change pass
    post = await client.call("GET", f"/v1/posts/{kept['id']}", who=writer)
    tag = post.headers["ETag"]
    assert tag.startswith(f'"{version - 1}-e')
    stale = tag.partition("-")[0] + "-" + tag.rpartition("-")[2]
    for if_match, expected in ((stale, 412), (tag, 200)):
        edit, careful = {"title": f"Kept {expected}"}, {"If-Match": if_match}
        answer = await client.call("PATCH", f"/v1/posts/{kept['id']}", edit, who=writer, headers=careful)
        assert answer.status == expected
    await comment(client, kept, ben, "After.")
    await eventually(lambda: mails_end(stack), timeout=30)
    await eventually(lambda: len(sink.messages) == mails + 1, timeout=20)  # of the new comment alone


async def test_lost_read_models_are_rebuilt_while_people_write(
    own_stack: Stack, own_client: Client, sink: SmtpSink, writer: Person
) -> None:
    stack, client = own_stack, own_client
    post = await client.publish(writer, "Busy")
    await comment(client, post, writer, "A comment of the author, which makes no mail.")
    columns = (
        "id, kind, slug, title, body, format, body_html, renderer_version, excerpt, author_id, status, discussion, "
    )
    columns += "created_at, published_at, revision, version, imported"
    values = columns.replace("id, kind, slug", "gen_random_uuid(), kind, slug || '-' || number", 1)
    await sql(
        stack,
        "posts",
        f"insert into posts ({columns}) select {values} from posts, generate_series(1, {POSTS}) as number "
        f"where id = '{post['id']}'",
        "select 1",
    )
    assert (await rapport(stack, "resync", "posts")).status == 0
    await eventually(lambda: mails_end(stack), timeout=30)
    mails = len(sink.messages)
    lose = ("set local session_replication_role = replica",)
    await sql(stack, "comments", *lose, "delete from discussions where not gone", "select 1")
    await sql(stack, "notify", *lose, "delete from comments", "select 1")
    status, found = await check(stack, "--wait", "0")
    assert status == 1
    assert [set(one["kinds"]) for one in found] == [{"missing"}, {"missing"}, set()]

    process = await started(stack, "resync", "posts")  # what is gone keeps its row: its comments refer to it
    written = [await comment(client, post, writer, f"Meanwhile {number}.") for number in range(20)]
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert b"posts states " in out
    first = await started(stack, "resync", "comments")
    await asyncio.sleep(0.3)
    first.kill()  # and repeated
    await first.wait()
    again: Ended = await rapport(stack, "resync", "comments")
    assert again.status == 0
    assert (await check(stack))[0] == 0
    read = await client.call("GET", f"/v1/posts/{post['id']}/comments?limit=100")
    assert {one["id"] for one in written} <= {one["id"] for one in read.json["items"]}
    shown = await client.call("GET", f"/v1/posts/{post['id']}")
    assert shown.json["comment_count"] == 21
    await eventually(lambda: mails_end(stack), timeout=30)
    assert len(sink.messages) == mails  # the author wrote them; of what was stated there is no mail

    # what posts knows of people is a read model, too
    change = ("delete from people where not is_author", "update people set version = version - 1", "select 1")
    await sql(stack, "posts", *change)
    status, (of_people,) = await check(stack, "people", "--wait", "0")
    assert (status, of_people["reader"], of_people["mend"]) == (1, "posts", "rapport resync people")
    assert set(of_people["kinds"]) <= {"missing", "behind"}
    assert of_people["differing"] == of_people["rows"] > 0
    assert (await rapport(stack, "resync", "people")).status == 0
    assert (await check(stack, "people"))[0] == 0


async def test_wrong_use_is_refused_in_one_sentence(own_stack: Stack) -> None:
    for arguments, status in (
        (("resync", "notify"), 1),
        (("resync", "posts", "--after", "x"), 1),
        (("check", "notify"), 1),
        (("check", "--wait", "-1"), 2),
        (("resync",), 2),
    ):
        ended = await rapport(own_stack, *arguments)
        assert (ended.status, ended.out) == (status, ""), arguments
    for command in ("resync", "check", "republish"):
        assert "Example: rapport" in (await rapport(own_stack, command, "--help")).out
