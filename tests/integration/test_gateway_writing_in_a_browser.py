"""What the form of a post does by itself, in a browser over fake services: nothing typed is lost, or stored twice."""

from collections.abc import AsyncIterator
from shutil import which
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Request, Route, async_playwright, expect

from services.chassis.errors import Problem, invalid
from tests.integration.gateway_harness import ID, POST, SLUG, GatewayHarness, NewHarness
from tests.unit.gateway_fakes import Call, answered
from tests.waiting import eventually

CHROMIUM = which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")

PAUSE, BETWEEN = 2_100, 10_100  # milliseconds, after which a draft is stored, and stored again
LATER = 15_100  # after which it is tried again
DRAFT = POST | {"status": "draft", "published_at": None}
IMAGE = "01936f6e-0000-7000-8000-0000000000aa"
# a file as it is dropped on the text, or pasted into it
CARRY = """([kind, type]) => {
  const carried = new DataTransfer();
  carried.items.add(new File([new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10, 0])], 'bean.png', {type}));
  const body = document.getElementById('body');
  const options = {bubbles: true, cancelable: true, dataTransfer: carried, clipboardData: carried};
  body.dispatchEvent(kind === 'drop' ? new DragEvent('drop', options) : new ClipboardEvent('paste', options));
}"""


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    made = await new_harness()
    made.services.posts.on("POST", "/posts", lambda _: answered(DRAFT, 201))
    made.services.posts.on("PATCH", f"/posts/{ID}", lambda _: answered(DRAFT | {"version": 4}))
    made.services.posts.on("POST", "/images", lambda _: answered({"id": IMAGE, "width": 4, "height": 3}, 201))
    made.services.posts.on("GET", f"/images/{IMAGE}", Problem("not-found"))
    return made


class Lossy:
    """Brings the browser's requests to the gateway, and loses as many answers to drafts as it is told."""

    def __init__(self, harness: GatewayHarness) -> None:
        self.harness, self.to_lose = harness, 0

    async def bring(self, route: Route) -> None:
        request: Request = route.request
        url = urlsplit(request.url)
        headers = {
            name: request.headers[name]
            for name in ("accept", "content-type", "idempotency-key")
            if name in request.headers
        }
        reply = await self.harness.http.request(
            request.method,
            url.path + ("?" + url.query if url.query else ""),
            headers=headers | self.harness.anna,
            content=request.post_data_buffer,
        )
        if self.to_lose and b"step=autosave" in (request.post_data_buffer or b""):
            self.to_lose -= 1
            await route.abort()
            return
        await route.fulfill(status=reply.status_code, headers=dict(reply.headers), body=reply.content)


@pytest.fixture
async def line(harness: GatewayHarness) -> Lossy:
    return Lossy(harness)


@pytest.fixture
async def page(browser: Browser, line: Lossy) -> AsyncIterator[Page]:
    """A window whose clock the test moves."""
    context = await browser.new_context(base_url="http://rapport.test")
    page = await context.new_page()
    await page.clock.install()
    await page.route("**/*", line.bring)
    page.on("dialog", lambda dialog: dialog.accept())
    yield page
    await context.close()


def writes(harness: GatewayHarness) -> list[Call]:
    return [call for call in harness.services.posts.calls if call.method in ("POST", "PATCH")]


async def passes(page: Page, milliseconds: int) -> None:
    await page.clock.run_for(milliseconds)


async def test_a_draft_whose_answer_was_lost_is_sent_again_as_it_was(
    page: Page, harness: GatewayHarness, line: Lossy
) -> None:
    line.to_lose = 1
    harness.services.posts.on("GET", f"/posts/{ID}", DRAFT)
    await page.goto("/write")
    await page.fill("#title", "Beans")
    await page.fill("#body", "Sow them.")
    await passes(page, PAUSE)
    await expect(page.locator("#save-state")).to_contain_text("cannot be reached")
    await page.fill("#body", "Sow them in May.")
    await passes(page, PAUSE)
    await expect(page.locator("#save-state")).to_contain_text("Saved as a draft")
    await passes(page, BETWEEN)
    await eventually(lambda: len(writes(harness)) == 3)
    first, second, third = writes(harness)
    assert (first.body, first.headers) == (second.body, second.headers)
    assert first.body["body"] == "Sow them."
    assert (third.method, third.path, third.body["body"]) == ("PATCH", f"/posts/{ID}", "Sow them in May.")
    assert third.headers["If-Match"] == f'"{DRAFT["version"]}-form"'
    assert urlsplit(page.url).path == f"/posts/{SLUG}/edit"


async def test_what_readers_see_is_kept_in_the_browser_alone(page: Page, harness: GatewayHarness) -> None:
    await page.goto(f"/posts/{SLUG}/edit")
    await page.fill("#body", "Half a sent")
    await passes(page, 4 * BETWEEN)
    assert writes(harness) == []
    await page.goto("/me/posts?status=published")  # a question is asked, and answered
    await page.goto(f"/posts/{SLUG}/edit")
    await expect(page.locator("#body")).to_have_value("Some *text*.")
    await page.get_by_role("button", name="Go on with it").click()
    await expect(page.locator("#body")).to_have_value("Half a sent")
    await passes(page, PAUSE)
    await page.reload()
    await page.get_by_role("button", name="Throw it away").click()
    await page.reload()
    await expect(page.locator("#title")).to_have_value(POST["title"])
    await expect(page.locator("#kept")).to_be_hidden()


@pytest.mark.parametrize(
    ("problem", "says"),
    [(Problem("stale"), "changed meanwhile"), (Problem("forbidden", "You are no author."), "You are no author.")],
)
async def test_a_refusal_that_stays_is_not_tried_again(
    page: Page, harness: GatewayHarness, problem: Problem, says: str
) -> None:
    for ref in (ID, SLUG):
        harness.services.posts.on("GET", f"/posts/{ref}", DRAFT)
    harness.services.posts.on("PATCH", f"/posts/{ID}", problem)
    await page.goto(f"/posts/{SLUG}/edit")
    await page.fill("#body", "Mine.")
    await passes(page, PAUSE)
    await expect(page.locator("#save-state")).to_contain_text(says)
    await page.fill("#body", "Mine, and more.")
    await passes(page, 2 * BETWEEN)
    assert len(writes(harness)) == 1


async def test_what_is_still_being_stored_is_sent_again_as_it_was(page: Page, harness: GatewayHarness) -> None:
    for ref in (ID, SLUG):
        harness.services.posts.on("GET", f"/posts/{ref}", DRAFT)
    harness.services.posts.on("PATCH", f"/posts/{ID}", Problem("still-running", headers={"Retry-After": "1"}))
    await page.goto(f"/posts/{SLUG}/edit")
    await page.fill("#body", "Mine.")
    await passes(page, PAUSE)
    await expect(page.locator("#save-state")).to_contain_text("still being worked on")
    harness.services.posts.on("PATCH", f"/posts/{ID}", lambda _: answered(DRAFT | {"version": 4, "body": "Mine."}))
    await passes(page, LATER)
    await expect(page.locator("#save-state")).to_contain_text("Saved as a draft")
    first, second = writes(harness)
    assert (first.body, first.headers) == (second.body, second.headers)


async def test_a_comment_that_was_sent_is_not_kept_again_when_its_page_is_left(page: Page) -> None:
    await page.goto(f"/posts/{SLUG}")
    await page.fill("#reply", "Beans.")
    await page.evaluate("document.querySelector('form.compose').addEventListener('submit', (e) => e.preventDefault())")
    await page.get_by_role("button", name="Comment", exact=True).click()
    drafts = "Object.keys(JSON.parse(localStorage.getItem('rapport.drafts'))).length"
    assert await page.evaluate(drafts) == 1
    # Its answer forgets the draft; then somebody goes back to this page, as it was, and leaves it once more.
    await page.evaluate("localStorage.setItem('rapport.drafts', '{}'); dispatchEvent(new Event('pagehide'))")
    assert await page.evaluate(drafts) == 0
    await page.fill("#reply", "Peas.")
    await page.evaluate("dispatchEvent(new Event('pagehide'))")
    assert await page.evaluate(drafts) == 1


async def test_an_address_follows_the_title_until_it_is_taken(page: Page, harness: GatewayHarness) -> None:
    for ref in (ID, SLUG):
        harness.services.posts.on("GET", f"/posts/{ref}", DRAFT)
    await page.goto("/write")
    await page.fill("#title", "Be")
    await page.fill("#body", "Sow them.")
    await passes(page, PAUSE)
    await expect(page.locator("#save-state")).to_contain_text("Saved as a draft")
    taken = iter((invalid("slug", "is taken by another post"), answered(DRAFT | {"version": 4})))
    harness.services.posts.on("PATCH", f"/posts/{ID}", lambda _: next(taken))
    await page.fill("#title", "Über Bohnen!")
    await page.locator("#title").blur()
    await eventually(lambda: len(writes(harness)) == 3)
    assert [call.body.get("slug") for call in writes(harness)] == [None, "über-bohnen", None]


@pytest.mark.parametrize("kind", ["drop", "paste"])
async def test_a_picture_goes_where_the_cursor_is(page: Page, harness: GatewayHarness, kind: str) -> None:
    await page.goto(f"/posts/{SLUG}/edit")
    await page.locator("#body").evaluate("body => body.setSelectionRange(5, 5)")
    await page.evaluate(CARRY, [kind, "image/png"])
    await page.get_by_label("What does it show?").fill("A [bean]")
    url = f"http://rapport.test/images/{IMAGE}.webp"
    await expect(page.locator("#body")).to_have_value(f"Some \n\n![A \\[bean\\]]({url})\n\n*text*.")
    await expect(page.locator(f'[name="cover"][value="{IMAGE}"]')).to_have_count(1)
    harness.services.posts.on("POST", "/images", invalid("", "is too wide"))
    await page.evaluate(CARRY, [kind, "image/png"])
    await expect(page.get_by_role("alert")).to_contain_text("bean.png could not be uploaded: The picture is too wide.")
    await page.evaluate(CARRY, ["drop", "image/svg+xml"])
    await expect(page.get_by_role("alert").last).to_contain_text("is no PNG, JPEG, WebP or GIF file")
    assert "…" not in await page.locator("#body").input_value()  # nothing of what was not stored is left


async def test_a_time_is_by_the_clock_of_who_writes(browser: Browser, harness: GatewayHarness, line: Lossy) -> None:
    context = await browser.new_context(base_url="http://rapport.test", timezone_id="Asia/Kathmandu")
    page = await context.new_page()
    await page.route("**/*", line.bring)
    scheduled = DRAFT | {"status": "scheduled", "publish_at": "2027-01-31T09:00:00.000Z"}
    for ref in (ID, SLUG):
        harness.services.posts.on("GET", f"/posts/{ref}", scheduled)
    await page.goto(f"/posts/{SLUG}/edit")
    await expect(page.locator("#publish_at")).to_have_value("2027-01-31T14:45")
    await expect(page.locator("#zone")).to_contain_text("Nepal Time")
    await page.fill("#publish_at", "2027-02-01T00:15")
    await page.get_by_role("button", name="Change the time").click()
    await eventually(lambda: writes(harness))
    assert writes(harness)[0].body["publish_at"] == "2027-01-31T18:30:00Z"
    await context.close()
