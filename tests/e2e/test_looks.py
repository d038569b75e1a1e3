"""Every page and state in a real browser: axe finds nothing, light or dark, and a keyboard is enough to take part."""

import os
from collections.abc import AsyncIterator
from shutil import which
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from tests.client import LINK, Client, Person
from tests.looks.browsing import cookies_of, window
from tests.looks.story import Story, told
from tests.looks.views import VIEWS, View, Who
from tests.waiting import eventually

CHROMIUM = which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")

Kept = dict[Who, Any]

AXE = Axe()
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES = {"resultTypes": ["violations"], "runOnly": STANDARDS}
OF_COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
COLOURS = {"resultTypes": ["violations"], "runOnly": OF_COLOURS}


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
async def story(client: Client, admin: Person) -> Story:
    return await told(client, admin, os.urandom(3).hex())


@pytest.fixture(scope="module")
async def kept(browser: Browser, story: Story) -> Kept:
    """What the browsers of the people of the story keep."""
    return await cookies_of(browser, story)


async def violations(page: Page) -> list[str]:
    """Return what axe has against a page: everything as it is, colours in the dark too."""
    found = []
    for scheme, rules in (("light", RULES), ("dark", COLOURS)):
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        if rules is RULES:
            result = (await AXE.run(page, options=rules)).response
        else:  # it is in the page already
            result = await page.evaluate("rules => axe.run(rules)", rules)
        found += [
            f"{scheme} {one['id']}: {node['target']} {node['html'][:160]}"
            for one in result["violations"]
            for node in one["nodes"]
        ]
    return found


async def look_at(browser: Browser, story: Story, kept: Kept, view: View) -> list[str]:
    async with window(browser, story, kept[view.who]) as page:
        await page.emulate_media(reduced_motion="reduce")
        await view.open(page, story)
        found = await violations(page)
    return [f"{view.name}: {one}" for one in found]


@pytest.mark.parametrize("view", [view for view in VIEWS if view.is_small], ids=lambda view: view.name)
async def test_axe_finds_nothing(browser: Browser, story: Story, kept: Kept, view: View) -> None:
    assert await look_at(browser, story, kept, view) == []


@pytest.mark.chaos
@pytest.mark.parametrize("view", [view for view in VIEWS if not view.is_small], ids=lambda view: view.name)
async def test_axe_finds_nothing_in_any_state(browser: Browser, story: Story, kept: Kept, view: View) -> None:
    assert await look_at(browser, story, kept, view) == []


async def tabbed_to(page: Page, selector: str, most: int = 40) -> int:
    """Press Tab until an element has the focus that one can see; return how often."""
    for count in range(1, most + 1):
        await page.keyboard.press("Tab")
        if await page.evaluate("selector => document.activeElement?.matches(selector) ?? false", selector):
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            return count
    raise AssertionError(f"{selector} was not reached by {most} Tabs")


async def pressed(page: Page, selector: str, most: int = 40) -> None:
    """Go to a link or a button by Tab, and press it; return when the page is there to which it leads."""
    await tabbed_to(page, selector, most)
    async with page.expect_navigation():
        await page.keyboard.press("Enter")


async def goes_on_in(page: Page, comment: Locator) -> None:
    """Check that the next Tab leads to something in a comment, which is in view."""
    await page.keyboard.press("Tab")
    assert await comment.evaluate("one => one.contains(document.activeElement)"), await page.evaluate(
        "document.activeElement.outerHTML.slice(0, 200)"
    )
    await expect(comment).to_be_in_viewport()


async def signs_in_by_keyboard(page: Page, story: Story, email: str) -> None:
    """Ask for a mail, and open the link in it."""
    sink = story.client.sink
    before = len(sink.to(email))
    await pressed(page, "a[href='/sign-in']")
    await tabbed_to(page, "#sign-in-email")
    await page.keyboard.type(email)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    await eventually(lambda: any(LINK.search(mail.text) for mail in sink.to(email)[before:]), timeout=30)
    link = next(found for mail in sink.to(email)[before:] if (found := LINK.search(mail.text)))
    await page.goto(link[0])
    await pressed(page, "main form button")


SEND = "form.compose button:not([type=button])"


@pytest.mark.parametrize("scripts", [True, False], ids=["with-scripts", "without-scripts"])
async def test_the_main_story_needs_a_keyboard_alone(browser: Browser, story: Story, scripts: bool) -> None:
    """From the link in the mailbox to the comment that is taken back and the mail that is stopped, without a mouse."""
    async with window(browser, story, None, java_script_enabled=scripts) as page:
        await page.goto("/")
        await expect(page.locator(".before-leaving")).to_be_hidden()  # no text can be lost by another language
        await signs_in_by_keyboard(page, story, story.people["eve"].email)
        await expect(page.get_by_text("Signed in as Eve")).to_be_visible()
        await pressed(page, f"h2 a[href='{story.path}']")
        await expect(page.locator("h1")).to_have_text(story.post["title"])
        await expect(page.locator(".before-leaving")).to_be_visible()
        await page.keyboard.press("Tab")
        await expect(page.locator(".skip:focus")).to_have_text("To the text")
        await page.keyboard.press("Tab")
        await expect(page.locator(".skip:focus")).to_have_text("To the form")
        await page.keyboard.press("Enter")
        text = page.locator("textarea[name=body]")
        await expect(text).to_be_focused()
        await page.keyboard.type("Written without a mouse.")
        await pressed(page, SEND, 3)
        mine = page.get_by_role("article", name="Comment by Eve").filter(has_text="Written without a mouse.").last
        await goes_on_in(page, mine)

        await page.goto(story.path)
        answered = story.comments[0]["id"]
        await pressed(page, f"#c-{answered} a[href*='reply_to']", 60)
        await expect(text).to_be_focused()
        await page.keyboard.type("An answer, too.")
        await pressed(page, SEND, 3)
        answer = page.get_by_role("article", name="Comment by Eve").filter(has_text="An answer, too").last
        await goes_on_in(page, answer)

        await pressed(page, "article.own:focus-within a[href*='/edit']", 6)
        await expect(text).to_be_focused()
        await page.keyboard.press("Control+A")
        await page.keyboard.type("An answer, too, and a better one.")
        await pressed(page, SEND, 3)
        await expect(answer).to_contain_text("and a better one")
        await goes_on_in(page, answer)
        await pressed(page, "article.own:focus-within a[href*='/remove']", 6)
        await pressed(page, "main form button")
        await expect(page.get_by_text("Your comment is removed.")).to_be_visible()
        await expect(answer).to_have_count(0)
        await goes_on_in(page, page.locator(f"#c-{answered}"))

        await page.goto(f"/unsubscribe/{story.mail_token}")  # as from the mail that Ben got
        await pressed(page, "main form button")
        await expect(page.get_by_role("heading", name="Unsubscribed")).to_be_visible()
        await pressed(page, "main form button")
        await expect(page.get_by_role("radio", name="All that concern me")).to_be_checked()
