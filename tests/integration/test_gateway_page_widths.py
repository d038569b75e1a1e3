"""Nothing that people write widens a page or leaves its comment, in a real browser at the width of a phone."""

from collections.abc import AsyncIterator
from shutil import which
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, Route, async_playwright

from services.chassis.text.renderer import to_html
from services.gateway.languages import LANGUAGES
from tests.integration.gateway_harness import ID, SLUG, GatewayHarness, author
from tests.unit.gateway_fakes import raw_comment, raw_post

CHROMIUM = which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")

PHONE, WIDE = 360, 1280
ZALGO = "Z" + "\u0301\u0323\u035c\u0488" * 100
LONG = "w" * 100
PROSE = "Words enough to fill a line or two on a telephone, so that their width says how much room is left."

TEXTS = {
    "quotations": "> " * 20 + PROSE,
    "list-levels": "\n".join("  " * level + "- " + PROSE for level in range(10)),
    "numbered-levels": "\n".join("   " * level + "1. " + PROSE for level in range(10)),
    "quotations-in-lists": "\n".join("  " * level + "- > " + PROSE for level in range(8)),
    "combining-marks": ZALGO * 3,
    "one-word": "w" * 9_000,
    "one-address": "https://example.com/" + "a" * 1_500,
    "no-break-spaces": "x" + "\u00a0x" * 900,
    "word-joiners": "x" + "\u2060x" * 900,
    "code-line": "    " + "x = 1; " * 300,
    "inline-code": "`" + "x" * 2_000 + "`",
    "table": "|" + "a|" * 60 + "\n|" + "-|" * 60 + "\n|" + "word|" * 60,
    "wide-cell": "|a|b|\n|-|-|\n|" + "w" * 500 + "|b|",
    "task-list": "- [ ] " + "w" * 500,
    "footnote": "Text[^1]\n\n[^1]: " + "w" * 500,
    "headings": "###### " + "w" * 500 + "\n\n# " + PROSE,
    "right-to-left": "> " * 12 + "שלום " * 60 + "\n\n" + "ש" * 800,
    "ideographs": "漢" * 2_000,
    "tag-flags": "🏴󠁧󠁢󠁥󠁮󠁧󠁿" * 200,
    "strange-line-ends": "\u2028".join(["x" * 400] * 3) + "\t" * 400 + "x",
}
IMPORTED = {
    "definitions": "<dl><dd>" * 20 + PROSE + "</dd></dl>" * 20,
    "figures": "<figure>" * 30 + PROSE + "</figure>" * 30,
    "tables-in-tables": "<table><tr><td>" * 10 + PROSE + "</td></tr></table>" * 10,
    "large-picture": '<img src="https://example.invalid/x.png" width="9000" height="10" alt="' + "w" * 300 + '">',
    "small-print": "<sub>" * 30 + PROSE + "</sub>" * 30,
    "disclosure": "<details><summary>" + "w" * 300 + "</summary>" + PROSE + "</details>",
}
HTML = {name: to_html(text, "markdown", "comment") for name, text in TEXTS.items()} | {
    name: to_html(text, "html") for name, text in IMPORTED.items()
}

# What stands beside its comment without a box that scrolls. Marks of a letter are no boxes of their own: `clips` tells
# whether the text's box cuts what is painted outside of it.
MEASURE = """() => {
  const comment = [...document.querySelectorAll('.thread article')].at(-1);
  const text = comment.querySelector('.text');
  const frame = comment.getBoundingClientRect();
  const scrolls = (one) => {
    for (let at = one; at !== comment; at = at.parentElement)
      if (at !== one && getComputedStyle(at).overflowX === 'auto') return true;
    return false;
  };
  const out = [...text.querySelectorAll('*')].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width && (box.right > frame.right + 1 || box.left < frame.left - 1) && !scrolls(one);
  });
  const prose = [...text.querySelectorAll('p, li, dd, td, figure')].map((one) => {
    const range = document.createRange();
    range.selectNodeContents(one);
    return [one.textContent.length, range.getBoundingClientRect().width];
  }).filter(([letters]) => letters > 80).map(([, width]) => width);
  return {
    page: document.documentElement.scrollWidth,
    screen: document.documentElement.clientWidth,
    outside: out.map((one) => one.tagName),
    narrowest: Math.min(...prose, 1e9),
    clips: getComputedStyle(text).overflowX,
    unfocusable: [...text.querySelectorAll('*')].filter((one) => one.scrollWidth > one.clientWidth + 1
      && getComputedStyle(one).overflowX === 'auto' && one.tabIndex < 0).map((one) => one.tagName),
  };
}"""


# The separators that begin a line of a byline, where they separate nothing.
STRANDED = """() => [...document.querySelectorAll('.byline')].flatMap((line) => {
  const from = line.getBoundingClientRect();
  const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) for (let at = 0; at < walker.currentNode.length; at++) {
    if (walker.currentNode.data[at] !== '·') continue;
    const range = document.createRange();
    range.setStart(walker.currentNode, at);
    range.setEnd(walker.currentNode, at + 1);
    const box = range.getBoundingClientRect();
    const first = document.dir === 'rtl' ? from.right - box.right : box.left - from.left;
    if (box.width && first < 6) found.push(line.textContent);
  }
  return found;
})"""
# How far the beginning of a title, and of what is said of its post, is from the left edge of the screen.
LEFTS = """() => ['.teaser h2 a', '.teaser .byline'].map((selector) => {
  const range = document.createRange();
  range.selectNodeContents(document.querySelector(selector));
  return Math.round(range.getBoundingClientRect().left);
})"""


@pytest.fixture
async def page(harness: GatewayHarness) -> AsyncIterator[Page]:
    """A browser whose every request the gateway of this test answers."""

    async def answer(route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.hostname != "rapport.test":
            await route.abort()
            return
        reply = await harness.get(url.path + ("?" + url.query if url.query else ""))
        await route.fulfill(status=reply.status_code, headers=dict(reply.headers), body=reply.content)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(base_url="http://rapport.test")
        await page.route("**/*", answer)
        yield page
        await browser.close()


async def show(page: Page, harness: GatewayHarness, html: str, width: int) -> dict[str, Any]:
    """Open a discussion whose innermost comment of four levels holds `html`; return what was measured of it."""
    comment = raw_comment(9, body_html=html)
    for number in range(4):
        comment = raw_comment(number, replies=[comment])
    harness.services.comments.on("GET", f"/posts/{ID}/comments", {"items": [comment], "next": None})
    await page.set_viewport_size({"width": width, "height": 800})
    await page.goto(f"/posts/{SLUG}?{width}")
    measured: dict[str, Any] = await page.evaluate(MEASURE)
    return measured


@pytest.mark.parametrize("width", [PHONE, 768, WIDE])
async def test_no_text_widens_the_page(page: Page, harness: GatewayHarness, width: int) -> None:
    found = {name: await show(page, harness, html, width) for name, html in HTML.items()}
    assert {name: one["page"] for name, one in found.items() if one["page"] > one["screen"]} == {}
    assert {name: one["outside"] for name, one in found.items() if one["outside"]} == {}
    assert {name: one["narrowest"] for name, one in found.items() if one["narrowest"] < 120} == {}
    assert {name: one["unfocusable"] for name, one in found.items() if one["unfocusable"]} == {}
    assert {one["clips"] for one in found.values()} == {"clip"}


async def test_no_name_or_title_widens_a_page(page: Page, harness: GatewayHarness) -> None:
    harness.services.people.on(
        "POST", "/people/lookup", lambda call: {"items": [author(one) | {"name": LONG} for one in call.body["ids"]]}
    )
    for title in ("w" * 200, ZALGO[:200], "x\u00a0" * 100):
        post = raw_post(title=title, excerpt="w" * 200, edited_at="2026-11-23T05:00:00.000Z", edit_note=title)
        harness.services.posts.on("GET", "/posts", {"items": [post], "next": None})
        harness.services.posts.on("GET", f"/posts/{SLUG}", post)
        await page.set_viewport_size({"width": PHONE, "height": 800})
        for path in ("/", f"/posts/{SLUG}"):
            await page.goto(path)
            assert await page.evaluate("document.documentElement.scrollWidth") == PHONE
            titles = page.locator("h1, h2 > a, .byline")
            assert {await one.evaluate("one => getComputedStyle(one).overflowX") for one in await titles.all()} == {
                "clip"
            }


async def test_deep_discussions_stay_readable(page: Page, harness: GatewayHarness) -> None:
    comment = raw_comment(60, body_html=f"<p>{PROSE}</p>")
    for number in range(59, 0, -1):
        comment = raw_comment(number, body_html=f"<p>{PROSE}</p>", replies=[comment])
    harness.services.comments.on("GET", f"/posts/{ID}/comments", {"items": [comment], "next": None})
    await page.set_viewport_size({"width": PHONE, "height": 800})
    await page.goto(f"/posts/{SLUG}")
    boxes = [await one.bounding_box() for one in await page.locator(".thread .text").all()]
    assert min(box["width"] for box in boxes if box) >= 240


@pytest.mark.parametrize(("width", "first"), [(PHONE, 3), (WIDE, 6)])
async def test_a_reply_says_whom_it_answers_where_it_stands_flush(
    page: Page, harness: GatewayHarness, width: int, first: int
) -> None:
    comment = raw_comment(9, body_html=f"<p>{PROSE}</p>")
    for number in range(8, 0, -1):
        comment = raw_comment(number, replies=[comment])
    harness.services.comments.on("GET", f"/posts/{ID}/comments", {"items": [comment], "next": None})
    await page.set_viewport_size({"width": width, "height": 800})
    await page.goto(f"/posts/{SLUG}")
    shown, lefts = [], []
    for article in await page.locator(".thread article").all():
        said = article.locator(".answers")
        shown.append(await said.count() > 0 and await said.is_visible())
        box = await article.bounding_box()
        lefts.append(box["x"] if box else 0)
    assert shown == [level >= first for level in range(9)]
    assert [level > 0 and lefts[level] == lefts[level - 1] for level in range(9)] == shown
    assert await page.evaluate("document.documentElement.scrollWidth") == width


async def test_no_line_about_a_comment_begins_with_a_separator(page: Page, harness: GatewayHarness) -> None:
    harness.services.posts.on("GET", f"/posts/{SLUG}", raw_post(revision=2, edited_at="2026-11-23T05:00:00.000Z"))
    comment = raw_comment(9, answered_revision=1, state="held")
    for number in range(4):
        comment = raw_comment(number, answered_revision=1, replies=[comment])
    harness.services.comments.on("GET", f"/posts/{ID}/comments", {"items": [comment], "next": None})
    for width in (320, PHONE, 400, 768):
        await page.set_viewport_size({"width": width, "height": 800})
        await page.goto(f"/posts/{SLUG}?{width}")
        assert await page.locator(".earlier").count() == 5
        assert await page.evaluate(STRANDED) == [], width


async def test_lists_in_comments_have_their_numbers_and_print_has_no_forms(page: Page, harness: GatewayHarness) -> None:
    html = to_html("1. one\n2. two\n\n```\n" + "x" * 400, "markdown", "comment")
    await show(page, harness, html, PHONE)
    number = page.locator(".thread .text li").first
    assert await number.evaluate("one => getComputedStyle(one).listStyleType") == "decimal"
    await page.emulate_media(media="print")
    hidden = page.locator("form, .actions, nav, .masthead a[href='/sign-in']")
    assert [await one.is_visible() for one in await hidden.all()].count(True) == 0
    code = page.locator(".thread pre")
    assert (
        await code.evaluate("one => one.scrollWidth <= one.clientWidth && getComputedStyle(one).whiteSpace")
        == "pre-wrap"
    )


async def test_pages_fit_a_phone_in_every_language_and_stand_at_its_side(page: Page, harness: GatewayHarness) -> None:
    text = to_html(PROSE[:12], "markdown", "comment")
    for code, language in LANGUAGES.items():
        harness.http.cookies.set("lang", code)
        for path in ("/", "/sign-in", "/no-such-page"):
            await page.set_viewport_size({"width": PHONE, "height": 800})
            await page.goto(path)
            assert await page.evaluate("document.documentElement.scrollWidth") == PHONE, (code, path)
            mark = await page.locator(".mark").bounding_box()
            assert mark is not None
            assert (mark["x"] > PHONE / 2) == (language.direction == "rtl")
            assert await page.evaluate(STRANDED) == []
            if path == "/":  # its posts are in English in every language, and each keeps to one side
                assert max(await page.evaluate(LEFTS)) < PHONE / 8
        assert (await show(page, harness, text, PHONE))["page"] == PHONE
        written = await page.locator(".thread .text").last.bounding_box()  # in English, in every language
        assert written is not None
        assert (written["x"] > PHONE / 3) == (language.direction == "rtl")
