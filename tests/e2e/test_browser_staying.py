"""Two people come, talk, choose and leave, each through the pages alone, with and without JavaScript."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from shutil import which
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.client import LINK, Client, Person
from tests.e2e.named_site import NAME
from tests.smtp_sink import SmtpSink
from tests.stack import Stack
from tests.waiting import eventually

CHROMIUM = which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")

CODE = re.compile(r"\b[0-9]{8}\b")
CHOICES = re.compile(r"https?://\S+/mail/[\w.-]+")

Visitor = Callable[[], Awaitable[Page]]


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture(params=[False, True], ids=["without JavaScript", "with JavaScript"])
async def visitor(browser: Browser, stack: Stack, request: pytest.FixtureRequest) -> AsyncIterator[Visitor]:
    """`await visitor()` opens a window of a new user. Errors of scripts and refused resources fail the test."""
    trouble: list[str] = []
    contexts = []

    async def visit() -> Page:
        context = await browser.new_context(java_script_enabled=request.param, base_url=stack.url)
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        return page

    yield visit
    for context in contexts:
        await context.close()
    assert [each for each in trouble if "status of 4" not in each] == []  # a refused form is a regular answer


async def register(page: Page, sink: SmtpSink, name: str, email: str, *, by_code: bool) -> None:
    """Register from the page that is open, by the link or by the code of the mail."""
    await page.get_by_role("link", name="Sign in").first.click()
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("E-mail address").last.fill(email)
    await page.get_by_role("button", name="Register").click()
    await expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    await eventually(lambda: sink.to(email), timeout=30)
    text = sink.to(email)[-1].text
    code, link = CODE.search(text), LINK.search(text)
    assert code is not None
    assert link is not None
    if by_code:
        await page.get_by_label("Code from the newest mail").fill(code[0])
    else:
        await page.goto(link[0])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("link", name="Notifications")).to_be_visible()


async def test_two_people_come_talk_choose_and_leave(
    visitor: Visitor, client: Client, session_sink: SmtpSink, admin: Person, unique: str, tmp_path: Path
) -> None:
    post = await client.publish(admin, title=f"For all who come {unique}")
    path = urlsplit(post["url"]).path
    lea_email, tom_email = f"lea.{unique}@example.com", f"tom.{unique}@example.com"
    lea, tom = await visitor(), await visitor()

    await lea.goto(path)
    await register(lea, session_sink, "Lea", lea_email, by_code=False)
    await expect(lea.get_by_role("heading", name=post["title"])).to_be_visible()  # back where she was
    await lea.get_by_label("Comment on the post").fill(f"Who is *there*? {unique}")
    await lea.get_by_role("button", name="Comment", exact=True).click()
    await expect(lea.locator("em", has_text="there")).to_be_visible()
    question = (await client.call("GET", f"/v1/posts/{post['id']}/comments")).json["items"][0]

    await tom.goto(path)
    await register(tom, session_sink, "Tom", tom_email, by_code=True)
    await expect(tom.get_by_role("heading", name=post["title"])).to_be_visible()
    await tom.get_by_role("link", name="Reply to Lea").click()
    await tom.get_by_label("Your reply to Lea").fill("> Who is there?\n\nI am.")
    await tom.get_by_role("button", name="Reply", exact=True).click()
    await expect(tom.locator("blockquote", has_text="Who is there?")).to_be_visible()

    # the mail, and its link to the choices, in a browser that is not signed in
    await eventually(lambda: [mail for mail in session_sink.to(lea_email) if mail.message["List-Id"]], timeout=30)
    mail = session_sink.to(lea_email)[-1]
    assert "I am." in mail.text
    assert mail.message["From"].addresses[0].display_name == f"Tom (via {NAME})"
    link = CHOICES.search(mail.text)
    assert link is not None
    guest = await visitor()
    await guest.goto(link[0])
    await guest.get_by_label("Replies to my comments alone").check()
    await guest.get_by_role("button", name="Save").click()
    await expect(guest.get_by_role("status").first).to_contain_text("replies to your comments alone")
    await guest.get_by_label("None", exact=True).check()
    await guest.get_by_role("button", name="Save").click()
    await expect(guest.get_by_role("status").first).to_contain_text("no mail about comments")
    await lea.goto("/me/mail")
    await expect(lea.get_by_label("None", exact=True)).to_be_checked()
    await guest.get_by_label("All that concern me").check()  # it can be taken back where it was chosen
    await guest.get_by_role("button", name="Save").click()
    await expect(guest.get_by_role("status").first).to_contain_text("all comments that concern you")

    # what is new, and why, in words
    await lea.get_by_role("link", name="Notifications").click()
    await expect(lea.get_by_text("1 is new.")).to_be_visible()
    await lea.get_by_role("button", name="Mark all as read").click()
    await expect(lea.get_by_text("1 is new.")).to_have_count(0)
    await lea.get_by_role("link", name=re.compile("why", re.IGNORECASE)).first.click()
    await expect(lea.get_by_text("because it answers your comment")).to_be_visible()
    await lea.get_by_role("link", name="Choose which mail you get").click()
    await lea.get_by_label("Replies to my comments alone").check()
    await lea.get_by_role("button", name="Save").click()
    await expect(lea.get_by_label("Replies to my comments alone")).to_be_checked()

    # another name, a secret feed, all that is kept, and the end of it
    await lea.get_by_role("link", name="Account", exact=True).click()
    await lea.get_by_label("The name that others see").fill("Lea the Undecided")
    await lea.get_by_role("button", name="Save").click()
    await expect(lea.get_by_text("Signed in as Lea the Undecided")).to_be_visible()
    await lea.get_by_role("button", name="Make an address").click()
    feed = (await lea.get_by_label("Its address").input_value()).removeprefix(client.url)
    assert "I am." in (await client.call("GET", feed)).body.decode()
    async with lea.expect_download() as downloading:
        await lea.get_by_role("link", name="Download everything").click()
    saved = tmp_path / "export.json"
    await (await downloading.value).save_as(saved)
    kept = json.loads(saved.read_text())
    assert (kept["me"]["name"], kept["me"]["email"]) == ("Lea the Undecided", lea_email)
    assert f"Who is *there*? {unique}" in saved.read_text()
    assert "I am." not in saved.read_text()  # that is Tom's
    await lea.get_by_label("I know that it does not come back.").check()
    await lea.get_by_role("button", name="Delete my account").click()
    await expect(lea.get_by_role("heading", name="Your account is deleted")).to_be_visible()
    await lea.goto("/me")
    await expect(lea.get_by_role("link", name="Sign in").first).to_be_visible()
    assert (await client.call("GET", feed)).status == 404

    async def is_nobody() -> bool:
        return bool((await client.call("GET", f"/v1/comments/{question['id']}")).json["author"]["name"] == "deleted")

    await eventually(is_nobody, timeout=30)
    await tom.goto(path)
    await expect(tom.get_by_text("I am.")).to_be_visible()
    await expect(tom.get_by_text("Lea")).to_have_count(0)
