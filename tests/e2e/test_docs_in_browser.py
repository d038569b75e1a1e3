"""The documentation of the API in a real browser without JavaScript: it fits, and a link opens what it names."""

from collections.abc import AsyncIterator
from shutil import which

import pytest
from playwright.async_api import Browser, async_playwright, expect

from tests.stack import Stack

CHROMIUM = which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")

WIDTH = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
async def test_the_documentation_fits(browser: Browser, stack: Stack, width: int) -> None:
    trouble: list[str] = []
    page = await browser.new_page(
        java_script_enabled=False, base_url=stack.url, viewport={"width": width, "height": 800}
    )
    page.on("console", lambda message: trouble.append(message.text))
    page.on("request", lambda request: trouble.append(request.url) if not request.url.startswith(stack.url) else None)
    try:
        for path in ("/docs", "/docs?open=all", "/problems"):
            await page.goto(path)
            taken, height = await page.evaluate(WIDTH)
            assert taken <= width, path
            assert "open=all" in path or height < 25_000
        await page.goto("/docs")
        await expect(page.locator("#postComment")).not_to_be_visible()
        await page.locator("nav.contents").get_by_text("Reference: comments").click()
        await page.locator("nav.contents").get_by_role("link", name="Comment on a post").click()
        await expect(page.locator("#postComment")).to_be_in_viewport()
        await page.goto("/docs#Comment")
        await expect(page.locator("#Comment")).to_be_in_viewport()
    finally:
        await page.close()
    assert trouble == []
