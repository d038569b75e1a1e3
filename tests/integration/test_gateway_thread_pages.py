"""A discussion on its page: who wrote, who answers whom, what folds, and the way by keyboard."""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, expect

from tests.integration.gateway_harness import ANNA, ID, SLUG, GatewayHarness, author
from tests.integration.test_gateway_page_widths import CHROMIUM, page
from tests.unit.gateway_fakes import raw_comment, raw_post

__all__ = ["page"]
PATH = f"/posts/{SLUG}"


@pytest.fixture
async def talk(harness: GatewayHarness) -> AsyncIterator[GatewayHarness]:
    """A discussion in which the author of the post answers, and further replies are on a later page."""
    answers = [raw_comment(2, author_id=ANNA), raw_comment(3, replies=[raw_comment(4)])]
    first = raw_comment(1, replies=answers, reply_count=14)
    first["replies"]["next"] = "more"
    harness.services.posts.on("GET", PATH, raw_post(author_id=ANNA))
    listed = {"items": [first, raw_comment(5)], "next": None}
    harness.services.comments.on("GET", f"/posts/{ID}/comments", listed)
    yield harness


async def test_a_badge_marks_the_author_of_the_post_alone(talk: GatewayHarness) -> None:
    found = (await talk.get(PATH)).text
    articles = dict(re.findall(r'<article id="c-[0-9a-f-]+(\d)".*?>(.*?)</article>', found, re.DOTALL))
    assert {number for number, text in articles.items() if ">Author<" in text} == {"2"}


async def test_each_comment_is_an_article_with_a_name_a_face_and_both_times(talk: GatewayHarness) -> None:
    found = (await talk.get(PATH)).text
    assert len(re.findall(r'<article id="c-[^"]*" aria-label="Comment by [^"]+">', found)) == 5
    assert len(re.findall(r'<span class="face tone-\d+" aria-hidden="true">N</span>', found)) == 6, "and of the post"
    assert '<time datetime="2026-11-23T04:37:00.000Z" title="23 November 2026, 04:37 UTC">' in found


async def test_a_picture_takes_the_place_of_the_face(talk: GatewayHarness) -> None:
    talk.services.people.on(
        "POST",
        "/people/lookup",
        lambda call: {"items": [author(one) | {"avatar_url": "/avatars/x.webp"} for one in call.body["ids"]]},
    )
    found = (await talk.get(PATH)).text
    assert found.count('src="http://rapport.test/avatars/x.webp" alt=""') == 6
    assert "tone-" not in found


async def test_what_is_on_later_pages_is_counted(talk: GatewayHarness) -> None:
    assert ">12 more replies<" in (await talk.get(PATH)).text


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")
async def test_a_branch_folds_by_keyboard_and_says_who_is_in_it(talk: GatewayHarness, page: Page) -> None:
    await page.goto(PATH)
    branch = page.locator("details.branch").first
    fold, inside = branch.locator("> summary"), page.locator(f"#c-{raw_comment(2)['id']}")
    await expect(fold).to_have_text("Name a and 2 more")
    await fold.focus()
    await page.keyboard.press("Enter")
    await expect(inside).to_be_hidden()
    await expect(fold).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(inside).to_be_visible()
    await branch.evaluate("one => { one.open = false }")
    await page.emulate_media(media="print")
    await expect(inside, "paper cannot be unfolded").to_be_visible()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")
async def test_the_first_links_skip_to_the_text_and_to_the_discussion(talk: GatewayHarness, page: Page) -> None:
    await page.goto(PATH)
    for target in ("main", "comments"):
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.getAttribute('href')") == f"#{target}"
        box = await page.locator(":focus").bounding_box()
        assert box is not None
        assert box["x"] >= 0, "seen while it has the focus"
    await page.keyboard.press("Enter")
    await page.wait_for_url("**#comments")


async def test_a_name_is_nowhere_more_than_text(talk: GatewayHarness) -> None:
    """Comments are written without escaping each of their strings, so what people wrote is escaped by name."""
    name = "\"'><i>&%s"
    talk.services.people.on(
        "POST", "/people/lookup", lambda call: {"items": [author(one) | {"name": name} for one in call.body["ids"]]}
    )
    deep = raw_comment(9)
    for number in range(8, 0, -1):
        deep = raw_comment(number, replies=[deep])
    talk.services.comments.on("GET", f"/posts/{ID}/comments", {"items": [deep], "next": None})
    found = (await talk.get(PATH)).text
    assert "<i>" not in found
    assert found.count('aria-label="Comment by &#34;&#39;&gt;&lt;i&gt;&amp;%s"') == 9
    assert found.count("to <a href=") == 6
