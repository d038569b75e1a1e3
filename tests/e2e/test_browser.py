"""The site in a real browser, much of it without JavaScript: register, comment, reply, stop the mail; write."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from shutil import which
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Dialog, FilePayload, Locator, Page, StorageState, async_playwright, expect

from tests.client import LINK, Client, Person
from tests.e2e.named_site import NAME, TAGLINE
from tests.e2e.test_operator_command import rapport
from tests.hostile_pictures import plain
from tests.smtp_sink import SmtpSink
from tests.stack import Stack
from tests.waiting import eventually

CHROMIUM = which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")

CODE = re.compile(r"\b[0-9]{8}\b")

Visitor = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def visitor(browser: Browser, stack: Stack) -> AsyncIterator[Visitor]:
    """`await visitor()` opens a browser window of a new user. Errors and missing resources fail the test.

    With `scripts=True` JavaScript runs in it; `state` is that of a window in which somebody signed in, `zone` that of
    its clock.
    """
    trouble: list[str] = []
    contexts = []

    async def visit(scripts: bool = False, *, state: StorageState | None = None, zone: str = "UTC") -> Page:
        context = await browser.new_context(
            java_script_enabled=scripts, base_url=stack.url, storage_state=state, timezone_id=zone
        )
        contexts.append(context)
        page = await context.new_page()
        page.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
        page.on("requestfailed", lambda request: trouble.append(f"failed: {request.failure} {request.url}"))
        return page

    yield visit
    for context in contexts:
        await context.close()
    # A refused form is a regular answer, and of two presses of a button the first is given up for the second.
    regular = ("status of 4", "failed: net::ERR_ABORTED")
    assert [each for each in trouble if not any(one in each for one in regular)] == []


async def signed_in(page: Page, sink: SmtpSink, name: str, email: str) -> None:
    """Register on the current page, by the link in the mail."""
    await page.get_by_role("link", name="Sign in").first.click()
    await registered(page, sink, name, email)


async def registered(page: Page, sink: SmtpSink, name: str, email: str) -> None:
    """Fill in the form to register, and use the link in the next mail."""
    before = len(sink.to(email))
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("E-mail address").last.fill(email)
    await page.get_by_role("button", name="Register").click()
    await expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    await eventually(lambda: len(sink.to(email)) > before, timeout=30)
    link = LINK.search(sink.to(email)[-1].text)
    assert link is not None
    await page.goto(link[0])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text(f"Signed in as {name}")).to_be_visible()


async def came_back(page: Page, sink: SmtpSink, email: str) -> EmailMessage:
    """Sign in on the page that is open, as somebody who is registered; return the mail."""
    before = len(sink.to(email))
    await page.get_by_label("E-mail address").first.fill(email)
    await page.get_by_role("button", name="Send me a link").click()
    await eventually(lambda: len(sink.to(email)) > before, timeout=30)
    mail = sink.to(email)[-1]
    link = LINK.search(mail.text)
    assert link is not None
    await page.goto(link[0])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    return mail.message


async def test_two_users_discuss_and_one_stops_the_mail(
    visitor: Visitor, client: Client, session_sink: SmtpSink, admin: Person, unique: str
) -> None:
    post = await client.publish(admin, title=f"In a browser {unique}")
    path = urlsplit(post["url"]).path
    anna, ben = await visitor(), await visitor()

    await anna.goto(path)
    await expect(anna).to_have_title(f"{post['title']} · {NAME}")
    await anna.get_by_role("button", name="العربية").click()
    await expect(anna.locator("html[lang=ar][dir=rtl]").get_by_role("link", name="تسجيل الدخول").first).to_be_visible()
    assert urlsplit(anna.url).path == path
    await anna.get_by_role("button", name="English").click()
    await signed_in(anna, session_sink, "Anna", f"anna.{unique}@example.com")
    await expect(anna.get_by_role("heading", name=post["title"])).to_be_visible()
    await anna.get_by_label("Comment on the post").fill("Who *still* writes <b>letters</b>?")
    await anna.get_by_role("button", name="Comment").click()
    comment = anna.get_by_role("article").filter(has_text="Who still writes <b>letters</b>?").last
    await expect(comment).to_be_visible()
    await expect(comment.locator("em")).to_have_text("still")

    linked = await comment.locator(".byline a").evaluate("link => link.href")
    await ben.goto(linked)  # as from a mail
    await signed_in(ben, session_sink, "Ben", f"ben.{unique}@example.com")
    assert ben.url.endswith(linked)
    await ben.get_by_label("Your reply to Anna").fill("I do.")
    await ben.get_by_role("button", name="Reply").click()
    await expect(ben.get_by_role("article").filter(has_text="I do.").last).to_be_visible()

    address = f"anna.{unique}@example.com"
    await eventually(lambda: [mail for mail in session_sink.to(address) if mail.message["List-Id"]], timeout=30)
    mail = session_sink.to(address)[-1].message
    await anna.goto(re.findall(r"<(https?://[^>]+)>", mail["List-Unsubscribe"])[0])
    await anna.get_by_role("button", name="Unsubscribe").click()
    await expect(anna.get_by_role("heading", name="Unsubscribed")).to_be_visible()

    await anna.goto(path)
    await anna.get_by_role("button", name="Sign out").click()
    await expect(anna.get_by_role("link", name="Sign in").first).to_be_visible()
    await expect(anna.get_by_role("heading", name=post["title"])).to_be_visible()


@pytest.mark.parametrize("scripts", [False, True], ids=["without-scripts", "with-scripts"])
async def test_a_reader_quotes_previews_edits_and_removes(
    visitor: Visitor, client: Client, session_sink: SmtpSink, admin: Person, unique: str, scripts: bool
) -> None:
    post = await client.publish(admin, title=f"On paper {unique}")
    top = await client.comment(admin, post["id"], "Paper *lasts*.\n\nScreens do not.")
    page = await visitor(scripts)
    await page.goto(urlsplit(post["url"]).path)
    await signed_in(page, session_sink, "Quinn", f"quinn.{scripts}.{unique}@example.com")
    await page.get_by_role("link", name="Quote").click()
    area = page.get_by_label("Your reply to Ada Admin")
    await expect(area).to_be_focused()
    await expect(area).to_have_value("> Paper lasts.\n>\n> Screens do not.\n\n")
    await area.fill("> Paper lasts.\n\nIt **does**.")
    await page.get_by_role("button", name="Preview").click()
    await expect(page.locator(".preview strong")).to_have_text("does")
    await page.get_by_role("button", name="Reply", exact=True).click()
    reply = page.get_by_role("article", name="Comment by Quinn")
    await expect(reply.locator("blockquote")).to_have_text("Paper lasts.")

    await reply.get_by_role("link", name="Edit 15 min left").click()
    area = page.get_by_label("Your comment")
    await expect(area).to_be_focused()
    await area.fill("x" * 10_001)
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("alert")).to_have_text("The text must have at most 10,000 characters.")
    await expect(area).to_be_focused()
    await area.fill("It does, *mostly*.")
    await page.get_by_role("button", name="Save").click()
    await expect(reply.locator("em")).to_have_text("mostly")
    await expect(reply).to_contain_text("edited")
    await expect(page.get_by_text("Your change is stored.")).to_be_visible()
    await page.keyboard.press("Tab")
    assert await reply.evaluate("one => one.contains(document.activeElement)"), "the focus goes on in the comment"

    await page.get_by_role("button", name="Follow", exact=True).click()
    await expect(page.get_by_role("button", name="Unfollow")).to_be_focused()
    await reply.get_by_role("link", name="Remove").click()
    await expect(page.get_by_text("It does, mostly.")).to_be_visible()
    await page.get_by_role("button", name="Remove it").click()
    await expect(page.get_by_text("Your comment is removed.")).to_be_visible()
    await expect(reply).to_have_count(0)
    assert page.url.endswith(f"#c-{top['id']}"), "at what it answered"


async def test_scripts_mark_what_is_new_and_keep_what_is_typed(
    visitor: Visitor, client: Client, session_sink: SmtpSink, admin: Person, unique: str
) -> None:
    post = await client.publish(admin, title=f"Read twice {unique}")
    first = await client.comment(admin, post["id"], "The first.\n\nWith two passages.")
    page = await visitor(scripts=True)
    path = urlsplit(post["url"]).path
    await page.goto(path)
    await signed_in(page, session_sink, "Rosa", f"rosa.{unique}@example.com")
    await expect(page.locator(".dot")).to_have_count(0)
    second = await client.comment(admin, post["id"], "The second.")
    page = await page.context.new_page()
    await page.goto(path)
    await page.get_by_role("link", name="1 new").click()
    assert page.url.endswith(f"#c-{second['id']}")
    await expect(
        page.locator(f"#c-{second['id']}").get_by_role("link", name="New since your last visit")
    ).to_be_visible()

    area = page.get_by_label("Comment on the post")
    await area.fill("w" * 8_001)
    await expect(page.get_by_text("1,999 characters left")).to_be_visible()
    await area.fill("Not sent yet.")
    await expect(page.get_by_text("characters left")).to_be_hidden()
    await page.reload()
    await expect(area).to_have_value("Not sent yet.")
    await area.press("Control+Enter")
    await expect(page.get_by_role("article", name="Comment by Rosa")).to_contain_text("Not sent yet.")
    await expect(area).to_have_value("")
    await page.reload()
    await expect(area).to_have_value("")

    await page.locator(f"#c-{first['id']} p", has_text="With two passages.").select_text()
    await page.locator(f"#c-{first['id']}").get_by_role("link", name="Quote").click()
    await expect(page.get_by_label("Your reply to Ada Admin")).to_have_value("> With two passages.\n\n")


async def mailed(sink: SmtpSink, email: str, pattern: re.Pattern[str]) -> str:
    """Return what stands in the mail to a new address."""
    await eventually(lambda: sink.to(email), timeout=30)
    found = pattern.search(sink.to(email)[-1].text)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("pause", [0, 5, 30, 80])
async def test_a_sign_in_button_pressed_twice_signs_in(
    visitor: Visitor, session_sink: SmtpSink, unique: str, pause: int
) -> None:
    page, email = await visitor(), f"dot.{pause}.{unique}@example.com"
    await page.goto("/sign-in")
    await page.get_by_label("Name").fill("Dot")
    await page.get_by_label("E-mail address").last.fill(email)
    await page.get_by_role("button", name="Register").click()
    await page.goto(await mailed(session_sink, email, LINK))
    await page.get_by_role("button", name="Sign in").click(click_count=2, delay=pause, no_wait_after=True)
    await expect(page.get_by_text("Signed in as Dot")).to_be_visible()


async def test_the_code_of_a_mail_signs_in(visitor: Visitor, session_sink: SmtpSink, unique: str) -> None:
    page, email = await visitor(), f"eve.{unique}@example.com"
    await page.goto("/sign-in")
    await page.get_by_label("Name").fill("Eve")
    await page.get_by_label("E-mail address").last.fill(email)
    await page.get_by_role("button", name="Register").click()
    code = await mailed(session_sink, email, CODE)
    await page.get_by_label("Code from the newest mail").fill(f"{code[:4]} {code[4:]}")
    await page.get_by_role("button", name="Sign in").dblclick(no_wait_after=True)
    await expect(page.get_by_text("Signed in as Eve")).to_be_visible()


async def test_a_link_leads_back_to_a_front_end_elsewhere(
    visitor: Visitor, client: Client, session_sink: SmtpSink, front_end: str, unique: str
) -> None:
    email, verifier = f"fay.{unique}@example.com", "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    body = {"name": "Fay", "email": email, "return_to": front_end, "challenge": challenge}
    assert (await client.call("POST", "/v1/people", body)).status == 202
    page = await visitor()
    link = await mailed(session_sink, email, LINK)
    assert front_end not in session_sink.to(email)[-1].content.decode()
    await page.goto(link)
    await expect(page.get_by_text(front_end.removesuffix("/signed-in"))).to_be_visible()
    await page.get_by_role("button", name="Sign in").dblclick(no_wait_after=True)
    await expect(page.get_by_role("heading", name="Welcome back")).to_be_visible()
    address, _, code = page.url.partition("#code=")
    assert address == front_end
    session = await client.call("POST", "/v1/sessions", {"code": code, "verifier": verifier})
    assert (session.status, session.json["person"]["email"]) == (201, email)
    assert (await client.call("POST", "/v1/sessions", {"code": code, "verifier": verifier})).status == 401


async def test_a_refused_comment_stays_in_the_form(
    visitor: Visitor, client: Client, session_sink: SmtpSink, admin: Person, unique: str
) -> None:
    post = await client.publish(admin, title=f"Closed meanwhile {unique}")
    page = await visitor()
    await page.goto(urlsplit(post["url"]).path)
    await signed_in(page, session_sink, "Cleo", f"cleo.{unique}@example.com")
    await page.get_by_label("Comment on the post").fill("   ")
    await page.get_by_role("button", name="Comment").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.get_by_label("Comment on the post").fill("Now with words.")
    await page.get_by_role("button", name="Comment").click()
    await expect(page.get_by_role("article").filter(has_text="Now with words.").last).to_be_visible()


async def in_view(page: Page) -> bool:
    """Return whether the sentence of a refused form is on the screen, and its text area has the focus."""
    box = await page.get_by_role("alert").bounding_box()
    size = page.viewport_size
    await expect(page.get_by_role("textbox")).to_be_focused()
    return box is not None and size is not None and 0 <= box["y"] <= size["height"]


async def test_a_text_survives_signing_in(
    visitor: Visitor, client: Client, session_sink: SmtpSink, admin: Person, unique: str
) -> None:
    post = await client.publish(admin, title=f"Written while signed out {unique}")
    top = await client.comment(admin, post["id"], "A question?")
    email = f"dora.{unique}@example.com"
    page = await visitor()
    await page.goto(urlsplit(post["url"]).path)
    await signed_in(page, session_sink, "Dora", email)
    await page.get_by_role("link", name="Reply to Ada Admin").click()
    await expect(page.get_by_label("Your reply")).to_be_focused()
    text = f"First line {unique}\n\n    indented, and *more*: ü & <b>"
    await page.get_by_label("Your reply").fill(text)
    await page.context.clear_cookies()
    await page.get_by_role("button", name="Reply").click()
    await expect(page.get_by_role("alert")).to_contain_text("You are not signed in")
    await expect(page.get_by_label("Your reply")).to_have_value(text)
    assert await in_view(page)

    async with page.context.expect_page() as opening:
        await page.get_by_role("link", name="Sign in in a new tab").click()
    tab = await opening.value
    await registered(tab, session_sink, "Dora", email)
    await expect(tab.get_by_label("Your reply")).to_have_value(text)
    await expect(tab.get_by_role("article").filter(has_text="A question?").last).to_be_visible()

    for sender in (page, tab):  # in the tab that waited, and where signing in led: it is one reply
        await sender.get_by_role("button", name="Reply", exact=True).click()
        await expect(sender.get_by_role("article").filter(has_text=f"First line {unique}").last).to_be_visible()
    replies = (await client.call("GET", f"/v1/comments/{top['id']}")).json["replies"]["items"]
    assert len(replies) == 1


async def test_a_refused_form_stands_in_view_with_the_focus(
    visitor: Visitor, client: Client, session_sink: SmtpSink, admin: Person, unique: str
) -> None:
    post = await client.publish(admin, title=f"A long discussion {unique}")
    for number in range(30):
        await client.comment(admin, post["id"], f"No. {number}")
    page = await visitor()
    await page.goto(urlsplit(post["url"]).path)
    await signed_in(page, session_sink, "Eve", f"eve.{unique}@example.com")
    for key in ("Tab", "Tab", "Enter"):  # past the way to the text, along the way to the form
        await page.keyboard.press(key)
    await expect(page.get_by_label("Comment on the post")).to_be_focused()
    for width in (360, 1280):
        await page.set_viewport_size({"width": width, "height": 640})
        text = f"{unique} " * 1_200
        await page.get_by_label("Comment on the post").fill(text)
        await page.get_by_role("button", name="Comment").click()
        await expect(page).to_have_title(re.compile("^Error: "))
        await expect(page.get_by_role("alert")).to_have_text("The text must have at most 10,000 characters.")
        await expect(page.get_by_label("Comment on the post")).to_have_value(text)
        assert await in_view(page)


BEAN: FilePayload = {"name": "bean.png", "mimeType": "image/png", "buffer": plain()}


async def test_an_author_writes_publishes_edits_and_withdraws(
    visitor: Visitor, client: Client, session_sink: SmtpSink, admin: Person, stack: Stack, unique: str
) -> None:
    email = f"wanda.{unique}@example.com"
    await client.sign_in("Wanda", email)
    assert (await rapport(stack, "person", "grant", email, "author")).status == 0
    page = await visitor()
    await page.goto("/write")
    await page.get_by_role("link", name="Sign in").last.click()
    await came_back(page, session_sink, email)
    await expect(page.get_by_role("heading", name="Write")).to_be_visible()  # where they came from
    await writes_with_a_picture(page, unique)
    address = await publishes(page, client, unique)
    await edits_what_was_changed_elsewhere(page, client, admin, address)
    await takes_a_former_text_away(page, client, address)
    address = await renames(page, client, address)
    await page.get_by_role("link", name="Edit this post").click()
    await page.get_by_role("button", name="Withdraw the post").click()
    assert (await client.call("GET", address)).status == 404
    await page.get_by_role("link", name="What you wrote").click()
    await page.get_by_role("link", name="Withdrawn").click()
    await expect(page.get_by_role("link", name=f"Beans {unique}", exact=True)).to_be_visible()


async def writes_with_a_picture(page: Page, unique: str) -> None:
    await page.get_by_label("Title", exact=True).fill(f"Beans {unique}")
    await page.get_by_label("Text", exact=True).fill("Sow *them* in May.")
    await page.get_by_role("button", name="Preview").click()
    await expect(page.locator("em", has_text="them")).to_be_visible()
    await page.get_by_label("File (PNG").set_input_files(BEAN)
    await page.get_by_label("What does it show?").fill("A [brown] bean")
    await page.get_by_role("button", name="Put it into the text").click()
    await expect(page.get_by_label("Text", exact=True)).to_have_value(
        re.compile(r"^Sow \*them\* in May\.\n\n!\[A \\\[brown\\\] bean\]\(http.*/images/[0-9a-f-]{36}\.webp\)\n$")
    )
    await page.get_by_text("Address, tags, summary").click()
    await page.get_by_label("Address").fill("Not A Slug")
    await page.get_by_label("Tags").fill(f"Beans{unique}, May")
    await page.get_by_role("radio", name="Picture 1 of the text").check()
    await page.get_by_role("button", name="Save as a draft").click()
    await expect(page).to_have_title(re.compile("^Error: "))
    await expect(page.get_by_label("Address")).to_be_focused()
    await page.get_by_label("Address").fill(f"beans-{unique}")
    await page.get_by_role("button", name="Save as a draft").click()
    await page.get_by_role("link", name="See it as it will look").click()
    await expect(page.get_by_alt_text("A [brown] bean", exact=True)).to_be_visible()


async def publishes(page: Page, client: Client, unique: str) -> str:
    """Publish the draft on the page by way of a time that is taken back; return its address."""
    await page.get_by_role("link", name="Edit this post").click()
    await page.get_by_text("Publish later").click()
    year = datetime.now(UTC).year + 1
    await page.get_by_label("Publish it at").fill(f"{year}-05-01T09:30")
    await page.get_by_role("button", name="Publish at this time").click()
    await expect(page.get_by_text(f"1 May {year}, 09:30 UTC")).to_be_visible()
    await page.get_by_role("link", name="What you wrote").click()
    await page.get_by_role("link", name="Scheduled").click()
    await expect(page.get_by_text(f"1 May {year}, 09:30 UTC")).to_be_visible()
    await page.get_by_role("link", name=re.compile(f"^Edit .*Beans {unique}")).click()
    await page.get_by_role("button", name="Make it a draft again").click()
    await page.get_by_role("button", name="Publish now").click()
    await expect(page.get_by_role("heading", name=f"Beans {unique}")).to_be_visible()
    address = urlsplit(page.url).path
    assert address == f"/posts/beans-{unique}"
    published = (await client.call("GET", f"/v1{address}")).json
    assert published["tags"] == [f"Beans{unique}", "May"]
    assert published["cover_url"] in published["body"]
    return address


async def edits_what_was_changed_elsewhere(page: Page, client: Client, admin: Person, address: str) -> None:
    await page.get_by_role("link", name="Edit this post").click()
    elsewhere = await client.call("PATCH", f"/v1{address}", {"body": "Sow them in April."}, who=admin)
    assert elsewhere.status == 200, elsewhere.body
    await page.get_by_label("Text", exact=True).fill("Sow *them* in June.")
    await page.get_by_label("What did you change?").fill("the month")
    await page.get_by_role("button", name="Publish the change").click()
    await expect(page.get_by_label("The text that is stored now")).to_have_value("Sow them in April.")
    await page.get_by_role("button", name="Store mine instead").click()
    await expect(page.get_by_text("the month")).to_be_visible()
    await expect(page.get_by_text("in June")).to_be_visible()


async def takes_a_former_text_away(page: Page, client: Client, address: str) -> None:
    await page.get_by_role("link", name="Edited").click()
    await expect(page.locator("del", has_text="April")).to_be_visible()
    await expect(page.locator("ins", has_text="June")).to_be_visible()
    await page.get_by_text("Take it away").first.click()
    await page.get_by_role("button", name="Delete the text of revision 2").click()
    await expect(page.get_by_text("This text was taken away.")).to_be_visible()
    assert b"April" not in (await client.call("GET", f"{address}/changes")).body
    await page.goto(address)


async def renames(page: Page, client: Client, address: str) -> str:
    """Give the post on the page another address; return it. The former one leads there."""
    await page.get_by_role("link", name="Edit this post").click()
    await page.get_by_text("Address, tags, summary").click()
    await page.get_by_label("Address").fill(f"renamed-{address.rpartition('/')[2]}")
    await page.get_by_role("button", name="Publish the change").click()
    await expect(page.get_by_role("link", name="Edit this post")).to_be_visible()
    renamed = urlsplit(page.url).path
    assert renamed == address.replace("/posts/", "/posts/renamed-")
    led = await client.call("GET", address)
    assert (led.status, urlsplit(led.headers["Location"]).path) == (301, renamed)
    await page.goto(address)
    assert urlsplit(page.url).path == renamed
    return renamed


async def test_who_named_the_site_writes_schedules_edits_and_renames(
    visitor: Visitor, client: Client, session_sink: SmtpSink, admin: Person, unique: str
) -> None:
    """With JavaScript, and by a clock that is not universal time's."""
    page = await visitor(scripts=True, zone="Asia/Kathmandu")
    await page.goto("/")
    head = page.get_by_role("banner")
    await expect(page).to_have_title(f"{NAME} · {TAGLINE}")
    await expect(head.get_by_role("link", name=NAME, exact=True)).to_be_visible()
    await expect(head.get_by_text(TAGLINE)).to_be_visible()
    await head.get_by_role("link", name="Sign in").click()
    mail = await came_back(page, session_sink, admin.email)
    assert mail["Subject"] == f"Sign in to {NAME}"
    assert mail["From"].addresses[0].display_name == NAME
    await head.get_by_role("link", name="Write", exact=True).click()
    await writes_what_is_stored_by_itself(page, unique)
    await schedules(page, client, unique)
    await edits_after_leaving(page, unique)
    await renames(page, client, f"/posts/peas-{unique}")
    await deletes_a_draft(page, unique)
    await writes_a_page(page, unique)


async def writes_what_is_stored_by_itself(page: Page, unique: str) -> None:
    text = page.get_by_label("Text", exact=True)
    await page.get_by_label("Title", exact=True).fill(f"Peas {unique}")
    await text.fill("Sow *peas* first.\n\n")
    await page.get_by_label("File (PNG").set_input_files(BEAN)
    await page.get_by_label("What does it show?").fill("A green pea")
    await page.keyboard.press("Enter")
    await expect(text).to_have_value(re.compile(r"\n\n!\[A green pea\]\(http.*\.webp\)\n\n$"))
    await expect(page.locator("#save-state")).to_contain_text("Saved as a draft")
    assert urlsplit(page.url).path == f"/posts/peas-{unique}/edit"
    await page.get_by_role("tab", name="Preview").click()
    await expect(page.get_by_role("tabpanel").get_by_alt_text("A green pea")).to_be_visible()
    await expect(page.locator("em", has_text="peas")).to_be_visible()
    await page.keyboard.press("ArrowLeft")
    await text.fill("x" * 50_000)
    await expect(page.get_by_text("10,000 characters left")).to_be_visible()
    await text.fill("Sow peas in April.")
    await text.press("Control+Enter")
    await expect(page.get_by_text("Saved. Only you and admins see it.")).to_be_visible()


async def schedules(page: Page, client: Client, unique: str) -> None:
    """Schedule the draft on the page, find it in the list, take it back, schedule it again and publish it now."""
    year, title = datetime.now(UTC).year + 1, f"Peas {unique}"
    shown = re.compile(rf"It is published by itself:\s+May 1, {year} at 9:30\sAM")

    async def schedule() -> None:
        await page.get_by_text("Publish later").click()
        await page.get_by_label("Publish it at").fill(f"{year}-05-01T09:30")
        await page.get_by_role("button", name="Publish at this time").click()
        await expect(page.get_by_role("status").filter(has_text=shown)).to_be_visible()
        await expect(page.get_by_label("Publish it at")).to_have_value(f"{year}-05-01T09:30")

    async def listed(status: str) -> Locator:
        await page.get_by_role("link", name="What you wrote").click()
        await page.get_by_role("link", name=status).click()
        return page.get_by_role("article").filter(has=page.get_by_role("link", name=title, exact=True))

    await schedule()
    waiting = await listed("Scheduled")
    await expect(waiting).to_contain_text(f"1 May {year}, 03:45 UTC")
    assert (await client.call("GET", f"/v1/posts/peas-{unique}")).status == 404
    await waiting.get_by_role("link", name=re.compile("^Edit ")).click()
    await page.get_by_role("button", name="Make it a draft again").click()
    await expect(page.get_by_text("It is a draft again")).to_be_visible()
    await expect(await listed("Scheduled")).to_have_count(0)
    await page.get_by_role("link", name="Drafts").click()
    await waiting.get_by_role("link", name=re.compile("^Edit ")).click()
    await schedule()
    await page.get_by_role("button", name="Publish now").click()
    await expect(page).to_have_title(f"{title} · {NAME}")
    assert (await client.call("GET", f"/v1/posts/peas-{unique}")).json["status"] == "published"
    await page.goto("/me/posts?status=scheduled")
    await expect(waiting).to_have_count(0)
    await page.goto(f"/posts/peas-{unique}")


async def edits_after_leaving(page: Page, unique: str) -> None:
    """Edit the post on the page with a note: the form is left, and found again; readers see note and difference."""
    text, note = page.get_by_label("Text", exact=True), page.get_by_label("What did you change?")
    await page.get_by_role("link", name="Edit this post").click()
    await text.fill("Sow peas in March.")
    await note.fill("the month")
    questions: list[str] = []

    async def leave(dialog: Dialog) -> None:
        questions.append(dialog.type)
        await dialog.accept()

    page.on("dialog", leave)
    await page.goto("/")
    assert questions == ["beforeunload"]
    await page.goto(f"/posts/peas-{unique}/edit")
    await page.get_by_role("button", name="Go on with it").click()
    await expect(text).to_have_value("Sow peas in March.")
    await expect(note).to_have_value("the month")
    await page.get_by_role("button", name="Publish the change").click()
    await expect(page.locator(".text", has_text="Sow peas in March.")).to_be_visible()
    assert questions == ["beforeunload"]
    edited = page.locator(".edit")
    await expect(edited).to_have_text(re.compile(r"^Edited .+: the month$"))
    await edited.get_by_role("link").click()
    changes = page.get_by_role("region", name="From revision 1 to revision 2")
    await expect(changes).to_contain_text("the month")
    await expect(changes.locator("del")).to_contain_text("April")
    await expect(changes.locator("ins")).to_contain_text("March")
    await page.get_by_role("link", name="Back to the post").click()


async def deletes_a_draft(page: Page, unique: str) -> None:
    await page.goto("/write")
    await page.get_by_label("Title", exact=True).fill(f"Weeds {unique}")
    await page.get_by_label("Text", exact=True).fill("No.")
    await page.get_by_role("button", name="Save as a draft").click()
    await page.get_by_role("link", name="Delete the draft").click()
    await page.get_by_role("button", name="Delete it").click()
    await expect(page.get_by_text("The draft is deleted.")).to_be_visible()
    await expect(page.get_by_role("link", name=f"Weeds {unique}")).to_have_count(0)


async def writes_a_page(page: Page, unique: str) -> None:
    """Write a page of the site's head, in a browser that keeps nothing any more: all that was written is stored."""
    await page.goto("/write")
    await expect(page.get_by_role("button", name="Go on with it")).to_be_hidden()
    await page.get_by_role("link", name="Write a page instead").click()
    await page.get_by_label("Title", exact=True).fill(f"About {unique}")
    await page.get_by_label("Text", exact=True).fill("Who writes here.")
    await page.get_by_role("button", name="Publish now").click()
    await expect(
        page.get_by_role("navigation", name="Site").get_by_role("link", name=f"About {unique}")
    ).to_be_visible()


async def found_waiting(page: Page, text: str) -> Locator:
    """Return the entry of what waits that has this text, wherever in the list: other tests let comments wait too."""
    await page.goto("/moderate")
    entry = page.locator(".desk-list article", has_text=text)
    for _ in range(20):
        if await entry.count():
            return entry
        await page.get_by_role("link", name="More", exact=True).click()
    raise AssertionError(f"nothing waits that says {text}")


async def test_a_moderator_hears_decides_takes_back_and_stops_the_mail(
    visitor: Visitor, client: Client, session_sink: SmtpSink, stack: Stack, admin: Person, unique: str
) -> None:
    email = f"mo.{unique}@example.com"
    await client.sign_in("Mo", email)
    assert (await rapport(stack, "person", "grant", email, "moderator")).status == 0
    post = await client.publish(admin, title=f"Waiting {unique}", discussion="held")
    ben = await client.sign_in("Ben", f"ben.{unique}@example.com")
    good, bad = [(await client.comment(ben, post["id"], f"{text} {unique}"))["id"] for text in ("Good", "Bad")]
    page, path = await visitor(), urlsplit(post["url"]).path

    def told() -> list[str]:
        return [mail.text for mail in session_sink.to(email) if "moderation." in (mail.message["List-Id"] or "")]

    await eventually(lambda: any(good in text for text in told()), timeout=30)
    assert f"{path}?comment={bad}" in told()[-1]
    assert f"Good {unique}" not in told()[-1]
    assert {mail.message["From"].addresses[0].display_name for mail in session_sink.to(email)} == {NAME}
    await page.goto("/sign-in")
    await came_back(page, session_sink, email)

    # without a script: one by its button, taken back, decided again, and found in the other list
    entry = await found_waiting(page, f"Good {unique}")
    await entry.get_by_role("link", name="What is around it").click()
    await expect(page.locator("#around")).to_contain_text(f"Waiting {unique}")
    await entry.get_by_role("button", name="Approve").click()
    await expect(page.get_by_text("1 comment was approved.")).to_be_visible()
    assert (await client.call("GET", f"/v1/comments/{good}")).status == 200
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_text("was taken back")).to_be_visible()
    assert (await client.call("GET", f"/v1/comments/{good}")).status == 404
    entry = await found_waiting(page, f"Bad {unique}")
    await entry.get_by_role("button", name="Reject").click()
    await page.get_by_role("button", name="Undo").click()  # waits again: nobody has seen it
    assert (await client.call("GET", f"/v1/comments/{bad}", who=ben)).json["state"] == "held"
    entry = await found_waiting(page, f"Bad {unique}")
    await entry.get_by_role("checkbox").check()
    await page.locator(".all").get_by_role("button", name="Reject").click()
    await expect(page.get_by_text("1 comment was rejected.")).to_be_visible()
    await page.get_by_role("link", name="Rejected").click()
    await expect(page.locator(".desk-list article", has_text=f"Bad {unique}")).to_be_visible()

    # where it stands in the discussion
    await page.goto(f"{path}?comment={good}")
    in_place = page.locator(f"#c-{good}")
    await in_place.get_by_role("button", name="Approve").click()
    await expect(page.get_by_text("1 comment was approved.")).to_be_visible()
    await in_place.get_by_role("button", name="Hold").click()
    await expect(in_place.get_by_text("waits for approval")).to_be_visible()
    await page.get_by_role("button", name="Undo").click()
    await expect(in_place.get_by_role("button", name="Hold")).to_be_visible()
    await in_place.get_by_role("button", name="Hold").click()

    # with the keys of the script
    keyed = await visitor(True, state=await page.context.storage_state())
    entry = await found_waiting(keyed, f"Good {unique}")
    for _ in range(20):
        if await entry.get_attribute("aria-current"):
            break
        await keyed.keyboard.press("j")
    await expect(keyed.locator("#around")).to_contain_text(f"Good {unique}")
    await keyed.keyboard.press("a")
    await expect(keyed.get_by_text("1 comment was approved.")).to_be_visible()
    await keyed.keyboard.press("u")
    await expect(keyed.get_by_text("was taken back")).to_be_visible()
    await keyed.get_by_label("Keys").uncheck()
    await keyed.keyboard.press("r")
    assert (await client.call("GET", f"/v1/comments/{good}", who=ben)).json["state"] == "held"
    entry = await found_waiting(keyed, f"Good {unique}")
    await entry.get_by_role("button", name="Reject").click()
    await expect(keyed.get_by_text("1 comment was rejected.")).to_be_visible()
    assert (await client.call("GET", f"/v1/comments/{good}", who=admin)).json["state"] == "removed"

    # the link of the mail stops these mails alone, and can be taken back
    link = re.search(r"https?://\S+/unsubscribe/\S+", told()[-1])
    assert link is not None
    await page.goto(link[0])
    await page.get_by_role("button", name="Unsubscribe").click()
    await expect(page.get_by_text("No more mail tells you")).to_be_visible()
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_label("Every hour at most")).to_be_checked()
    await page.goto("/me/mail")
    await expect(page.get_by_label("All that concern me")).to_be_checked()
