"""Feeds, sitemap and structured data of a running system: what a stranger may read, and as soon as it changes."""

import json
import re
from typing import Any
from urllib.parse import quote
from uuid import uuid4
from xml.etree import ElementTree

import feedparser  # type: ignore[import-untyped]

from tests.client import Client, Person
from tests.contracts.conftest import NewPerson
from tests.waiting import eventually


async def feed(client: Client, path: str) -> Any:
    answer = await client.call("GET", path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/atom+xml"), answer.body
    found = feedparser.parse(answer.body)
    assert found.bozo == 0
    return found


async def has_entry(client: Client, path: str, entry_id: str, *, there: bool = True) -> None:
    async def found() -> bool:
        return (f"urn:uuid:{entry_id}" in [entry.id for entry in (await feed(client, path)).entries]) is there

    await eventually(found, timeout=15)


async def test_the_site_s_feed_has_whole_texts_of_published_posts(client: Client, author: Person) -> None:
    draft = await client.call("POST", "/v1/posts", {"title": "A draft", "body": "Not yet."}, who=author)
    tag = f"Feeds & {uuid4().hex[:6]}"
    post = await client.publish(author, "Of feeds", body="All of *it*, to the end.", tags=[tag])
    await has_entry(client, "/feed.atom", post["id"])
    tagged, own = f"/tags/{quote(tag.upper())}/feed.atom", f"/people/{author.id}/feed.atom"
    for path in (tagged, own):
        await has_entry(client, path, post["id"])
    found = await feed(client, "/feed.atom")
    entry = next(entry for entry in found.entries if entry.id == f"urn:uuid:{post['id']}")
    assert (entry.title, entry.link, entry.author) == ("Of feeds", post["url"], author.name)
    assert "<em>it</em>, to the end." in entry.content[0].value
    assert f"urn:uuid:{draft.json['id']}" not in {entry.id for entry in found.entries}
    assert (await client.call("POST", f"/v1/posts/{post['id']}/withdraw", who=author)).status == 200
    await has_entry(client, "/feed.atom", post["id"], there=False)
    await has_entry(client, own, post["id"], there=False)

    async def gone() -> bool:
        return (await client.call("GET", tagged)).status == 404

    await eventually(gone, timeout=15)


async def test_an_unchanged_feed_is_not_sent_again(client: Client, author: Person) -> None:
    post = await client.publish(author)
    path = f"/posts/{post['slug']}/feed.atom"
    first = await client.call("GET", path)
    again = await client.call("GET", path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert first.headers["Cache-Control"] == "public, no-cache"


async def test_a_discussion_s_feed_has_its_newest_comments_of_any_depth(
    client: Client, author: Person, new_person: NewPerson
) -> None:
    anna = await new_person("Anna")
    post = await client.publish(author, "Of answers")
    question = await client.comment(anna, post["id"], "Why *so*?")
    answer = await client.comment(author, post["id"], "Because.", parent_id=question["id"])
    path = f"/posts/{post['slug']}/feed.atom"
    await has_entry(client, path, answer["id"])
    found = await feed(client, path)
    assert [entry.id for entry in found.entries] == [f"urn:uuid:{one['id']}" for one in (answer, question)]
    assert "<em>so</em>" in found.entries[1].content[0].value
    assert found.entries[1].title == "Anna: Of answers"
    assert found.entries[0].link.endswith(f"?comment={answer['id']}#c-{answer['id']}")
    assert [entry["thr_in-reply-to"]["ref"] for entry in found.entries] == [
        f"urn:uuid:{question['id']}", f"urn:uuid:{post['id']}"
    ]  # fmt: skip
    assert (await client.call("DELETE", f"/v1/comments/{question['id']}", who=anna)).status == 204
    await has_entry(client, path, question["id"], there=False)  # a tombstone is nothing to read


async def test_what_strangers_may_not_read_has_no_feed(client: Client, author: Person) -> None:
    draft = await client.call("POST", "/v1/posts", {"title": "Hidden", "body": "Not yet."}, who=author)
    for ref in (draft.json["slug"], draft.json["id"], "no-such-post"):
        for who in (None, author):
            assert (await client.call("GET", f"/posts/{ref}/feed.atom", who=who)).status == 404


def located(document: bytes) -> list[str]:
    root = ElementTree.fromstring(document)  # our own
    return [str(element.text) for element in root.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]


async def test_the_sitemap_leads_to_every_published_post(client: Client, author: Person) -> None:
    post = await client.publish(author, "On the map", tags=["Maps"])
    hidden = await client.call("POST", "/v1/posts", {"title": "Off it", "body": "Not yet."}, who=author)
    robots = (await client.call("GET", "/robots.txt")).body.decode()
    [address] = re.findall(r"^Sitemap: (.+)$", robots, re.MULTILINE)
    months = located((await client.call("GET", address.removeprefix(client.url))).body)
    assert months[-1].endswith(f"/sitemaps/{post['published_at'][:7]}.xml")

    async def listed() -> bool:
        found = [await client.call("GET", one.removeprefix(client.url)) for one in months]
        shown = {address for one in found for address in located(one.body)}
        return {post["url"], *(client.url + path for path in ("/", "/tags/Maps", f"/people/{author.id}"))} <= shown

    await eventually(listed, timeout=15)
    for month in months:
        assert hidden.json["url"] not in located((await client.call("GET", month.removeprefix(client.url))).body)
    for wrong in ("2026-13", "2026", "0000-01", "9999-12", "x"):
        assert (await client.call("GET", f"/sitemaps/{wrong}.xml")).status == 404


async def test_a_page_says_what_it_is(client: Client, author: Person, new_person: NewPerson) -> None:
    post = await client.publish(author, 'Of "quotes" & <tags>', body="What it is about.")
    await client.comment(await new_person(), post["id"])

    async def page() -> str:
        return (await client.call("GET", f"/posts/{post['slug']}")).body.decode()

    async def counted() -> bool:
        return '"userInteractionCount":1' in await page()

    await eventually(counted, timeout=15)
    text = await page()
    data = re.search(r'<script type="application/ld\+json">(.+?)</script>', text)
    assert data is not None
    assert json.loads(data[1])["headline"] == post["title"]
    assert '<meta name="description" content="What it is about.">' in text
    assert f'<meta property="og:url" content="{post["url"]}">' in text
    assert f'href="/posts/{post["slug"]}/feed.atom"' in text
    front = (await client.call("GET", "/")).body.decode()
    assert 'type="application/atom+xml" href="/feed.atom"' in front


async def test_a_secret_feed_has_answers_that_a_stranger_may_read(
    client: Client, author: Person, new_person: NewPerson
) -> None:
    anna = await new_person("Anna")
    post = await client.publish(author, "Of secrets")
    question = await client.comment(anna, post["id"], "Why?")
    answer = await client.comment(author, post["id"], "Because *so*.", parent_id=question["id"])
    made = await client.call("POST", "/v1/me/feed", who=anna)
    assert (made.status, made.headers["Cache-Control"]) == (201, "no-store")
    path = made.json["url"].removeprefix(client.url)
    assert re.fullmatch(r"/feeds/[A-Za-z0-9_-]{43}\.atom", path)
    await has_entry(client, path, answer["id"])
    shown = await client.call("GET", path)
    assert (shown.headers["Cache-Control"], shown.headers["X-Robots-Tag"]) == ("private, no-cache", "noindex")
    [entry] = feedparser.parse(shown.body).entries
    assert (entry.title, "<em>so</em>" in entry.content[0].value) == (f"{author.name}: Of secrets", True)
    again = await client.call("GET", path, headers={"If-None-Match": shown.headers["ETag"]})
    assert (again.status, again.headers["Cache-Control"]) == (304, "private, no-cache")
    assert (await client.call("DELETE", f"/v1/comments/{answer['id']}", who=author)).status == 204
    await has_entry(client, path, answer["id"], there=False)
    assert (await client.call("DELETE", "/v1/me/feed", who=anna)).status == 204
    assert (await client.call("GET", path)).status == 404


async def test_a_secret_feed_ends_with_its_account(client: Client, new_person: NewPerson) -> None:
    anna = await new_person("Anna")
    path = (await client.call("POST", "/v1/me/feed", who=anna)).json["url"].removeprefix(client.url)
    assert (await client.call("GET", path)).status == 200
    assert (await client.call("DELETE", "/v1/me", who=anna)).status == 202

    async def ended() -> bool:
        return (await client.call("GET", path)).status == 404

    await eventually(ended, timeout=15)
    assert (await client.call("GET", "/feeds/" + "A" * 43 + ".atom")).status == 404
