"""An import with services in memory: requests, counts, and continuation after a stop."""

import asyncio
import itertools
import re
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from rich.console import Console

from services.chassis.errors import invalid
from services.operator.calls import Services
from services.operator.failures import Failed
from services.operator.wordpress.importing import Import
from services.operator.wordpress.progress import Progress
from services.operator.wordpress.report import Report
from tests.unit.operator_exports import author, comment, export, item, written

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class InMemoryServices:
    """Services in memory that store what they receive by the blog's ids.

    Attributes:
        refused: ids of things that are refused.
        dies_at: number of the call from which on all calls fail.
    """

    def __init__(self, *, refused: tuple[str, ...] = (), dies_at: int | None = None) -> None:
        self.kept: dict[tuple[str, ...], tuple[str, dict[str, Any]]] = {}
        self.completed: dict[str, str] = {}
        self.refused = refused
        self.dies_at = dies_at
        self.calls = itertools.count(1)

    async def post(self, service: str, path: str, body: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        if self.dies_at is not None and next(self.calls) >= self.dies_at:
            raise Failed(f"{service} was unavailable.")
        if path == "/import/texts":
            self.completed[body["post_id"]] = body["body"]
            return {"changed": True}
        source_id = (
            body["source_user_id"] or f"{body['email']} {body['name']}" if service == "people" else body["source_id"]
        )
        if source_id in self.refused:
            raise invalid("body", "is too costly to render")
        if service == "comments":
            parent = body["parent_source_id"]
            assert parent is None or self.kept["comments", body["site"], parent][1]["post_id"] == body["post_id"]
            assert any(post_id == body["post_id"] for post_id, _ in self.named("posts").values())
        key = (service, body["site"], source_id)
        created = key not in self.kept
        self.kept.setdefault(key, (str(uuid4()), body))
        answer = {"id": self.kept[key][0], "created": created}
        return answer | ({"slug": body["slug"], "status": body["status"]} if service == "posts" else {})

    def named(self, service: str) -> dict[str, tuple[str, dict[str, Any]]]:
        return {key[2]: value for key, value in self.kept.items() if key[0] == service}

    def sent(self, service: str, source_id: str) -> dict[str, Any]:
        return self.named(service)[source_id][1]


async def run(path: Path, services: InMemoryServices, blog: str = "") -> Report:
    with Progress(Console(file=StringIO())) as progress:
        return await Import(path, cast(Services, services), progress, NOW, blog).run()


async def imported(folder: Path, *parts: str, **options: Any) -> tuple[Report, InMemoryServices]:
    services = InMemoryServices(**options)
    return await run(written(folder, export(*parts)), services), services


class HalfDead(InMemoryServices):
    """Services of which one fails at a comment while the others are still at work."""

    async def post(self, service: str, path: str, body: dict[str, Any]) -> Any:
        if service == "comments" and body["source_id"] == "101":
            raise Failed("comments was unavailable.")
        if service == "comments" or body.get("name") == "Somebody 103":
            await asyncio.Event().wait()
        return await super().post(service, path, body)


async def test_a_failed_import_leaves_nothing_at_work(tmp_path: Path) -> None:
    items = (item(number, comment(number + 100)) for number in range(1, 4))
    path, before = written(tmp_path, export(author("ada", "Ada"), *items)), asyncio.all_tasks()
    with pytest.raises(Failed):
        await run(path, HalfDead())
    assert asyncio.all_tasks() == before


async def test_a_post_keeps_its_properties(tmp_path: Path) -> None:
    page = item(
        7,
        creator="Ada",
        title="A &amp; <i>B</i>",
        post_type="page",
        comment_status="closed",
        post_name="%ce%b5",
        excerpt="Short",
        content="",
    )
    report, services = await imported(tmp_path, author("ada", "Ada L.", "ada@example.org", 3), page)
    author_id = services.named("people")["user:3"][0]
    assert services.sent("posts", "7") == {
        "site": "blog.example",
        "source_id": "7",
        "author_id": author_id,
        "kind": "page",
        "title": "A & B",
        "body": "",
        "format": "html",
        "excerpt": "Short",
        "slug": "%ce%b5",
        "status": "published",
        "discussion": "closed",
        "created_at": "2012-01-02T03:04:05.000Z",
        "published_at": None,
        "tags": [],
        "addresses": ["/?p=7"],
    }
    assert services.sent("people", "user:3")["name"] == "Ada L."
    assert report.is_complete


async def test_comments_keep_place_state_and_date(tmp_path: Path) -> None:
    comments = (comment(12, 11), comment(11, 10), comment(10), comment(13, comment_approved="0"))
    report, services = await imported(tmp_path, item(1, *comments))
    post_id = services.named("posts")["1"][0]
    for source_id, parent in (("10", None), ("11", "10"), ("12", "11"), ("13", None)):
        sent = services.sent("comments", source_id)
        assert (sent["parent_source_id"], sent["post_id"]) == (parent, post_id)
        assert sent["created_at"] == "2012-03-04T05:06:07.000Z"
        assert (sent["format"], sent["body"]) == ("html", f"Comment <b>{source_id}</b>")
    assert services.sent("comments", "13")["state"] == "held"
    assert report.comments.of("visible") == 3


async def test_names_that_share_an_address_stay_separate_and_users_are_known_by_id(tmp_path: Path) -> None:
    shared = [
        comment(number, comment_author=f"Name {number % 9}", comment_author_email="one@example.org")
        for number in range(1, 19)
    ]
    users = [comment(30 + number, comment_user_id=3, comment_author="Ada") for number in range(3)]
    users += [comment(40 + number, comment_user_id=3, comment_author="Ada L.") for number in range(3)]
    report, services = await imported(tmp_path, author("ada", "Ada", "ada@example.org", 3), item(1, *shared, *users))
    assert report.people.total() == 11
    writers = {services.sent("comments", str(number))["author_id"] for number in range(30, 33)}
    assert writers == {services.sent("posts", "1")["author_id"]}
    assert {services.sent("comments", str(number))["author_id"] for number in range(40, 43)} == {
        services.named("people")["user:3 as Ada L."][0]
    }


async def test_links_between_posts_lead_to_their_new_places(tmp_path: Path) -> None:
    blog = "https://blog.example"
    links = f'<a href="{blog}/2012/01/two/">a</a> <a href="?p=2">b</a> {blog}/?p=3 <a href="../one/#x">c</a>'
    one = item(1, content=links, link=f"{blog}/2012/01/one/", post_name="one")
    said = comment(9, comment_content=f"See {blog}/2012/01/two and <a href='/?p=1'>this</a>")
    two = item(2, said, content="<img src='/x.jpg'> none", link=f"{blog}/2012/01/two/", post_name="%d7%a9")
    three = item(3, status="draft", link=f"{blog}/?p=3")
    report, services = await imported(tmp_path, one, two, three)
    first = services.sent("posts", "1")["body"]
    assert first == (
        f'<a href="{blog}/2012/01/two/">a</a> <a href="{blog}/2012/01/one/?p=2">b</a> {blog}/?p=3 '
        f'<a href="{blog}/2012/01/one/#x">c</a>'
    )
    post_id = services.named("posts")["1"][0]
    new = '<a href="/posts/%25d7%25a9">a</a> <a href="/posts/%25d7%25a9">b</a> '
    assert services.completed == {post_id: f'{new}{blog}/?p=3 <a href="/posts/one">c</a>'}
    assert services.sent("posts", "2")["body"] == f'<img src="{blog}/x.jpg"> none'
    assert services.sent("comments", "9")["body"] == (
        f"See <a href=\"/posts/%25d7%25a9\">{blog}/2012/01/two</a> and <a href='/posts/one'>this</a>".replace("'", '"')
    )
    assert services.sent("posts", "1")["addresses"] == ["/2012/01/one/", "/?p=1"]
    assert report.is_complete


async def test_links_to_comments_lead_to_them(tmp_path: Path) -> None:
    blog = "http://old.example"
    links = " ".join(
        f'<a href="{address}">x</a>'
        for address in (
            f"{blog}/2020/01/nasty-1/comment-page-2/#comment-10",
            *("?p=1#comment-10", "#comment-10", "/?p=1&cpage=2#div-comment-11", "?p=1#comment-12", "?p=1#comment-99"),
            *("?p=2#comment-10", "#comments", f"{blog}/2020/01/nasty-1/#respond"),
        )
    )
    later = comment(
        11, 10, comment_content=f"<a href='#comment-10'>@Joe</a> {blog}/?p=1#comment-10 <a href='#comment-11'>I</a>"
    )
    one = item(
        1,
        *(comment(10), later, comment(12, comment_approved="0")),
        content=links,
        link=f"{blog}/2020/01/nasty-1/",
        post_name="nasty-1",
    )
    path = written(tmp_path, export(one, item(2, content=f"{blog}/?p=1#comment-10"), blog=blog))
    services = InMemoryServices()
    await run(path, services)
    ten, eleven = (
        f"/posts/nasty-1?comment={found}#c-{found}"
        for found in (services.named("comments")[number][0] for number in ("10", "11"))
    )
    first, second = (services.completed[services.named("posts")[number][0]] for number in "12")
    assert re.findall('href="([^"]*)"', first) == [
        *(ten, ten, ten, eleven, "/posts/nasty-1", "/posts/nasty-1"),
        *("/posts/slug-2", "#comments", "/posts/nasty-1"),
    ]
    assert second == f'<a href="{ten}">{blog}/?p=1#comment-10</a>'
    assert services.sent("comments", "11")["body"] == (
        f'<a href="{ten}">@Joe</a> <a href="{ten}">{blog}/?p=1#comment-10</a> <a href=\'#comment-11\'>I</a>'
    )
    completed = dict(services.completed)
    await run(path, services)
    assert services.completed == completed


async def test_shortcodes_are_replaced_and_unknown_ones_counted(tmp_path: Path) -> None:
    picture = item(5, post_type="attachment", attachment_url="http://b.example/a.png", post_parent=1, excerpt="C")
    content = "[gallery] [sic] [box a=b]x[/box] [box]y[/box] [php]<?[/php] [gallery ids=77] [[box]]"
    report, services = await imported(tmp_path, item(1, comment(1), content=content, excerpt="[box z=1]e"), picture)
    body = services.sent("posts", "1")["body"]
    assert '<img src="http://b.example/a.png" alt=""><figcaption>C</figcaption>' in body
    assert body.endswith(" [sic] x y <pre><code>&lt;?</code></pre>  &#91;box]")
    assert services.sent("posts", "1")["excerpt"] == "e"
    out = StringIO()
    report.show(Console(file=out, width=100))
    assert "4 shortcodes left out, what stood between them kept: box 3, gallery 1" in out.getvalue()
    assert "The file holds 2 items and 1 comment; 2 and 1 are accounted for." in out.getvalue()


async def test_a_file_that_does_not_say_its_blog_may_show_it(tmp_path: Path) -> None:
    parts = (item(1, guid="http://blog.example/sub/?p=1"), item(2))
    content = export(*parts, blog="").replace("https://network.example/", "").replace("<link></link>", "")
    services = InMemoryServices()
    report = await run(written(tmp_path, content), services)
    assert (report.site, services.sent("posts", "2")["addresses"]) == ("blog.example/sub", ["/sub/?p=2"])
    report = await run(written(tmp_path, content), services, "https://named.example")
    assert report.site == "named.example"


async def test_every_item_and_comment_is_on_one_line_of_the_report(tmp_path: Path) -> None:
    report, services = await imported(
        tmp_path,
        item(1, comment(1), comment(2, comment_type="pingback"), comment(3, comment_approved="spam")),
        item(2, comment(4), status="draft"),
        item(3, comment(5, comment_approved="trash"), post_password="x"),
        item(4, comment(6), comment(7, comment_type="trackback"), post_type="attachment", status="inherit"),
        item(5, post_type="nav_menu_item"),
        item(1, comment(8), title="The same id again"),
        item(6, comment(1), comment(9, 77)),
    )
    assert report.is_complete
    assert (report.items.total(), report.comments.total()) == (7, 10)
    assert {line: report.items.of(line) for line in ("post, published", "skipped: attachment")} == {
        "post, published": 2,
        "skipped: attachment": 1,
    }
    assert report.items.of("skipped: without an id, or one that came before") == 1
    for line, count in (
        ("visible", 4),
        ("skipped: pingback", 1),
        ("skipped: spam", 1),
        ("skipped: trash", 1),
        ("skipped: trackback", 1),
        ("skipped: of an item that was skipped", 1),
        ("skipped: an id that came before", 1),
    ):
        assert report.comments.of(line) == count, line
    assert sum(report.remarks.values()) == 1
    assert services.sent("posts", "2")["status"] == services.sent("posts", "3")["status"] == "draft"


async def test_a_second_run_adds_nothing(tmp_path: Path) -> None:
    path, services = written(tmp_path, export(item(1, comment(1), comment(2, 1)), item(2))), InMemoryServices()
    await run(path, services)
    kept = dict(services.kept)
    again = await run(path, services)
    assert services.kept == kept
    assert (again.items.total("new"), again.comments.total("new"), again.people.total("new")) == (0, 0, 0)
    assert (again.items.total("there before"), again.comments.total("there before")) == (2, 2)


@pytest.mark.parametrize("dies_at", range(1, 19))
async def test_a_stopped_import_is_completed_by_the_next_run(tmp_path: Path, dies_at: int) -> None:
    path = written(tmp_path, export(*(item(n, comment(n), comment(10 + n, n), creator=f"a{n}") for n in range(1, 4))))
    whole, services = InMemoryServices(), InMemoryServices(dies_at=dies_at)
    await run(path, whole)
    with pytest.raises(Failed):
        await run(path, services)
    services.dies_at = None
    assert (await run(path, services)).is_complete
    assert set(services.kept) == set(whole.kept)


async def test_a_refusal_is_reported_and_the_import_continues(tmp_path: Path) -> None:
    refused = ("1", "12")
    parts = (item(1, comment(10)), item(2, comment(11), comment(12), comment(13, 12), comment(14)))
    report, services = await imported(tmp_path, *parts, refused=refused)
    assert set(services.named("comments")) == {"11", "14"}
    assert not report.is_complete
    assert report.refusals == ["post 1: body is too costly to render.", "comment 12: body is too costly to render."]
    assert (report.items.total(), report.comments.total()) == (2, 5)
    assert report.comments.of("skipped: a reply to a comment that was refused") == 1


async def test_a_refused_author_ends_the_import(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="refused the author"):
        await imported(tmp_path, item(1), refused=("login:ada",))


async def test_impossible_dates_are_replaced_and_counted(tmp_path: Path) -> None:
    nothing = "0000-00-00 00:00:00"
    old = comment(1, comment_date_gmt="1969-12-31 23:59:59")
    undated = comment(2, comment_date_gmt=nothing, comment_date=nothing)
    parts = (item(1, old, undated), item(2, post_date=nothing, post_date_gmt=nothing, status="draft"))
    report, services = await imported(tmp_path, *parts)
    assert services.sent("comments", "1")["created_at"] == "1970-01-01T00:00:00.000Z"
    assert services.sent("comments", "2")["created_at"] == services.sent("posts", "1")["created_at"]
    assert services.sent("posts", "2")["created_at"] == "2015-01-27T14:56:57.000Z"
    assert sum(report.remarks.values()) == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("<rss><channel><title>A feed</title><item><title>x</title></item></channel></rss>", "not a WordPress export"),
        (export(item(1), version="2.0"), "version 2.0"),
        (export(item(1), blog=""), "which blog"),
        (export(item(1), item(2))[:-40], "not a whole XML file"),
    ],
)
async def test_a_bad_file_changes_nothing(tmp_path: Path, content: str, sentence: str) -> None:
    services = InMemoryServices()
    if "which blog" in sentence:
        content = content.replace("https://network.example/", "")
    with pytest.raises(Failed, match=sentence):
        await run(written(tmp_path, content), services)
    assert services.kept == {}


async def test_the_report_is_printed_with_its_sums(tmp_path: Path) -> None:
    report, _ = await imported(tmp_path, item("[bold]1", comment(1, 5), comment(2)), refused=("[bold]1",))
    out = StringIO()
    report.show(Console(file=out, width=100))
    text = out.getvalue()
    assert "The file holds 1 item and 2 comments; 1 and 2 are accounted for." in text
    assert "refused: post [bold]1: body is too costly to render" in text


def test_surplus_refusals_are_counted() -> None:
    report = Report("blog.example", 0, 0, refusals=[f"post {number}: no" for number in range(25)])
    out = StringIO()
    report.show(Console(file=out, width=100))
    assert out.getvalue().count("refused: post") == 20
    assert "and 5 more were refused" in out.getvalue()
