"""Mails in a browser engine: nothing widens them, on any screen, and on dark ones they are dark."""

from collections.abc import AsyncIterator
from shutil import which
from typing import Literal

import pytest
from playwright.async_api import Browser, async_playwright

from tests.sample_mails import TYPICAL, html_part, notification, sign_in

CHROMIUM = which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")

WIDE = {
    "word": "w" * 10_000,
    "code": "`" + "c" * 3_000 + "`\n\n```\n" + "d" * 3_000 + "\n```",
    "table": "| " + " | ".join(f"column {at}" for at in range(30)) + " |\n|" + "---|" * 30 + "\n|" + "words here|" * 30,
    "cell": "| a |\n|---|\n| " + "t" * 3_000 + " |",
    "quotations": "> " * 40 + "a few words",
    "lists": "".join("  " * depth + f"- level {depth} words\n" for depth in range(24)),
    "numbers": "999999999. a\n\n- " + "9" * 3_000,
    "right to left": "- item\n- פריט\n\n> ציטוט\n\n1. א\n2. ב\n   - ג\n\n| א | ב |\n|---|---|\n| "
    + "א" * 3_000
    + " | |",
    "marks": "a" + "\u0301" * 400 + " " + "Z" + "\u035c\u0321" * 300,
    "typical": TYPICAL,
}
NARROWEST = """() => Math.min(...[...document.querySelectorAll(".said li, .said p")]
  .filter(element => element.textContent.length > 5)
  .map(element => element.getBoundingClientRect().width))"""
# what contrast with its background a text has (WCAG 2, relative luminance)
CONTRAST = """() => {
  const light = color => {
    const [r, g, b] = color.match(/[0-9.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    const color = getComputedStyle(element).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" ? ground(element.parentElement) : light(color);
  };
  return [...document.querySelectorAll("p, a, li, td, .foot, .mark, .face")].map(element => {
    const [low, high] = [light(getComputedStyle(element).color), ground(element)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  });
}"""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.mark.parametrize("width", [320, 768, 1280])
async def test_nothing_widens_a_mail(browser: Browser, width: int) -> None:
    page = await browser.new_page(viewport={"width": width, "height": 800})
    for name, source in WIDE.items():
        await page.set_content(html_part(notification(source, name="n" * 100, title="t" * 200)))
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, name
        words = await page.evaluate(NARROWEST)
        assert words is None or words > 60, name
    await page.set_content(html_part(sign_in()))
    assert await page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_mail_can_be_read_in_both_schemes(browser: Browser, scheme: Literal["light", "dark"]) -> None:
    context = await browser.new_context(color_scheme=scheme)
    page = await context.new_page()
    for content in (notification(TYPICAL + "\n| a |\n|---|\n| b |"), sign_in()):
        await page.set_content(html_part(content))
        paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(252, 250, 245)" if scheme == "light" else "rgb(24, 22, 18)")
        contrasts = await page.evaluate(CONTRAST)
        assert len(contrasts) > 3
        assert min(contrasts) > 4.5
    await context.close()


async def test_a_mail_fetches_nothing(browser: Browser) -> None:
    page = await browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.set_content(html_part(notification("![a](https://a.example/1.png) ![](https://a.example/2.png)")))
    assert await page.evaluate("document.querySelectorAll('img, link, script, iframe').length") == 0
    assert asked == []
