"""A long discussion: its first page is small, its form is near, and every comment is reached by pages alone."""

import html
import random
import re
from datetime import UTC, datetime, timedelta
from shutil import which
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest
from playwright.async_api import async_playwright

from services.chassis.ids import id_at
from tests.client import Client, Person
from tests.smtp_sink import SmtpSink
from tests.stack import Stack
from tests.waiting import eventually

CHROMIUM = which("chromium")
SIZES = [300, pytest.param(5_000, marks=pytest.mark.chaos)]
LARGEST_PAGE = 100_000  # bytes before compression
MOST_TABS = 40
DEEPEST = 60
TEXT = ("Letters take their time, and so do those who answer them. " * 6)[:300]
ARTICLE = re.compile(r'<article id="c-([0-9a-f-]{36})"')
TOO_SMALL = """() => [...document.querySelectorAll("#comments :is(.actions, .pager, .thread-head) :is(a, button)")]
  .filter((one) => one.checkVisibility() && Math.min(one.offsetWidth, one.offsetHeight) < 24)
  .map((one) => `${one.textContent} ${one.offsetWidth} × ${one.offsetHeight}`)"""
LINK = re.compile(r'<a (?:rel="\w+" )?href="([^"]*[?&;](?:page|comments|replies|sort)=[^"]*)"')


async def grow(stack: Stack, post_id: str, authors: list[str], size: int) -> set[str]:
    """Put a branched thread below a post, as its service would have stored it; return the ids."""
    rng, paths, rows = random.Random(size), list[bytes](), []
    for number in range(size):
        comment_id = id_at(datetime.now(UTC) - timedelta(days=9) + timedelta(seconds=number))
        # A chain that is deeper than a page, then replies to about seven in ten comments.
        above = paths[-1] if 1 <= number < DEEPEST else rng.choice(paths) if paths and rng.random() < 0.7 else b""
        parent = UUID(bytes=above[-16:]) if above else None
        paths.append(above + comment_id.bytes)
        author = UUID(authors[number % len(authors)])
        rows.append(
            (comment_id, UUID(post_id), parent, parent or UUID(post_id), paths[-1], len(above) // 16, author, TEXT)
        )
    connection = await asyncpg.connect(stack.database_urls["comments"])
    try:
        await connection.executemany(
            "insert into comments (id, post_id, parent_id, list_id, path, depth, author_id, body, format, body_html,"
            " renderer_version, state, created_at, shown, answered_revision) values ($1, $2, $3, $4, $5, $6, $7, $8,"
            " 'markdown', '<p>' || $8 || '</p>', 1, 'visible', now(), true, 1)",
            rows,
        )
        await connection.execute(
            "update comments set reply_count = n, shown_replies = n, all_replies = n from (select parent_id,"
            " count(*) as n from comments where post_id = $1 group by parent_id) as below where below.parent_id = id",
            UUID(post_id),
        )
        await connection.execute("update discussions set visible_count = $2 where post_id = $1", UUID(post_id), size)
    finally:
        await connection.close()
    return {str(row[0]) for row in rows}


@pytest.mark.parametrize("size", SIZES)
async def test_every_comment_is_reached_by_following_pages(
    stack: Stack, client: Client, admin: Person, anna: Person, size: int, unique: str
) -> None:
    post = await client.publish(admin, title=f"A long discussion {unique}")
    expected = await grow(stack, post["id"], [admin.id, anna.id], size)
    edit = {"body": "Some other text.", "edit_note": "So that all comments are about an earlier version."}
    assert (await client.call("PATCH", f"/v1/posts/{post['id']}", edit, who=admin)).status == 200
    path = urlsplit(post["url"]).path
    found, seen, waiting = set[str](), {path}, [path]
    while waiting:
        answer = await client.call("GET", waiting.pop())
        page = answer.body.decode()
        assert answer.status == 200
        assert len(answer.body) <= LARGEST_PAGE, f"{len(answer.body)} bytes"
        found.update(ARTICLE.findall(page))
        for link in LINK.findall(page):
            assert link.startswith("?"), link
            address = path + html.unescape(link).partition("#")[0]
            if address not in seen:
                seen.add(address)
                waiting.append(address)
    assert found == expected
    assert f"{size:,} comments" in page


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")
@pytest.mark.chaos  # of a short one it is a part of the journey in test_browser.py
async def test_the_form_is_near_and_the_first_page_is_small(
    stack: Stack, client: Client, admin: Person, session_sink: SmtpSink, unique: str
) -> None:
    post = await client.publish(admin, title=f"A long discussion {unique}")
    email = f"tab.{unique}@example.com"
    await client.sign_in("Tabea", email)
    await grow(stack, post["id"], [admin.id], 5_000)
    edit = {"body": "Some other text.", "edit_note": "So that all comments are about an earlier version."}
    assert (await client.call("PATCH", f"/v1/posts/{post['id']}", edit, who=admin)).status == 200
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(java_script_enabled=False, base_url=stack.url)
        page = await context.new_page()
        before = len(session_sink.to(email))
        await page.goto("/sign-in")
        await page.get_by_label("E-mail address").first.fill(email)
        await page.get_by_role("button", name="Send me a link").click()
        await eventually(lambda: len(session_sink.to(email)) > before, timeout=30)
        sign_in = re.search(r"/sign-in/[A-Za-z0-9_-]+", session_sink.to(email)[-1].text)
        assert sign_in is not None
        await page.goto(sign_in[0])
        await page.get_by_role("button", name="Sign in").click()
        answer = await page.goto(urlsplit(post["url"]).path)
        assert answer is not None
        size_in_bytes = len(await answer.body())
        form, presses = page.get_by_label("Comment on the post"), 0
        while presses < MOST_TABS and await page.locator("textarea:focus").count() == 0:
            await page.keyboard.press("Tab")
            presses += 1
            if await page.locator("a.skip:focus", has_text="form").count():
                await page.keyboard.press("Enter")
                presses += 1
        focused = await page.locator("textarea:focus").count()
        await form.fill("By keyboard.")
        small = await page.evaluate(TOO_SMALL)
        await browser.close()
    assert focused == 1, f"after {presses} presses"
    assert size_in_bytes <= LARGEST_PAGE, f"{size_in_bytes} bytes for somebody who is signed in"
    assert small == [], "targets are 24 pixels wide and high at least"
