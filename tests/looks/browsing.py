"""A browser whose windows are signed in as the people of the story."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page

from tests.client import LINK
from tests.looks.story import Story
from tests.looks.views import Who
from tests.waiting import eventually

STATES: tuple[Who, ...] = ("ben", "eve", "ada")


async def cookies_of(browser: Browser, story: Story) -> dict[Who, Any]:
    """Sign the people in by the link in a mail; return what their browsers keep."""
    kept: dict[Who, Any] = {"stranger": None}
    for who in STATES:
        client, email = story.client, story.people[who].email
        before = len(client.sink.to(email))
        asked = await client.call("POST", "/v1/sign-in", {"email": email})
        assert asked.status == 202
        await eventually(lambda: any(LINK.search(mail.text) for mail in client.sink.to(email)[before:]), timeout=30)  # noqa: B023
        link = next(match for mail in client.sink.to(email)[before:] if (match := LINK.search(mail.text)))
        context = await browser.new_context(base_url=client.url)
        page = await context.new_page()
        await page.goto(link[0])
        await page.locator("main form button").click()
        await page.locator(".me").wait_for()
        kept[who] = await context.storage_state()
        await context.close()
    return kept


@asynccontextmanager
async def window(browser: Browser, story: Story, kept: Any, **options: Any) -> AsyncIterator[Page]:
    """Yield a page of a window with these cookies."""
    context: BrowserContext = await browser.new_context(base_url=story.client.url, storage_state=kept, **options)
    try:
        yield await context.new_page()
    finally:
        await context.close()
