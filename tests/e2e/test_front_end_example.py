"""The front end in `docs/examples`, served at another origin: it signs in in both ways, reads, comments and pages."""

import asyncio
import re
from collections.abc import AsyncIterator
from shutil import which

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.client import LINK, Client, Person
from tests.e2e.conftest import ExampleFrontEnd
from tests.smtp_sink import SmtpSink
from tests.waiting import eventually

CHROMIUM = which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")

CODE = re.compile(r"\b[0-9]{8}\b")
PAGE = 50  # comments in the first page of a thread


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A window of a new user. Errors of scripts, of CORS and of the network fail the test."""
    trouble: list[str] = []
    context = await browser.new_context()
    page = await context.new_page()
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda request: trouble.append(f"failed: {request.failure} {request.url}"))
    yield page
    await context.close()
    assert [each for each in trouble if "status of 401" not in each] == []  # a wrong code


async def mailed(sink: SmtpSink, email: str, pattern: re.Pattern[str], before: int = 0) -> str:
    """Return what stands in the next mail to an address."""
    await eventually(lambda: len(sink.to(email)) > before, timeout=30)
    found = pattern.search(sink.to(email)[-1].text)
    assert found is not None
    return found[0]


async def test_a_front_end_of_one_file_signs_in_reads_comments_and_pages(
    page: Page,
    client: Client,
    session_sink: SmtpSink,
    admin: Person,
    example_front_end: ExampleFrontEnd,
    unique: str,
) -> None:
    email, address = f"fay.{unique}@example.com", example_front_end.address
    assert not address.startswith(client.url)
    post = await client.publish(admin, title=f"Read from elsewhere {unique}", body="Is *anybody* there?")
    first = await client.comment(admin, post["id"], "The first of many.")
    await asyncio.gather(*(client.comment(admin, post["id"], f"No. {number} {unique}") for number in range(PAGE)))
    for number in range(5):  # so that the post above is on the second page of posts
        await client.publish(admin, title=f"Newer {number} {unique}")

    await page.goto(address)
    await expect(page.get_by_role("heading", name="Posts")).to_be_visible()
    link = page.get_by_role("link", name=post["title"])
    await expect(page.get_by_role("link", name=f"Newer 0 {unique}")).to_be_visible()
    await expect(link).to_have_count(0)
    await page.get_by_role("button", name="More").click()
    await link.click()
    await expect(page.locator("em")).to_have_text("anybody")
    await expect(page.get_by_role("article")).to_have_count(PAGE)
    await page.get_by_role("button", name="More").click()
    await expect(page.get_by_role("article")).to_have_count(PAGE + 1)

    # by the link, back to the thread
    await page.get_by_label("Name, the first time").fill("Fay")
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_role("button", name="Send me a mail").click()
    await expect(page.get_by_role("status")).to_have_text("Look into your mailbox.")
    await page.goto(client.url + await mailed(session_sink, email, LINK))
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("Signed in as Fay.")).to_be_visible()
    assert page.url == f"{address}#post={post['id']}"

    await page.get_by_label("Your comment", exact=True).fill("From *elsewhere*.")
    await page.get_by_role("button", name="Send").click()
    mine = page.get_by_role("article").filter(has_text="From elsewhere.")
    await expect(mine.get_by_text("Fay")).to_be_visible()
    await page.locator(f'[id="{first["id"]}"]').get_by_role("button", name="Reply").click()
    await expect(page.get_by_label("Your reply to Ada Admin")).to_be_focused()
    await page.keyboard.type("To the first one.")
    await page.locator(f'[id="{first["id"]}"]').get_by_role("button", name="Send").click()
    await expect(page.locator(f'[id="{first["id"]}"] article')).to_contain_text("To the first one.")
    thread = (await client.call("GET", f"/v1/comments/{first['id']}/replies")).json["items"]
    assert [(one["author"]["name"], one["answered_revision"]) for one in thread] == [("Fay", 1)]

    await page.reload()  # the session is kept
    await expect(page.get_by_text("Signed in as Fay.")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()

    # by the code, without leaving
    before = len(session_sink.to(email))
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_role("button", name="Send me a mail").click()
    code = await mailed(session_sink, email, CODE, before)
    await page.get_by_label("Code").fill(f"{(int(code) + 1) % 10**8:08}")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("status")).to_contain_text("code")
    await page.get_by_label("Code").fill(code)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("Signed in as Fay.")).to_be_visible()
    assert page.url == f"{address}#post={post['id']}"
