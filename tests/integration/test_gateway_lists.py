"""Pages of tags and people over fake services: what they list, what they are found by, and when they change."""

import re
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import feedparser  # type: ignore[import-untyped]
import pytest

from services.chassis.errors import invalid, not_found
from tests.integration.gateway_harness import ANNA, ID, POST, GatewayHarness, NewHarness, author
from tests.unit.gateway_fakes import Call, raw_post

SPELLED = "Kräuter & Co"
TAG, ENCODED = "/tags/Kr%C3%A4uter%20%26%20Co", "/tags/KR%C3%84UTER%20%26%20co"
PERSON = f"/people/{ANNA}"
AWAY = "01936f6e-0000-7000-8000-0000000000f0"
TAGGED = raw_post(tags=["Weather", SPELLED], excerpt="What it says.")


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    made = await new_harness()
    posts, people = made.services.posts, made.services.people

    def listed(call: Call) -> dict[str, Any]:
        if call.params.get("kind") == "page" or call.params.get("tag") == "nothing":
            return {"items": [], "next": None}
        return {"items": [TAGGED], "next": "further"}

    posts.on("GET", "/posts", listed)
    posts.on("GET", "/tags", {"items": [{"tag": SPELLED, "post_count": 2}, {"tag": "bees", "post_count": 1}],
                              "next": "more"})  # fmt: skip
    posts.on("POST", "/posts/texts/lookup", {"items": [{"id": ID, "body_html": "<p>Whole.</p>"}]})
    profile = author(ANNA) | {"about": "Of <beans>.", "created_at": "2026-11-23T04:35:00.000Z", "erased": False}
    people.on("GET", PERSON, profile)
    made.services.comments.on("POST", "/counts/people", {"counts": {ANNA: 3}})
    return made


async def test_tags_lead_to_their_posts_whatever_their_case(harness: GatewayHarness) -> None:
    index = (await harness.get("/tags")).text
    assert index.index(">bees<") < index.index(SPELLED.replace("&", "&amp;"))
    assert f'<a href="{TAG}" rel="tag">' in index
    assert "2 posts" in index
    assert 'href="/tags?cursor=more"' in index
    page = (await harness.get(ENCODED)).text
    assert harness.services.posts.calls[-1].params["tag"] == "KRÄUTER & co"
    assert "<h1><bdi>Kräuter &amp; Co</bdi></h1>" in page
    assert f'<link rel="canonical" href="http://rapport.test{TAG}">' in page
    assert f'href="{TAG}/feed.atom"' in page
    assert '<meta property="og:title" content="Kräuter &amp; Co">' in page
    assert f'href="{TAG}?cursor=further"' in page


async def test_a_tag_of_no_post_and_what_is_no_tag_have_no_page(harness: GatewayHarness) -> None:
    for path in ("/tags/nothing", "/tags/nothing/feed.atom"):
        assert (await harness.get(path)).status_code == 404
    harness.services.posts.on("GET", "/posts", invalid("tag", "must have 1 to 50 characters"))
    for path in ("/tags/" + "x" * 51, f"/tags/{'x' * 51}/feed.atom"):
        answer = await harness.get(path)
        assert answer.status_code == 404
        assert '<a class="button" href="/">' in answer.text
    harness.services.posts.on("GET", "/tags", {"items": [], "next": None})
    harness.gateway.cache.clear()
    assert "No post has a tag yet." in (await harness.get("/tags")).text


async def test_a_person_has_a_page(harness: GatewayHarness) -> None:
    page = (await harness.get(PERSON)).text
    assert "<h1><bdi>Name a</bdi></h1>" in page
    assert "Of &lt;beans&gt;." in page
    assert "Here since November 2026" in page
    assert "3 comments" in page
    assert f'href="{PERSON}/feed.atom"' in page
    assert '<meta property="og:type" content="profile">' in page
    assert f'href="{PERSON}?cursor=further"' in page
    assert "Change what stands here" not in page
    assert "Change what stands here" in (await harness.get(PERSON, **harness.anna)).text
    asked = [call.params["author"] for call in harness.services.posts.calls if "author" in call.params]
    assert set(asked) == {ANNA}
    away = str(uuid4())
    harness.services.people.on("GET", f"/people/{away}", not_found())
    for path in (f"/people/{away}", f"/people/{away}/feed.atom", "/people/anna", "/people/anna/feed.atom"):
        assert (await harness.get(path)).status_code == 404


@pytest.mark.parametrize("path", ["/tags", TAG, PERSON, f"{TAG}/feed.atom", f"{PERSON}/feed.atom"])
async def test_lists_are_kept_until_what_they_show_changes(harness: GatewayHarness, path: str) -> None:
    first = await harness.get(path)
    asked = len(harness.services.posts.calls)
    assert (await harness.get(path)).content == first.content
    assert len(harness.services.posts.calls) == asked
    harness.gateway.invalidation.post(ID)
    await harness.get(path)
    assert len(harness.services.posts.calls) > asked


async def test_a_person_s_page_changes_with_the_person(harness: GatewayHarness) -> None:
    assert "Of &lt;beans&gt;." in (await harness.get(PERSON)).text
    harness.services.people.on("GET", PERSON, author(ANNA) | {"about": "Of peas.", "created_at": POST["created_at"]})
    assert "Of &lt;beans&gt;." in (await harness.get(PERSON)).text
    harness.gateway.invalidation.person(ANNA)
    assert "Of peas." in (await harness.get(PERSON)).text
    harness.services.comments.on("POST", "/counts/people", {"counts": {ANNA: 4}})
    harness.gateway.invalidation.comment(ID, ANNA)
    assert "4 comments" in (await harness.get(PERSON)).text


@pytest.mark.parametrize(("path", "title"), [(ENCODED, SPELLED), (PERSON, "Name a")])
async def test_lists_have_feeds(harness: GatewayHarness, path: str, title: str) -> None:
    answer = await harness.get(f"{path}/feed.atom")
    assert answer.headers["content-type"] == "application/atom+xml"
    feed = feedparser.parse(answer.content)
    assert (feed.bozo, feed.feed.title) == (0, f"{title} · Rapport")
    [entry] = feed.entries
    assert (entry.id, entry.content[0].value) == (f"urn:uuid:{ID}", "<p>Whole.</p>")
    page = f"http://rapport.test{TAG if path == ENCODED else path}"
    links = {link.rel: link.href for link in feed.feed.links}
    assert links == {"self": f"{page}/feed.atom", "alternate": page}
    assert harness.services.posts.calls[-2].params["limit"] == "50"
    again = await harness.get(f"{path}/feed.atom", **{"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "page", "title"), [("", "/", "Posts"), (ENCODED, TAG, "Kräuter &amp; Co"), (PERSON, PERSON, "Name a")]
)
async def test_a_feed_is_explained_with_its_address(harness: GatewayHarness, path: str, page: str, title: str) -> None:
    assert f'href="{page.rstrip("/")}/feed"' in (await harness.get(page)).text
    said = (await harness.get(f"{path}/feed")).text
    assert f'readonly value="http://rapport.test{page.rstrip("/")}/feed.atom"' in said
    assert re.search(rf'<p class="kicker"><a href="{re.escape(page)}">(<bdi>)?{title}(</bdi>)?</a>', said)
    assert (await harness.get(f"{page.rstrip('/')}/feed.atom")).headers["content-type"] == "application/atom+xml"


@pytest.mark.parametrize("path", ["/tags/nothing/feed", "/people/anna/feed", f"/people/{AWAY}/feed"])
async def test_what_has_no_feed_has_none_to_be_explained(harness: GatewayHarness, path: str) -> None:
    harness.services.people.on("GET", path.removesuffix("/feed"), not_found())
    assert (await harness.get(path)).status_code == 404


async def test_the_sitemap_leads_to_lists(harness: GatewayHarness) -> None:
    harness.services.posts.on("GET", "/months", {"items": []})
    harness.services.posts.on("GET", "/authors", {"items": [{"author_id": ANNA, "changed_at": POST["created_at"]}]})
    pages = {None: ([SPELLED], "more"), "more": (["bees"], None)}

    def tags(call: Call) -> dict[str, Any]:
        found, following = pages[call.params.get("cursor")]  # type: ignore[index]
        return {"items": [{"tag": tag, "post_count": 1} for tag in found], "next": following}

    harness.services.posts.on("GET", "/tags", tags)
    assert "http://rapport.test/sitemaps/lists.xml" in (await harness.get("/sitemap.xml")).text
    root = ElementTree.fromstring((await harness.get("/sitemaps/lists.xml")).content)  # our own
    found = [element.text for element in root.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]
    assert found == [f"http://rapport.test{path}" for path in ("/", "/tags", TAG, "/tags/bees", PERSON)]


async def test_posts_name_their_tags_and_author_with_links(harness: GatewayHarness) -> None:
    harness.services.posts.on("GET", f"/posts/{ID}", TAGGED | {"word_count": 1_150, "cover": str(uuid4())})
    for path in ("/", f"/posts/{ID}"):
        page = (await harness.get(path)).text
        assert f'<a href="{TAG}" rel="tag"><bdi>Kräuter &amp; Co</bdi></a>' in page
        assert f'<a href="{PERSON}"><bdi>Name a</bdi></a>' in page
    assert "5 minutes to read" in page
    assert re.search(r'<meta property="og:image" content="http://rapport.test/images/[0-9a-f-]{36}.webp">', page)
    assert '<meta property="article:tag" content="Kräuter &amp; Co">' in page
