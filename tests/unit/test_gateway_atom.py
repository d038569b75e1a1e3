"""Feeds are Atom documents whatever they hold, and structured data stays inside its element."""

import html
import json
import re
from xml.etree import ElementTree

import feedparser  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.pages.atom import ATOM, THREADING, Entry, Feed, written
from services.gateway.pages.structured_data import discussion_data

ENTRY = Entry(
    id="01936f6e-0000-7000-8000-000000000001",
    title="Beans & <peas>",
    url="https://site.example/posts/beans",
    author="Anna “the gardener”",
    published="2026-11-23T04:35:00.000Z",
    updated="2026-11-24T04:35:00.000Z",
    html='<p>Sow them <a href="/posts/when">then</a>.</p>',
    summary="Sow them then.",
    tags=("Garden", "C&A"),
    answers=("01936f6e-0000-7000-8000-000000000002", "https://site.example/posts/peas"),
    discussion=("https://site.example/posts/beans/feed.atom", 3),
)
FEED = Feed("A site", "https://site.example/feed.atom", "https://site.example/", [ENTRY], "Of beans")


def test_a_reader_of_feeds_understands_everything() -> None:
    found = feedparser.parse(written(FEED), sanitize_html=False)
    assert found.bozo == 0
    assert found.version == "atom10"
    assert (found.feed.title, found.feed.subtitle, found.feed.updated) == ("A site", "Of beans", ENTRY.updated)
    assert {link.rel: link.href for link in found.feed.links} == {"self": FEED.url, "alternate": FEED.page}
    [entry] = found.entries
    assert entry.id == f"urn:uuid:{ENTRY.id}"
    assert (entry.title_detail.type, html.unescape(entry.title)) == ("text/plain", ENTRY.title)
    assert (entry.author, entry.published, entry.updated) == (ENTRY.author, ENTRY.published, ENTRY.updated)
    assert entry.summary == ENTRY.summary
    assert [tag.term for tag in entry.tags] == ["Garden", "C&A"]
    assert entry.content[0].type == "text/html"
    assert 'href="https://site.example/posts/when"' in entry.content[0].value  # resolved against the post's page
    assert entry["thr_in-reply-to"]["ref"] == "urn:uuid:01936f6e-0000-7000-8000-000000000002"
    assert [(link.href, link["thr:count"]) for link in entry.links if link.rel == "replies"] == [
        ("https://site.example/posts/beans/feed.atom", "3")
    ]


def test_the_feed_has_what_its_specification_requires() -> None:
    """RFC 4287, sections 4.1.1 and 4.1.2."""
    for feed in (FEED, Feed("Nothing yet", "https://site.example/x.atom", "https://site.example/", [])):
        root = ElementTree.fromstring(written(feed))  # our own
        assert root.tag == f"{{{ATOM}}}feed"
        for name in ("id", "title", "updated"):
            assert len(root.findall(f"{{{ATOM}}}{name}")) == 1
        for entry in root.iter(f"{{{ATOM}}}entry"):
            for name in ("id", "title", "updated", "author"):
                assert len(entry.findall(f"{{{ATOM}}}{name}")) == 1
            assert entry.find(f"{{{THREADING}}}in-reply-to") is not None


def test_two_feeds_have_ids_of_their_own() -> None:
    ids = {feedparser.parse(written(Feed("x", url, "https://site.example/", []))).feed.id for url in ("a:1", "a:2")}
    assert len(ids) == 2
    assert all(re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", one) for one in ids)


@given(text=st.text(max_size=200))
def test_any_text_gives_a_document_that_holds_it(text: str) -> None:
    entry = Entry("1", text, "https://site.example/x", text, "2026", "2026", text, text, (text,))
    root = ElementTree.fromstring(written(Feed(text, "a:b", "a:b", [entry], text)))  # our own
    kept = "".join(
        char if char in "\t\n\r" or "\x20" <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char >= "\U00010000"
        else "\ufffd"
        for char in text
    )  # fmt: skip
    content = root.find(f"{{{ATOM}}}entry/{{{ATOM}}}content")
    assert content is not None
    assert (content.text or "") == kept.replace("\r\n", "\n").replace("\r", "\n")


def test_structured_data_cannot_end_its_element() -> None:
    post = {
        "id": ENTRY.id,
        "url": ENTRY.url,
        "title": "</script><script>alert(1)</script><!--",
        "excerpt": "a < b & c",
        "author": {"name": None},
        "published_at": ENTRY.published,
        "edited_at": None,
    }
    text = discussion_data(post, 3)
    assert "<" not in text
    data = json.loads(text)
    assert (data["@type"], data["headline"], data["text"]) == ("DiscussionForumPosting", post["title"], "a < b & c")
    assert data["interactionStatistic"]["userInteractionCount"] == 3
    assert data["dateModified"] == ENTRY.published
    assert "interactionStatistic" not in json.loads(discussion_data(post, None))
