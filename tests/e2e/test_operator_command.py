"""The `rapport` command against a running system."""

import asyncio
import gzip
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from services.contracts.posts import PostPublished
from services.contracts.topics import POSTS
from tests.client import Client, Person
from tests.forks import loaded
from tests.smtp_sink import SmtpSink
from tests.stack import ROOT, Stack
from tests.unit.operator_exports import author, comment, export, item, written
from tests.waiting import eventually


@dataclass(frozen=True)
class Ended:
    """The result of a command."""

    status: int
    out: str
    err: str


async def started(stack: Stack, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.operator", *arguments),
        cwd=ROOT,
        env=stack.environment() | {"COLUMNS": "120"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def rapport(stack: Stack, *arguments: str, **environment: str) -> Ended:
    return await asyncio.to_thread(_run, arguments, stack.environment() | {"COLUMNS": "120"} | environment)


def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> Ended:
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        status = loaded().start("operator", *arguments, environment=environment, log=out, errors=err).wait(120)
        return Ended(status, out.read_text(), err.read_text())


def sums(out: str, title: str) -> list[str]:
    """Return the sums of one table of a report: new, there before, refused, left out, all."""
    lines = out[out.index(f" {title} ") :].splitlines()
    return next(line for line in lines if line.strip().startswith("total")).split()[1:]


def mails_about_comments(sink: SmtpSink) -> int:
    """Return how many mails tell somebody of a comment; moderators may be told of what other tests let wait."""
    return sum("moderation." not in (mail.message["List-Id"] or "moderation.") for mail in sink.messages)


async def thread(client: Client, post_id: str, who: Person | None = None) -> list[dict[str, Any]]:
    """Return every comment that the caller can reach, parents first."""
    answer = await client.call("GET", f"/v1/posts/{post_id}/comments?limit=200", who=who)
    found: list[dict[str, Any]] = []
    left = list(answer.json["items"])
    while left:
        entry = left.pop()
        found.append(entry)
        replies = entry["replies"]
        left += replies["items"]
        while replies["next"]:
            path = f"/v1/comments/{entry['id']}/replies?limit=200&cursor={replies['next']}"
            replies = (await client.call("GET", path, who=who)).json
            left += replies["items"]
    return found


async def test_an_import_is_readable_and_sends_no_mail(
    stack: Stack, client: Client, admin: Person, session_sink: SmtpSink, tmp_path: Path, unique: str
) -> None:
    deep = [
        comment(100 + depth, 100 + depth - 1 if depth else 0, comment_author=f"Depth {depth}") for depth in range(10)
    ]
    held = comment(200, 103, comment_approved="0", comment_content="Wait")
    hostile = comment(201, comment_content="<script>alert(1)</script><b onclick=x>Bold</b>")
    parts = (
        author("ada", "Ada L.", "admin@example.com"),
        item(1, *reversed(deep), held, hostile, post_name=f"deep-{unique}", comment_status="closed"),
        item(2, comment(300), post_name=f"secret-{unique}", post_password="enter"),
        item(3, post_name=f"about-{unique}", post_type="page"),
        item(4, comment(400, comment_type="pingback"), post_type="attachment"),
    )
    path = written(tmp_path, export(*parts, blog=f"https://{unique}.example"))
    before = mails_about_comments(session_sink)
    first = await rapport(stack, "import", "wordpress", str(path))
    assert (first.status, first.err) == (0, "")
    assert sums(first.out, "items") == ["3", "-", "-", "1", "4"]
    assert sums(first.out, "comments") == ["13", "-", "-", "1", "14"]

    post = (await client.call("GET", f"/v1/posts/deep-{unique}")).json
    assert (post["author"]["name"], post["discussion"], post["format"]) == ("Ada L.", "closed", "html")
    seen = await thread(client, post["id"])
    by_name = {entry["author"]["name"]: entry for entry in seen}
    assert [by_name[f"Depth {depth}"]["depth"] for depth in range(10)] == list(range(10))
    assert by_name["Depth 9"]["parent_id"] == by_name["Depth 8"]["id"]
    assert "<b>Bold</b>" in by_name["Somebody 201"]["body_html"]
    assert "script" not in str(seen)
    assert "Somebody 200" not in by_name
    assert (await client.call("GET", f"/v1/posts/secret-{unique}")).status == 404
    assert (await client.call("GET", f"/v1/posts/secret-{unique}", who=admin)).json["status"] == "draft"
    assert (await client.call("GET", f"/v1/posts/about-{unique}")).json["kind"] == "page"
    listed = (await client.call("GET", "/v1/posts?limit=200")).json["items"]
    assert f"about-{unique}" not in [entry["slug"] for entry in listed]

    waiting = next(entry for entry in await thread(client, post["id"], admin) if entry["state"] == "held")
    assert waiting["author"]["name"] == "Somebody 200"
    assert (await client.call("POST", f"/v1/comments/{waiting['id']}/approve", who=admin)).status == 200
    again = await rapport(stack, "import", "wordpress", str(path))
    assert sums(again.out, "items") == ["-", "3", "-", "1", "4"]
    assert sums(again.out, "comments") == ["-", "13", "-", "1", "14"]
    assert mails_about_comments(session_sink) == before


async def test_old_addresses_and_links_lead_to_imported_posts(
    stack: Stack, client: Client, tmp_path: Path, unique: str
) -> None:
    blog = f"https://{unique}.example"
    old = f"/{unique}/2009/02/07/3"
    text = f'<a href="{old}/">three</a> [caption]<img src="x.jpg"> A dog[/caption] [unknown a="b"] {blog}/?p=2'
    same_second = [comment(number, comment_content=f"c{number}") for number in (20, 9, 100)]
    parts = (
        item(1, post_name=f"one-{unique}", link=f"{blog}/{unique}/1/", content=text),
        item(2, *same_second, post_name=f"three-{unique}", link=f"{blog}{old}/", content='<pre lang="c"><a.h></pre>'),
    )
    path = written(tmp_path, export(*parts, blog=blog))
    path.write_bytes(gzip.compress(path.read_bytes()))
    ended = await rapport(stack, "import", "wordpress", str(path))
    assert (ended.status, ended.err) == (0, "")
    assert "1 shortcode left out, what stood between them kept: unknown 1" in ended.out
    assert "The file holds 2 items and 3 comments; 2 and 3 are accounted for." in ended.out
    first = (await client.call("GET", f"/v1/posts/one-{unique}")).json
    assert first["body_html"].count(f'href="/posts/three-{unique}"') == 2
    assert "<figcaption>A dog</figcaption>" in first["body_html"]
    assert first["edited_at"] is None
    third = (await client.call("GET", f"/v1/posts/three-{unique}")).json
    assert third["body_html"] == '<pre tabindex="0"><code>&lt;a.h&gt;</code></pre>'
    listed = (await client.call("GET", f"/v1/posts/{third['id']}/comments")).json["items"]
    assert [entry["body_html"] for entry in listed] == ["<p>c9</p>\n", "<p>c20</p>\n", "<p>c100</p>\n"]
    for address in (old, f"{old}/", f"{old.upper()}/?replytocom=1", f"{old}/comment-page-2/"):
        moved = await client.call("GET", address)
        assert (moved.status, moved.headers["Location"]) == (301, f"/posts/three-{unique}"), address
    assert (await client.call("GET", f"/{unique}/2009/02/")).status == 404


async def test_an_import_killed_halfway_is_completed_by_the_next_run(
    stack: Stack, client: Client, tmp_path: Path, unique: str
) -> None:
    parts = [item(n, comment(n), comment(100 + n, n), post_name=f"p{n}-{unique}") for n in range(1, 31)]
    path = written(tmp_path, export(*parts, blog=f"https://{unique}.example"))
    process = await started(stack, "import", "wordpress", str(path))

    async def under_way() -> bool:
        return (await client.call("GET", f"/v1/posts/p3-{unique}")).status == 200

    await eventually(under_way, timeout=60)
    process.kill()
    await process.communicate()
    ended = await rapport(stack, "import", "wordpress", str(path))
    assert ended.status == 0, ended.err
    made, kept, *_, items = sums(ended.out, "items")
    assert int(kept) >= 3
    assert int(kept) + int(made.replace("-", "0")) == int(items) == 30
    for number in (1, 15, 30):
        post = (await client.call("GET", f"/v1/posts/p{number}-{unique}")).json
        assert len(await thread(client, post["id"])) == 2
        assert (await client.call("GET", f"/v1/posts/p{number}-{unique}-2")).status == 404


async def test_a_role_is_granted_to_a_confirmed_address_only(stack: Stack, client: Client, ben: Person) -> None:
    given = await rapport(stack, "person", "grant", ben.email, "author")
    assert (given.status, given.err) == (0, "")
    assert "author" in given.out
    again = await client.sign_in("Ben", ben.email)
    assert (await client.publish(again, "By Ben"))["author"]["id"] == ben.id
    refused = await rapport(stack, "person", "grant", "nobody@example.com", "author")
    assert (refused.status, refused.out, refused.err) == (1, "", "rapport: No person has confirmed this address.\n")


async def test_a_revoked_role_is_refused_at_the_gateway(stack: Stack, client: Client, ben: Person) -> None:
    await rapport(stack, "person", "grant", ben.email, "author")
    writer = await client.sign_in("Ben", ben.email)
    draft = {"title": "A draft", "body": "Text."}
    assert (await client.call("POST", "/v1/posts", draft, who=writer)).status == 201
    taken = await rapport(stack, "person", "revoke", ben.email, "author")
    assert (taken.status, taken.out, taken.err) == (0, f"{ben.email} is now reader.\n", "")

    async def refused() -> bool:
        return (await client.call("POST", "/v1/posts", draft, who=writer)).status == 403

    await eventually(refused, timeout=30)  # a gateway hears of changed roles every 15 seconds


async def test_people_are_listed_and_shown_to_operators_alone(stack: Stack, client: Client, ben: Person) -> None:
    email = (await client.call("GET", "/v1/me", who=ben)).json["email"]
    listed = await rapport(stack, "person", "list", "--part", email.upper(), COLUMNS="80")
    assert (listed.status, listed.err) == (0, "")
    assert f"    address    {email}\n" in listed.out
    assert listed.out.endswith("1 person.\n")
    [line] = (await rapport(stack, "person", "list", "--part", email, "--json")).out.splitlines()
    assert json.loads(line)["id"] == ben.id
    shown = await rapport(stack, "person", "show", ben.id, COLUMNS="80")
    assert shown.status == 0, shown
    assert "    mail       about answers\n" in shown.out
    assert re.search(r"    comments   [\d,]+ visible, \d+ held, \d+ removed\n", shown.out)
    assert re.search(r"    session    [0-9a-f-]{36}\n               app, last used ", shown.out)
    unknown = await rapport(stack, "person", "show", "nobody@example.com")
    assert (unknown.status, unknown.out) == (1, "")
    assert unknown.err == "rapport: There is no person with this id or confirmed address.\n"
    for method, path in (
        ("POST", "/v1/people/list"),
        ("POST", "/v1/people/show"),
        ("GET", f"/v1/people/{ben.id}/counts"),
    ):
        assert (await client.call(method, path, who=ben)).status in (404, 405)


async def test_events_are_republished(stack: Stack, client: Client, admin: Person) -> None:
    await client.publish(admin, "Told twice")
    ended = await rapport(stack, "republish", "posts", "--since", "1h")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("posts sends ")


async def test_a_dead_letter_is_listed_and_sent_again(stack: Stack, unique: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=stack.environment()["KAFKA_BOOTSTRAP_SERVERS"])
    await producer.start()
    headers = [("ce_type", PostPublished.type.encode()), ("ce_specversion", f"[red]{unique}".encode())]
    await producer.send_and_wait(f"{stack.name}.{POSTS.name}", b"{}", headers=headers)
    await producer.stop()

    async def letter(times: int) -> bool:
        listed = await rapport(stack, "dead-letter", "list", "comments", "--json")
        found = [one for one in json.loads(listed.out)["letters"] if unique in one["error"]]
        return [len(one["positions"]) for one in found] == [times]

    async def once() -> bool:
        return await letter(1)

    async def twice() -> bool:
        return await letter(2)

    await eventually(once, timeout=60)
    sent = await rapport(stack, "dead-letter", "redrive", "comments")
    assert sent.status == 0, sent.err
    assert "sent again" in sent.out
    await eventually(twice, timeout=60)
