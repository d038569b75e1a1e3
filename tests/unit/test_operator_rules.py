"""Mapping of WordPress items and comments."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.posts import CreatePost
from services.operator.wordpress import rules
from services.operator.wordpress.reader import Record
from services.operator.wordpress.rules import Decision, Writer

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PUBLISHED = Decision("post, published", "published")


def item(**fields: str) -> Record:
    given = {"post_id": "1", "post_type": "post", "status": "publish", "post_date_gmt": "2012-01-02 03:04:05"} | fields
    return Record("item", {f"wp:{name}": value for name, value in given.items()})


def comment(**fields: str) -> Record:
    return Record("comment", {f"wp:comment_{name}": value for name, value in fields.items()})


@pytest.mark.parametrize(
    ("fields", "label", "status"),
    [
        ({}, "post, published", "published"),
        ({"post_type": "page"}, "page, published", "published"),
        ({"status": "draft"}, "post, as a draft: draft", "draft"),
        ({"status": "pending"}, "post, as a draft: pending", "draft"),
        ({"status": "future"}, "post, as a draft: scheduled", "draft"),
        ({"status": "private", "post_type": "page"}, "page, as a draft: private", "draft"),
        ({"status": "archived"}, "post, as a draft: archived", "draft"),
        ({"status": ""}, "post, as a draft: without a status", "draft"),
        ({"post_password": "enter"}, "post, as a draft: password-protected", "draft"),
        ({"post_password": " "}, "post, as a draft: password-protected", "draft"),
        ({"post_password": "\n\t\t"}, "post, published", "published"),
        ({"post_date_gmt": "2030-01-01 00:00:00"}, "post, as a draft: scheduled", "draft"),
        ({"status": "trash"}, "skipped: post in the trash", None),
        ({"status": "auto-draft"}, "skipped: post never saved", None),
        ({"post_type": "attachment", "status": "inherit"}, "skipped: attachment", None),
        ({"post_type": "nav_menu_item"}, "skipped: nav_menu_item", None),
        ({"post_type": ""}, "skipped: without a type", None),
        ({"post_type": "[red]\x1b x"}, "skipped: red x", None),
    ],
)
def test_only_public_items_are_published(fields: dict[str, str], label: str, status: str | None) -> None:
    assert rules.decide_item(item(**fields), NOW) == Decision(label, status)  # type: ignore[arg-type]  # a table


def test_categories_and_tags_become_tags() -> None:
    categories = ["R&amp;D", "a/b, c", "x" * 60, "", "..", "r&amp;d", "\u200b", "two\nlines", "nul\0"]
    found = rules.tags_of(Record("item", categories=categories))
    assert found == ["R&D", "a b c", "x" * 50, "two lines", "nul"]
    assert CreatePost(title="x", body="y", tags=found).tags == found
    assert len(rules.tags_of(Record("item", categories=[str(number) for number in range(20)]))) == 10


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"approved": "1"}, "visible"),
        ({"approved": "1", "type": "comment"}, "visible"),
        ({"approved": "0"}, "held"),
        ({"approved": "odd"}, "held"),
        ({}, "held"),
        ({"approved": "spam"}, "skipped: spam"),
        ({"approved": "trash"}, "skipped: trash"),
        ({"approved": "post-trashed"}, "skipped: trash"),
        ({"approved": "1", "type": "pingback"}, "skipped: pingback"),
        ({"approved": "spam", "type": "trackback"}, "skipped: trackback"),
        ({"approved": "1", "type": "order_note"}, "skipped: order_note, which is not a comment"),
    ],
)
def test_only_approved_comments_are_visible(fields: dict[str, str], label: str) -> None:
    decision = rules.decide_comment(comment(**fields), PUBLISHED)
    assert (decision.label, decision.status) == (label, label if not label.startswith("skipped") else None)


def test_comments_of_a_skipped_item_are_skipped() -> None:
    assert rules.decide_comment(comment(approved="1"), Decision("x", "draft")).status == "visible"
    assert rules.decide_comment(comment(approved="1"), Decision("x")).label == "skipped: of an item that was skipped"


@pytest.mark.parametrize(
    ("status", "discussion"), [("open", "open"), ("registered_only", "open"), ("closed", "closed"), ("", "closed")]
)
def test_a_discussion_is_open_only_if_it_was_open(status: str, discussion: str) -> None:
    assert rules.discussion_of(item(comment_status=status)) == discussion


@pytest.mark.parametrize(
    ("gmt", "local", "feed", "moment"),
    [
        ("2012-01-02 03:04:05", "2012-01-02 04:04:05", "", "2012-01-02T03:04:05+00:00"),
        ("0000-00-00 00:00:00", "2012-01-02 04:04:05", "", "2012-01-02T04:04:05+00:00"),
        ("", "2012-01-02T04:04:05", "", "2012-01-02T04:04:05+00:00"),
        ("0000-00-00 00:00:00", "0000-00-00 00:00:00", "Mon, 02 Jan 2012 04:04:05 +0100", "2012-01-02T03:04:05+00:00"),
        ("2012-02-31 00:00:00", "", "Mon, 30 Nov -0001 00:00:00 +0000", None),
        ("", "", "", None),
        ("x", "99999999", "nonsense", None),
    ],
)
def test_the_most_precise_date_is_used(gmt: str, local: str, feed: str, moment: str | None) -> None:
    record = item(post_date_gmt=gmt, post_date=local)
    record.fields["pubDate"] = feed
    found = rules.moment_of(record, "wp:post_date")
    assert (found.isoformat() if found else None) == moment


def test_titles_and_names_are_plain_text() -> None:
    assert rules.plain_text("Tom &amp; <em>Jerry</em> &#8211; 1 < 2 <script>x</script>") == "Tom & Jerry – 1 < 2 "


@pytest.mark.parametrize(
    ("fields", "site"),
    [
        ({"wp:base_blog_url": "http://Blog.Example/sub/", "link": "https://x.example"}, "blog.example/sub"),
        ({"wp:base_blog_url": "", "link": "https://x.example"}, "x.example"),
        ({"wp:base_site_url": "http://127.0.0.1:8080/wp"}, "127.0.0.1:8080/wp"),
        ({"link": "https://blog.example/?page=1"}, "blog.example"),
        ({"link": "nowhere"}, ""),
        ({}, ""),
    ],
)
def test_a_blog_is_identified_by_its_own_address(fields: dict[str, str], site: str) -> None:
    assert rules.site_of(rules.address_of(Record("channel", fields))) == site


@pytest.mark.parametrize(
    ("link", "guid", "site"),
    [
        ("http://blog.example/sub/2009/x/", "http://blog.example/sub/?p=5", "blog.example/sub"),
        ("http://Blog.Example/2009/x/", "", "blog.example"),
        ("http://blog.example/sub/?p=5", "urn:x", "blog.example/sub"),
        ("http://blog.example/index.php?page_id=5", "", "blog.example"),
        ("", "http://blog.example/?attachment_id=7", "blog.example"),
        ("", "http://blog.example/x.jpg", "blog.example"),
        ("x", "5", ""),
    ],
)
def test_an_item_shows_the_address_of_its_blog(link: str, guid: str, site: str) -> None:
    assert rules.site_of(rules.address_of(Record("item", {"link": link, "guid": guid}))) == site


def named(login: str, name: str, author_id: str = "") -> Record:
    fields = {"wp:author_login": login, "wp:author_display_name": name, "wp:author_id": author_id}
    return Record("author", fields | {"wp:author_email": "a@example.org"})


def test_the_writer_of_an_item() -> None:
    authors = rules.authors_by_login([named("Ada", "Ada L."), named("bob", "", "7")])
    by = {
        login: rules.writer_of_item(Record("item", {"dc:creator": login}), authors) for login in ("ada", "bob", "Eve>")
    }
    assert by["ada"] == Writer("login:ada", "Ada L.", "a@example.org")
    assert by["bob"] == Writer("user:7", "bob", "a@example.org")
    assert by["Eve>"] == Writer("login:eve", "Eve", "")
    assert rules.writer_of_item(Record("item"), authors) == Writer(None, "", "")


def test_a_commenter_is_a_user_or_an_address_with_a_name() -> None:
    guest = comment(user_id="0", author="O&#039;Brien &amp; Co", author_email="x@example.org")
    assert rules.writer_of_comment(guest, {}) == Writer(None, "O'Brien & Co", "x@example.org")


@pytest.mark.parametrize(
    ("author", "user_id", "name"),
    [
        ("jane", "user:7", "jane"),
        ("", "user:7", "jane"),
        ("Jane R. Doe", "user:7 as Jane R. Doe", "Jane R. Doe"),
        ("Tom &amp; J", "user:7 as Tom & J", "Tom & J"),
        ("A\ufdd0\u202eb", "user:7 as Ab", "A\ufdd0\u202eb"),
        ("x" * 400, f"user:7 as {'x' * 300}", "x" * 400),
    ],
)
def test_a_comment_keeps_its_own_name(author: str, user_id: str, name: str) -> None:
    accounts = rules.names_by_id([named("jane_login", "jane", "7"), named("bob", "", "8")])
    assert accounts == {"7": "jane", "8": "bob"}
    assert rules.writer_of_comment(comment(user_id="7", author=author), accounts) == Writer(user_id, name, "")
    assert rules.writer_of_comment(comment(user_id="9", author="Al"), accounts).user_id == "user:9 as Al"


def tree(*pairs: tuple[str, str]) -> list[tuple[str, Record]]:
    return [(source_id, comment(id=source_id, parent=parent)) for source_id, parent in pairs]


def test_parents_come_first_in_any_file_order() -> None:
    placed = rules.in_order(tree(("3", "2"), ("2", "1"), ("4", "1"), ("1", "0")))
    assert [(one.source_id, one.parent_id, one.moved) for one in placed] == [
        ("1", None, None),
        ("2", "1", None),
        ("3", "2", None),
        ("4", "1", None),
    ]


def test_a_reply_to_a_missing_comment_moves_to_the_top() -> None:
    orphan, child = rules.in_order(tree(("5", "99"), ("6", "5")))
    assert (orphan.parent_id, child.parent_id, child.moved) == (None, "5", None)
    assert "not in the file" in (orphan.moved or "")


def test_a_cycle_is_broken_at_one_comment() -> None:
    placed = rules.in_order(tree(("1", "2"), ("2", "3"), ("3", "1"), ("4", "4")))
    assert sorted(one.source_id for one in placed) == ["1", "2", "3", "4"]
    assert [one.source_id for one in placed if one.parent_id is None] == ["3", "4"]


def test_deeper_replies_are_placed_at_depth_100() -> None:
    chain = [(str(number), str(number - 1)) for number in range(1, 2001)]
    depth: dict[str | None, int] = {None: -1}
    moved = 0
    for one in rules.in_order(tree(*reversed(chain))):
        depth[one.source_id] = depth[one.parent_id] + 1
        moved += one.moved is not None
    assert max(depth.values()) == 100
    assert moved == 2000 - 101


@given(st.lists(st.tuples(st.integers(1, 15), st.integers(0, 20)), unique_by=lambda pair: pair[0]))
def test_every_comment_is_placed_once_after_its_parent(pairs: list[tuple[int, int]]) -> None:
    placed = rules.in_order(tree(*((str(own), str(parent)) for own, parent in pairs)))
    before: set[str | None] = {None}
    for one in placed:
        assert one.parent_id in before
        assert one.source_id not in before
        before.add(one.source_id)
    assert len(before) == len(pairs) + 1
    parents = {str(own): str(parent) for own, parent in pairs}
    for one in placed:
        assert one.moved or one.parent_id == (None if parents[one.source_id] == "0" else parents[one.source_id])
